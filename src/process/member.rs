//! What a [`Store`] knows of its own process's registration: the row that its writes belong to.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::clock;
use super::reaper::Memory;
use super::registration::ProcessInfo;
use super::system::{Here, Parent};

/// This process's membership in the registry; shared by all clones of a [`Store`](crate::Store).
#[derive(Default)]
pub(crate) struct Member {
    enrolled: Mutex<Option<Enrolled>>,
    /// Held while a registration is being made, so that there is never a second.
    pub(super) registering: Mutex<()>,
    must_exit: AtomicBool,
    last_scan: Mutex<Option<Instant>>,
    scanning: AtomicBool,
    background_error: Mutex<Option<String>>,
    /// What the reaper in this process remembers of its looks at others.
    memory: Mutex<Memory>,
    /// How many writes were held up or failed: others may have fared likewise.
    disturbances: AtomicU64,
    /// When the client last used this process, and the last such moment that is in the database. On the clock that is
    /// judged by; 0 is never.
    used_ms: AtomicI64,
    recorded_ms: AtomicI64,
}

/// Who this process is, and its row.
#[derive(Clone)]
pub(super) struct Enrolled {
    pub process_id: i64,
    pub who: Arc<Who>,
}

/// What a process writes into its row. It stays the same for as long as the process lives.
pub(super) struct Who {
    pub info: ProcessInfo,
    pub here: Here,
    pub parent: Option<Parent>,
}

impl Who {
    /// Whether the client that started this process is gone. A child whose parent ends gets another.
    pub fn is_parent_gone(&self) -> bool {
        self.parent.is_some_and(|parent| super::parent_pid() != Some(parent.pid))
    }
}

impl Member {
    /// The registry id of this process, if it is registered.
    pub(crate) fn process_id(&self) -> Option<i64> {
        lock(&self.enrolled).as_ref().map(|enrolled| enrolled.process_id)
    }

    pub(super) fn enrolled(&self) -> Option<Enrolled> {
        lock(&self.enrolled).clone()
    }

    /// This process has the row `process_id` from now on.
    pub(super) fn enrol(&self, process_id: i64, who: Arc<Who>) {
        *lock(&self.enrolled) = Some(Enrolled { process_id, who });
        self.must_exit.store(false, Ordering::Relaxed);
        *lock(&self.last_scan) = Some(Instant::now()); // a server reaps at its start
    }

    /// The row had vanished, and `process_id` took its place. Says nothing to a process that has left since.
    pub(super) fn move_to(&self, process_id: i64) {
        if let Some(enrolled) = lock(&self.enrolled).as_mut() {
            enrolled.process_id = process_id;
        }
    }

    /// This process is no longer registered; whatever beat is under way finds that out.
    pub(super) fn leave(&self) -> Option<Enrolled> {
        lock(&self.enrolled).take()
    }

    /// A reaper has claimed this process, nobody sees it any more, or it writes nothing any more.
    pub(crate) fn tell_to_exit(&self) {
        self.must_exit.store(true, Ordering::Relaxed);
    }

    pub(crate) fn must_exit(&self) -> bool {
        self.must_exit.load(Ordering::Relaxed)
    }

    /// Whether a scan for dead processes is due, one every `interval` and never two at once. If so it begins,
    /// until [`Member::end_scan`].
    pub(super) fn begin_scan(&self, interval: Duration) -> bool {
        let mut last = lock(&self.last_scan);
        if last.is_some_and(|at| at.elapsed() < interval) || self.scanning.swap(true, Ordering::AcqRel) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }

    pub(super) fn end_scan(&self) {
        self.scanning.store(false, Ordering::Release);
    }

    /// What the reaper remembers, as far as it still counts.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        let mut memory = lock(&self.memory);
        memory.heed(self.disturbances.load(Ordering::Relaxed));
        memory
    }

    /// A write of this process was held up or failed.
    pub(crate) fn note_disturbance(&self) {
        self.disturbances.fetch_add(1, Ordering::Relaxed);
    }

    /// The client uses this process now.
    pub(super) fn note_use(&self) {
        self.used_ms.store(clock::monotonic_ms(), Ordering::Relaxed);
    }

    /// When the client last used this process, if that is not in the database yet.
    pub(super) fn unrecorded_use_ms(&self) -> Option<i64> {
        let used_ms = self.used_ms.load(Ordering::Relaxed);
        (used_ms != self.recorded_ms.load(Ordering::Relaxed)).then_some(used_ms)
    }

    pub(super) fn note_recorded_use(&self, used_ms: i64) {
        self.recorded_ms.store(used_ms, Ordering::Relaxed);
    }

    /// How the last work in the background went: nobody waits for its result.
    pub(super) fn note_background<T>(&self, outcome: &crate::Result<T>) {
        *lock(&self.background_error) = outcome.as_ref().err().map(ToString::to_string);
    }

    pub(super) fn background_error(&self) -> Option<String> {
        lock(&self.background_error).clone()
    }
}

/// Nothing panics while it holds one of these, so what they guard is whole even if poisoned.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
