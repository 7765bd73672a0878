//! How long one call waits, and how it sleeps meanwhile.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use super::pause;

/// A sleep between two looks, in a wait for more than a transaction.
const UNHURRIED_NAP_US: Range<u64> = 1_000..5_000;

thread_local! {
    static JITTER: Cell<u64> = Cell::new(RandomState::new().hash_one(()) | 1);
}

/// When one call stops waiting, counted on the monotonic clock from when it began. Time that the process spends
/// paused doesn't count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    began: Instant,
    paused_before: Duration,
    limit: Duration,
}

impl Deadline {
    pub fn within(limit: Duration) -> Self {
        Self { began: Instant::now(), paused_before: pause::paused(), limit }
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    pub fn waited(&self) -> Duration {
        self.began.elapsed().saturating_sub(pause::paused().saturating_sub(self.paused_before))
    }

    pub fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.waited())
    }

    /// Sleeps for a moment, for what takes longer than a transaction; `false`, at once, when there is no time left.
    pub fn nap(&self) -> bool {
        let nap = random_between(UNHURRIED_NAP_US).min(self.remaining());
        thread::sleep(nap);
        !nap.is_zero()
    }
}

/// A random duration from a range of microseconds.
pub(crate) fn random_between(us: Range<u64>) -> Duration {
    Duration::from_micros(us.start + jitter() % (us.end - us.start))
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
