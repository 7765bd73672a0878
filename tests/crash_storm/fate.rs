//! When a process of the storm is killed.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use govstore_testkit::wait_until;

/// Whether this build has the library's crash points.
pub const HAS_CRASH_POINTS: bool = cfg!(debug_assertions);

/// Those that every process which updates agents passes.
const POINTS_OF_AN_UPDATE: [&str; 4] =
    ["before the transaction", "after the read", "after the write", "after the commit"];

/// A process at work is killed within this time after its first update.
const AT_WORK: Duration = Duration::from_millis(60);

/// A debug build takes about as long to start.
const STARTING: Duration = Duration::from_millis(40);

/// How one process is to die. Displayed, it says so in words.
#[derive(Debug, Clone)]
pub enum Fate {
    /// So long after it was started.
    Starting(Duration),
    /// So long after its first acknowledged update.
    AtWork(Duration),
    /// When it gets to this point of the code for this time; it kills itself there.
    Point(&'static str, u32),
    /// Together with others who are at work, when somebody says so.
    Together(&'static str, Arc<CheckpointWatch>),
}

impl Fate {
    pub fn random(random: &mut fastrand::Rng) -> Self {
        let micros = |random: &mut fastrand::Rng, limit: Duration| {
            Duration::from_micros(random.u64(..u64::try_from(limit.as_micros()).unwrap()))
        };
        match random.u32(..10) {
            0 => Self::Starting(micros(random, STARTING)),
            1 if HAS_CRASH_POINTS => Self::Point("during the registration", 1),
            2..=6 if HAS_CRASH_POINTS => {
                Self::Point(POINTS_OF_AN_UPDATE[random.usize(..POINTS_OF_AN_UPDATE.len())], random.u32(1..40))
            }
            _ => Self::AtWork(micros(random, AT_WORK)),
        }
    }

    /// What the process is told of it, if it is to see to it itself.
    pub fn crash_point(&self) -> Option<String> {
        match self {
            Self::Point(name, time) => Some(format!("{name}:{time}")),
            _ => None,
        }
    }

    /// Kills the process when its time has come. `at_work` is given once it has acknowledged something, or has
    /// ended.
    pub fn fulfil(&self, child: &mut Child, at_work: &Signal) {
        match self {
            Self::Starting(delay) => thread::sleep(*delay),
            Self::AtWork(delay) => {
                at_work.wait("the first update of a child");
                thread::sleep(*delay);
            }
            Self::Point(..) => return,
            Self::Together(_, checkpoint_watch) => {
                at_work.wait("the first update of a child");
                checkpoint_watch.at_work.fetch_add(1, Ordering::Relaxed);
                checkpoint_watch.now.wait("the moment to kill");
            }
        }
        child.kill().unwrap();
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting(_) => f.write_str("at a random instant of its start"),
            Self::AtWork(_) => f.write_str("at a random instant of its work"),
            Self::Point(name, _) | Self::Together(name, _) => f.write_str(name),
        }
    }
}

/// Given once, and waited for by any number.
#[derive(Debug, Default)]
pub struct Signal {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub fn give(&self) {
        *self.given.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub fn wait(&self, what: &str) {
        let given = self.given.lock().unwrap();
        let patience = Duration::from_mins(1);
        let waited = self.changed.wait_timeout_while(given, patience, |given| !*given).unwrap();
        assert!(!waited.1.timed_out(), "waited too long for {what}");
    }
}

/// Those who are to be killed together.
#[derive(Debug, Default)]
pub struct CheckpointWatch {
    at_work: AtomicUsize,
    now: Signal,
}

impl CheckpointWatch {
    /// Waits until all are at work, and then until somebody writes into the database file itself. In WAL mode that
    /// is a checkpoint and nothing else.
    pub fn kill_at_next_checkpoint(&self, all: usize, database: &Path) {
        wait_until("all children to be at work", || self.at_work.load(Ordering::Relaxed) == all);
        await_checkpoint(database);
        self.now.give();
    }
}

fn await_checkpoint(database: &Path) {
    let written = || -> SystemTime { fs::metadata(database).unwrap().modified().unwrap() };
    let before = written();
    let deadline = Instant::now() + Duration::from_mins(1);
    while written() == before {
        assert!(Instant::now() < deadline, "waited too long for a checkpoint");
        thread::sleep(Duration::from_micros(20));
    }
}

/// Whether the last checkpoint was cut off: it had begun to copy more of the log than it had done. Only to be asked
/// of a database that nobody has open.
pub fn was_checkpoint_cut_off(database: &Path) -> bool {
    // https://sqlite.org/walformat.html: nBackfill and nBackfillAttempted, in the order of this machine.
    let shm = fs::read(format!("{}-shm", database.display())).unwrap();
    let number = |at: usize| u32::from_ne_bytes(shm[at..at + 4].try_into().unwrap());
    number(128) > number(96)
}
