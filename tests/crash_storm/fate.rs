//! When a process of the storm is killed.

use std::fmt;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

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
    Together(&'static str, Arc<Together>),
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
            Self::Together(_, together) => {
                at_work.wait("the first update of a child");
                together.at_work.fetch_add(1, Ordering::Relaxed);
                together.now.wait("the moment to kill");
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
pub struct Together {
    at_work: AtomicUsize,
    now: Signal,
}

impl Together {
    /// Waits until all are at work, then until `moment` has come, and has all of them killed.
    pub fn kill_after(&self, all: usize, moment: impl FnOnce()) {
        wait_until("all children to be at work", || self.at_work.load(Ordering::Relaxed) == all);
        moment();
        self.now.give();
    }
}
