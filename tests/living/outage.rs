//! The database can't be written for longer than any heartbeat may be old, because somebody holds the write lock or
//! because the disk is full. When that is over nobody has done anything wrong; but one that really hangs is ended soon.

use std::env;
use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, Store, Update};

use crate::{SETTINGS, assert_no_signal, done, govstore, shortest_silence_s};
use govstore_testkit::{Database, Server, TestResult, can, test_server, test_worker, wait_until};

/// How often each fleet meets an outage: as many rounds as this variable says, or as many as a test has time for.
const ROUNDS: &str = "GOVSTORE_OUTAGE_ROUNDS";
/// Set where this test runs itself again on a small disk.
const SMALL_DISK: &str = "GOVSTORE_TEST_SMALL_DISK";

/// `stale_after_s` and two intervals: by then one that hangs is to be gone.
const PROMISED: Duration = Duration::from_millis(1_400);
/// On a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(5);
/// Twice `stale_after_s`.
const OUTAGE_S: f64 = 2.0;

type Outcome<T> = Result<T, Box<dyn StdError>>;
/// Makes the database unwritable, until what it returns is called.
type Outage = fn(&Database) -> Outcome<Box<dyn FnOnce()>>;

/// Servers, each of which holds the lock of an agent. Their client is the test.
struct Fleet {
    database: Database,
    store: Store,
    holders: Vec<Server>,
    outage: Outage,
}

impl Fleet {
    fn new(count: usize, outage: Outage) -> Outcome<Self> {
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
    fn round(&mut self) -> Outcome<Instant> {
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
fn nobody_is_harmed(count: usize, outage: Outage) -> TestResult {
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
fn one_that_hangs_is_ended(count: usize, outage: Outage) -> TestResult {
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
    let told = || -> rusqlite::Result<_> {
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
    let impatient = Store::options().lock_timeout(Duration::from_millis(50)).open(fleet.database.path())?;
    loop {
        server.stop();
        if impatient.set_setting("limit_policy", "spare").is_ok() {
            return Ok(());
        }
        server.signal(rustix::process::Signal::CONT);
    }
}

fn locked(database: &Database) -> Outcome<Box<dyn FnOnce()>> {
    let shell = database.sql()?;
    shell.execute_batch("BEGIN IMMEDIATE")?;
    Ok(Box::new(move || shell.execute_batch("ROLLBACK").expect("it was in a transaction")))
}

fn full(database: &Database) -> Outcome<Box<dyn FnOnce()>> {
    // The log would go on where it has room already: it is cut off, and while somebody reads, it can't begin anew.
    let reader = database.sql()?;
    reader.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    reader.execute_batch("BEGIN; SELECT count(*) FROM agents;")?;
    let filler = database.folder().join("filler");
    fill(&filler);
    Ok(Box::new(move || {
        fs::remove_file(filler).expect("it was written");
        drop(reader);
    }))
}

/// Makes a file as large as fits.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}
}

/// Runs a test again on a small disk of its own, and returns whether this is that run.
fn is_on_a_small_disk(name: &str) -> Outcome<bool> {
    if env::var_os(SMALL_DISK).is_some() {
        return Ok(true);
    }
    let folder = tempfile::tempdir()?;
    // There is room for the log, which is checkpointed at 4 MB.
    let mount = "mount -t tmpfs -o size=16m none \"$0\"";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];
    let there = folder.path().to_str().ok_or("a path of plain characters")?;
    if !can("a mount namespace", &[&namespace[..], &[mount, there]].concat()) {
        return Ok(false);
    }
    let (_, _) = (test_server(), test_worker()); // they are built on a larger one
    let mut command = Command::new(namespace[0]);
    command.args(&namespace[1..]).arg(format!("{mount} && exec \"$@\"")).arg(there);
    command.arg(env::current_exe()?).args(["--exact", name, "--nocapture"]);
    let output = command.env(SMALL_DISK, "1").env("TMPDIR", folder.path()).output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(false)
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

            #[test]
            fn nobody_is_harmed_once_a_full_disk_has_room() -> TestResult {
                let name = concat!("outage::", stringify!($name), "::nobody_is_harmed_once_a_full_disk_has_room");
                if is_on_a_small_disk(name)? { nobody_is_harmed($count, full) } else { Ok(()) }
            }

            #[test]
            fn one_that_hangs_is_ended_once_a_full_disk_has_room() -> TestResult {
                let name = concat!("outage::", stringify!($name), "::one_that_hangs_is_ended_once_a_full_disk_has_room");
                if is_on_a_small_disk(name)? { one_that_hangs_is_ended($count, full) } else { Ok(()) }
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
