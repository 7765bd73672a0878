//! Waiting for SQLite's locks: short jittered polls against one deadline, with an eye on who is in the way.
//!
//! SQLite's own `busy_timeout` backs off to steps of 100 ms and starves the waiter that has waited longest. Here a
//! waiter polls more often the longer it has waited, so that turns come nearly in the order of arrival. A new waiter
//! first polls a few times almost at once, since most transactions are over by then. But a process that has written
//! many times in a row, and finds the lock held, backs off for a while: two processes that take the lock from each
//! other write by write would both find their caches stale each time. `fairness` does the rest, on the side of the
//! process that holds the lock again and again. benches/contention.rs has the figures that the constants were chosen
//! by. (`SQLITE_ENABLE_SETLK_TIMEOUT` would block in the kernel, but the public unix VFS ignores it.)
//!
//! A wait that lasts looks from time to time at which process holds the write lock, so that the error at its end can
//! name the holder, and say since when it was seen.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::lock_owner;
use crate::backend::deadline::{Deadline, random_between};
use crate::backend::pause;

/// The first polls of a new waiter.
const QUICK_POLLS: i32 = 4;
/// As short as a sleep can be: the kernel adds some 50 µs of its own.
const QUICK_NAP: Duration = Duration::from_micros(20);
/// The first nap of a waiter that has written many times in a row.
const PATIENT_NAP_US: Range<u64> = 20_000..25_000;
/// What naps and waits so far multiply to: after 25 ms one of 1 ms is due.
const NAP_TIMES_WAITED_US2: u64 = 25_000_000;
const SHORTEST_NAP_US: u64 = 250;
const LONGEST_NAP_US: u64 = 1_500;
/// A wait this long is for one holder, and not for a turn: there is no hurry any more.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// Polls allowed to code that set no deadline: some five seconds of the longest naps.
const POLLS_WITHOUT_DEADLINE: i32 = 3_300;

/// A wait that is over sooner than this asks nobody who was in the way.
const FIRST_LOOK_AFTER: Duration = Duration::from_millis(100);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

thread_local! {
    /// What this thread waits for. A busy handler is a plain function, so it lives here.
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// Makes `conn` wait for locks until the deadline of the thread that uses it.
pub(super) fn install(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_handler(Some(poll))
}

/// Called by SQLite while a lock is held elsewhere; `false` makes it give up with `SQLITE_BUSY`.
fn poll(attempt: i32) -> bool {
    watch();
    let nap = WAITING.with_borrow_mut(|waiting| match waiting {
        Some(waiting) => waiting.nap(attempt),
        None if attempt < POLLS_WITHOUT_DEADLINE => short(Duration::ZERO),
        None => Duration::ZERO,
    });
    thread::sleep(nap);
    pause::give_way();
    !nap.is_zero()
}

/// How long to sleep between two polls after a wait.
fn short(waited: Duration) -> Duration {
    let nap_us = if waited < LONG_WAIT {
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        (NAP_TIMES_WAITED_US2 / waited_us.max(1)).clamp(SHORTEST_NAP_US, LONGEST_NAP_US)
    } else {
        LONGEST_NAP_US
    };
    random_between(nap_us / 2..nap_us * 3 / 2)
}

/// Makes `deadline` the wait of this thread, for the database whose wal-index is `shm`, until the guard drops.
pub(super) fn enter(deadline: &Deadline, shm: &Arc<Path>) -> Entered {
    let waiting = Waiting {
        deadline: deadline.clone(),
        shm: Arc::clone(shm),
        next_look: deadline.began() + FIRST_LOOK_AFTER,
        in_the_way: None,
        polled: false,
        patient: false,
    };
    Entered { previous: WAITING.replace(Some(waiting)) }
}

/// A thread's wait.
struct Waiting {
    deadline: Deadline,
    shm: Arc<Path>,
    next_look: Instant,
    in_the_way: Option<InTheWay>,
    /// Whether SQLite found a lock held elsewhere.
    polled: bool,
    /// Whether others may go first.
    patient: bool,
}

/// A process that was seen holding the write lock, at every look since.
#[derive(Debug, Clone, Copy)]
pub(super) struct InTheWay {
    pub pid: u32,
    pub since: Instant,
}

impl Waiting {
    /// How long to sleep before the next poll; not at all when no time is left.
    fn nap(&mut self, attempt: i32) -> Duration {
        self.polled = true;
        let nap = if self.patient && attempt == 0 {
            random_between(PATIENT_NAP_US)
        } else if !self.patient && attempt < QUICK_POLLS {
            QUICK_NAP
        } else {
            short(self.deadline.waited())
        };
        nap.min(self.deadline.remaining())
    }

    fn look(&mut self) {
        let now = Instant::now();
        self.next_look = now + LOOK_EVERY;
        self.in_the_way = lock_owner::write_lock_owner(&self.shm).map(|pid| match self.in_the_way {
            Some(seen) if seen.pid == pid => seen,
            _ => InTheWay { pid, since: now },
        });
    }
}

/// Gives this thread's present wait, if there is one, a deadline that begins now, until the guard drops.
pub(super) fn begin_anew(limit: Duration) -> Option<Entered> {
    let shm = WAITING.with_borrow(|waiting| waiting.as_ref().map(|waiting| Arc::clone(&waiting.shm)))?;
    Some(enter(&Deadline::within(limit), &shm))
}

/// Looks who is in the way of this thread, if a look is due.
pub(super) fn watch() {
    WAITING.with_borrow_mut(|waiting| {
        if let Some(waiting) = waiting
            && Instant::now() >= waiting.next_look
        {
            waiting.look();
        }
    });
}

/// From here on this thread lets others go first, for a while, if it finds the lock held.
pub(super) fn be_patient() {
    WAITING.with_borrow_mut(|waiting| {
        if let Some(waiting) = waiting {
            waiting.patient = true;
        }
    });
}

/// Whether this thread found a lock held elsewhere in its present wait.
pub(super) fn has_polled() -> bool {
    WAITING.with_borrow(|waiting| waiting.as_ref().is_some_and(|waiting| waiting.polled))
}

/// Looks once more who is in the way of this thread; `None` if nobody is any more, or if that can't be known.
pub(super) fn last_look() -> Option<InTheWay> {
    WAITING.with_borrow_mut(|waiting| {
        let waiting = waiting.as_mut()?;
        waiting.look();
        waiting.in_the_way
    })
}

/// Puts back the wait that was there before.
pub(super) struct Entered {
    previous: Option<Waiting>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        WAITING.set(self.previous.take());
    }
}
