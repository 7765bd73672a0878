//! The database can't be written for longer than any heartbeat may be old, because somebody holds the write lock. When
//! that is over nobody has done anything wrong; but one that really hangs is ended soon.

use std::env;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, Store, Update};

use crate::{SETTINGS, assert_no_signal, done, govstore, shortest_silence_s};
use govstore_testkit::{Database, Server, TestResult, wait_until};

/// How often each fleet meets an outage: as many rounds as this variable says, or as many as a test has time for.
const ROUNDS: &str = "GOVSTORE_OUTAGE_ROUNDS";

/// `stale_after_s` and two intervals: by then one that hangs is to be gone.
const PROMISED: Duration = Duration::from_millis(1_400);
/// On a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(5);
/// Twice `stale_after_s`.
const OUTAGE_S: f64 = 2.0;

/// Makes the database unwritable, until what it returns is called.
pub type Outage = fn(&Database) -> TestResult<Box<dyn FnOnce()>>;

/// Servers, each of which holds the lock of an agent. Their client is the test.
struct Fleet {
    database: Database,
    store: Store,
    holders: Vec<Server>,
    outage: Outage,
}

impl Fleet {
    fn new(count: usize, outage: Outage) -> TestResult<Self> {
        let database = Database::new(&SETTINGS)?;
        let store = database.store()?;
        let mut fleet = Self { database, store, holders: Vec::new(), outage };
        for n in 0..count {
            let mut holder = Server::worker(&fleet.database, &[]);
            holder.tell(&format!("update agent-{n}\nlock agent-{n}"));
            holder.expect_line("locked");
            fleet.holders.push(holder);
        }
        Ok(fleet)
    }

    /// Has an outage, and everybody who might harm somebody at work as soon as it is over. Returns when that was.
    fn round(&mut self) -> TestResult<Instant> {
        let release = (self.outage)(&self.database)?;
        wait_until("all heartbeats to be old", || {
            shortest_silence_s(&self.store).is_some_and(|silent_s| silent_s > OUTAGE_S)
        });
        // Some are at the door already, and where it is but locked, they are let in with all the others.
        let early = Server::launch(&self.database, &[]);
        let mut early_reap = govstore(&self.database, &["reap"]);
        let mut early_reap = early_reap.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        wait_until("those to wait", || {
            shortest_silence_s(&self.store).is_some_and(|silent_s| silent_s > OUTAGE_S + 0.5)
        });
        release();
        let over = Instant::now();
        let newcomer = Server::launch(&self.database, &[]);
        let reap = govstore(&self.database, &["reap"]);
        thread::scope(|scope| {
            let reap = scope.spawn(|| done(reap));
            // Somebody waits for the lock of an agent, and would release it if its holder were lost.
            let patience = Duration::from_secs(2);
            let waited = self.store.with_lock_timeout(patience).process_update("agent-0", &Update::default());
            assert!(matches!(waited, Err(Error::AgentLocked { .. })), "{waited:?}");
            reap.join().expect("govstore has reaped");
        });
        let mut newcomer = newcomer.registered();
        newcomer.expect_line("ready");
        newcomer.ask_to_reap();
        newcomer.expect_line("ready");
        newcomer.end();
        early_reap.wait()?;
        if let Ok(early) = early.registered_or_ended() {
            early.end();
        }
        Ok(over)
    }

    /// Every server lives, and has kept its lock.
    fn assert_unharmed(&mut self) -> TestResult {
        for (n, holder) in self.holders.iter_mut().enumerate() {
            assert!(!holder.has_ended(), "a living server was ended");
            holder.tell(&format!("release agent-{n}"));
            holder.expect_line("released");
            holder.tell(&format!("lock agent-{n}"));
            holder.expect_line("locked");
            assert_eq!(
                self.database.ledger_of(holder.process_id)?,
                [],
                "nothing was done to it, nor to its locks"
            );
        }
        Ok(())
    }
}

/// Nobody is ended after an outage, and no lock is taken.
pub fn nobody_is_harmed(count: usize, outage: Outage) -> TestResult {
    let rounds = env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2);
    let mut fleet = Fleet::new(count, outage)?;
    for _ in 0..rounds {
        fleet.round()?;
        fleet.assert_unharmed()?;
    }
    assert_no_signal(&fleet.database)?;
    eprintln!("{count} servers, {rounds} rounds: none ended, no lock taken");
    Ok(())
}

/// One that hangs among them is ended in time, and nobody else is.
pub fn one_that_hangs_is_ended(count: usize, outage: Outage) -> TestResult {
    let mut fleet = Fleet::new(count, outage)?;
    let mut hung = Server::worker(&fleet.database, &["hung"]);
    stop_outside_a_transaction(&fleet, &hung)?;
    let observer = fleet.database.store()?;
    let (over, ended) = thread::scope(|scope| {
        let ended = scope.spawn(|| {
            wait_until("the hung server to end", || hung.has_ended());
            Instant::now()
        });
        let over = fleet.round().expect("a round");
        (over, ended.join().expect("it has ended"))
    });
    let took = ended.saturating_duration_since(over);
    eprintln!(
        "{count} servers and one that hangs: it was ended {took:?} after the outage; promised are {PROMISED:?}"
    );
    assert!(took < PROMISED + SLACK, "{took:?}");
    // Others may have found it gone before its reaper told of it.
    let told = || -> TestResult<_> {
        let ledger = fleet.database.ledger_of(hung.process_id)?;
        Ok(ledger.into_iter().find(|(_, signals, _)| signals.starts_with("TERM")))
    };
    wait_until("the ledger", || told().is_ok_and(|told| told.is_some()));
    let (verdict, _, outcome) = told()?.ok_or("it was there")?;
    assert_eq!((verdict.as_str(), outcome.as_str()), ("stale", "terminated"));
    assert_eq!(fleet.database.state_of(hung.process_id)?, "terminated");
    assert_eq!(observer.processes()?.len(), count);
    fleet.assert_unharmed()
}

/// Inside one it would hold the write lock.
fn stop_outside_a_transaction(fleet: &Fleet, server: &Server) -> TestResult {
    let impatient = fleet.database.store()?.with_lock_timeout(Duration::from_millis(50));
    loop {
        server.stop();
        if impatient.set_setting("limit_policy", "spare").is_ok() {
            return Ok(());
        }
        server.signal(rustix::process::Signal::CONT);
    }
}

fn locked(database: &Database) -> TestResult<Box<dyn FnOnce()>> {
    let write_lock = database.hold_write_lock()?;
    Ok(Box::new(move || drop(write_lock)))
}

macro_rules! fleets {
    ($($name:ident: $count:literal;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn nobody_is_harmed_once_a_long_held_write_lock_is_free() -> TestResult {
                nobody_is_harmed($count, locked)
            }

            #[test]
            fn one_that_hangs_is_ended_once_a_long_held_write_lock_is_free() -> TestResult {
                one_that_hangs_is_ended($count, locked)
            }
        }
    )*};
}

fleets! {
    of_one: 1;
    of_two: 2;
    of_four: 4;
    of_eight: 8;
}
