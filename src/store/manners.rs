//! Good manners of a process that writes again and again: it lets others have their turn.
//!
//! Those who wait for SQLite's write lock sleep between their polls, and one who writes without a pause takes the
//! lock again within microseconds of letting it go; nearly always they would find it held. So a process that has
//! lately had to wait itself, and has held the lock on and off for a while since, stays away from it for about as
//! long as a poll takes to come. Alone with the database, a process never does. With nine processes and 5 ms a
//! transaction this brings the worst wait from 2 s down to 0.3 s (benches/contention.rs).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::{self, Deadline};

/// How long a process may write on and off, whoever waits.
const BURST: Duration = Duration::from_millis(10);
/// How long it then stays away: naps of those who have waited for a while are over.
const PAUSE: Duration = Duration::from_millis(3);
/// Whoever has written more recently than this writes without a pause.
const JUST_NOW: Duration = Duration::from_millis(1);
/// For how long one who had to wait takes it that others wait too.
const CONTENDED_FOR: Duration = Duration::from_secs(1);

/// What a process remembers of its latest writes.
#[derive(Default)]
pub(super) struct Manners(Mutex<Option<Burst>>);

/// Writes that follow each other with no pause that would let others in.
#[derive(Clone, Copy)]
struct Burst {
    began: Instant,
    /// When the newest of them let the lock go; before that, when it got it.
    ended: Instant,
    holds: bool,
    /// When a write of this process last had to wait for the lock.
    waited_at: Option<Instant>,
}

impl Manners {
    /// Before a write begins: stays away for a moment if that is due, never beyond the deadline; and if it follows
    /// another at once, and meets somebody, lets that one go first.
    pub fn let_others_in(&self, wait: &Deadline) {
        let Some(burst) = *self.burst() else { return };
        let quiet_for = burst.ended.elapsed();
        if quiet_for < JUST_NOW {
            wait::be_patient();
        }
        if quiet_for < PAUSE
            && burst.ended - burst.began >= BURST
            && burst.waited_at.is_some_and(|at| at.elapsed() < CONTENDED_FOR)
        {
            thread::sleep(PAUSE.min(wait.remaining()));
        }
    }

    /// The lock was had.
    pub fn lock_taken(&self) {
        let now = Instant::now();
        let mut burst = self.burst();
        let waited_at = if wait::has_polled() { Some(now) } else { burst.and_then(|burst| burst.waited_at) };
        let began = match *burst {
            Some(burst) if waited_at != Some(now) && now - burst.ended < PAUSE => burst.began,
            _ => now,
        };
        *burst = Some(Burst { began, ended: now, holds: true, waited_at });
    }

    /// The write is over, and the lock let go if it was had.
    pub fn write_ended(&self) {
        if let Some(burst) = self.burst().as_mut().filter(|burst| burst.holds) {
            burst.ended = Instant::now();
            burst.holds = false;
        }
    }

    /// No code panics while it holds this mutex, so what it guards is whole even if poisoned.
    fn burst(&self) -> MutexGuard<'_, Option<Burst>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
