//! Fairness: a process that writes again and again yields to others after a burst.
//!
//! Waiters for SQLite's write lock sleep between their polls, and a process that writes without a pause takes the lock
//! again within microseconds of its release, so that waiters nearly always find it held. Therefore a process that
//! lately had to wait itself, and has held the lock on and off for a burst since, stays away from it for about as
//! long as a waiter sleeps. A process that is alone with the database never yields. With nine processes and 5 ms a
//! transaction this brings the worst wait from 2 s down to 0.3 s (benches/contention.rs).

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::busy;
use crate::backend::deadline::Deadline;
use crate::os::lock;

/// How long a burst may last while others wait. With 25 ms two processes get up to a sixth more done
/// between them, and with nine and 5 ms a transaction the worst wait is 0.8 s and not 0.3 s.
const BURST: Duration = Duration::from_millis(10);
/// How long a process yields after a burst: longer than a waiter sleeps between two polls.
const PAUSE: Duration = Duration::from_millis(3);
/// A write that begins so soon after another follows it without a pause.
const NO_PAUSE: Duration = Duration::from_millis(1);
/// After so many writes in a row there may be many more. Two at once are nothing special in a server.
const MANY_IN_A_ROW: u32 = 3;
/// A process that had to wait assumes for so long that others wait too.
const CONTENDED_FOR: Duration = Duration::from_secs(1);

/// What a process remembers of its latest writes.
#[derive(Default)]
pub(super) struct Fairness(Mutex<Option<Burst>>);

/// Writes that follow each other with no pause that would let others in.
#[derive(Clone, Copy)]
struct Burst {
    began: Instant,
    /// When the newest of them let the lock go; before that, when it got it.
    ended: Instant,
    holds: bool,
    /// How many writes have followed another without a pause, the time that they waited aside.
    in_a_row: u32,
    /// When a write of this process last had to wait for the lock.
    waited_at: Option<Instant>,
}

impl Fairness {
    /// Yields before a write if that is due, never beyond the deadline. A write that follows many others also backs off
    /// where it finds the lock held.
    pub fn let_others_in(&self, wait: &Deadline) {
        let mut latest = self.burst();
        let Some(burst) = latest.as_mut() else { return };
        let quiet_for = burst.ended.elapsed();
        burst.in_a_row = if quiet_for < NO_PAUSE { burst.in_a_row.saturating_add(1) } else { 0 };
        if burst.in_a_row >= MANY_IN_A_ROW {
            busy::be_patient();
        }
        let burst = *burst;
        drop(latest);
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
        let waited_at = if busy::has_polled() { Some(now) } else { burst.and_then(|burst| burst.waited_at) };
        let in_a_row = burst.map_or(0, |burst| burst.in_a_row);
        let began = match *burst {
            Some(burst) if waited_at != Some(now) && now - burst.ended < PAUSE => burst.began,
            _ => now,
        };
        *burst = Some(Burst { began, ended: now, holds: true, in_a_row, waited_at });
    }

    /// The write is over, and the lock let go if it was had.
    pub fn write_ended(&self) {
        if let Some(burst) = self.burst().as_mut().filter(|burst| burst.holds) {
            burst.ended = Instant::now();
            burst.holds = false;
        }
    }

    fn burst(&self) -> MutexGuard<'_, Option<Burst>> {
        lock(&self.0)
    }
}
