//! How long one call waits, and how it sleeps meanwhile.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use super::pause;
use crate::error::{Error, Result};
use crate::model::Cancellation;

/// A sleep between two looks, in a wait for more than a transaction.
const UNHURRIED_NAP_US: Range<u64> = 1_000..5_000;

thread_local! {
    static JITTER: Cell<u64> = Cell::new(RandomState::new().hash_one(()) | 1);
}

/// When one call stops waiting, counted on the monotonic clock from when it began. Time that the process spends
/// paused doesn't count. Once the call is cancelled, no time is left.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    began: Instant,
    paused_before: Duration,
    limit: Duration,
    cancellation: Option<Cancellation>,
}

impl Deadline {
    pub fn within(limit: Duration) -> Self {
        Self { began: Instant::now(), paused_before: pause::paused(), limit, cancellation: None }
    }

    /// The deadline of a call that may be cancelled.
    pub fn cancelled_by(self, cancellation: Option<Cancellation>) -> Self {
        Self { cancellation, ..self }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancellation.as_ref().is_some_and(Cancellation::is_cancelled)
    }

    /// [`Error::Cancelled`] for a call that was cancelled.
    pub fn refuse_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    pub fn waited(&self) -> Duration {
        self.began.elapsed().saturating_sub(pause::paused().saturating_sub(self.paused_before))
    }

    pub fn remaining(&self) -> Duration {
        if self.is_cancelled() { Duration::ZERO } else { self.limit.saturating_sub(self.waited()) }
    }

    /// For how long the call has gone on since it should have ended.
    #[cfg(feature = "postgres")]
    pub fn overdue(&self) -> Duration {
        self.waited().saturating_sub(self.limit)
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
