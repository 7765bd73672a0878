//! Waiting for SQLite's locks: short jittered polls against one deadline.
//!
//! SQLite's own `busy_timeout` backs off to steps of 100 ms and starves whoever has waited longest. Polling
//! every 0.5 to 3 ms is fair, and costs a sleeping process next to nothing. (`SQLITE_ENABLE_SETLK_TIMEOUT`
//! would block in the kernel, but the public unix VFS ignores it.)

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Polls allowed to code that set no deadline: about five seconds of them.
const POLLS_WITHOUT_DEADLINE: i32 = 2_800;
const POLL_MIN_US: u64 = 500;
const POLL_SPREAD_US: u64 = 2_500;

thread_local! {
    /// Until when this thread may wait. A busy handler is a plain function, so its deadline lives here.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
    static JITTER: Cell<u64> = Cell::new(RandomState::new().hash_one(()) | 1);
}

/// Makes `conn` wait for locks until the deadline of the thread that uses it.
pub(super) fn install(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_handler(Some(poll))
}

/// Called by SQLite while a lock is held elsewhere; `false` makes it give up with `SQLITE_BUSY`.
fn poll(attempt: i32) -> bool {
    let nap = match DEADLINE.get() {
        Some(deadline) => short().min(deadline.saturating_duration_since(Instant::now())),
        None if attempt < POLLS_WITHOUT_DEADLINE => short(),
        None => Duration::ZERO,
    };
    thread::sleep(nap);
    !nap.is_zero()
}

/// How long to sleep between two polls.
fn short() -> Duration {
    Duration::from_micros(POLL_MIN_US + jitter() % POLL_SPREAD_US)
}

/// A pseudo-random number, different in every thread and process (xorshift64).
fn jitter() -> u64 {
    let mut x = JITTER.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    JITTER.set(x);
    x
}

/// When one call stops waiting, counted on the monotonic clock from when it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    began: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn within(limit: Duration) -> Self {
        Self { began: Instant::now(), limit }
    }

    pub fn waited(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.waited())
    }

    /// Sleeps as long as one poll; `false`, at once, when there is no time left.
    pub fn nap(&self) -> bool {
        let nap = short().min(self.remaining());
        thread::sleep(nap);
        !nap.is_zero()
    }

    /// Makes this the deadline of SQLite's waits on this thread, until the guard drops.
    pub fn enter(&self) -> Entered {
        Entered { previous: DEADLINE.replace(Some(self.began + self.limit)) }
    }
}

/// Puts back the deadline that was there before.
pub(super) struct Entered {
    previous: Option<Instant>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        DEADLINE.set(self.previous);
    }
}
