//! What a process remembers of its own registration between calls: plain state, which the store holds.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::model::{ClientInfo, ProcessInfo};
use crate::os::{Here, Parent, clock, lock, parent_pid};

/// This process, as the registry knows it; shared by all clones of a [`Store`](crate::Store).
#[derive(Default)]
pub(crate) struct OwnProcess {
    registered: Mutex<Option<Registered>>,
    /// Held while a registration is being made, so that there is never a second.
    pub registering: Mutex<()>,
    must_exit: AtomicBool,
    last_scan: Mutex<Option<Instant>>,
    /// When it last began to prune by itself.
    last_prune: Mutex<Option<Instant>>,
    scanning: AtomicBool,
    background_error: Mutex<Option<String>>,
    /// How many writes were held up or failed: others may have fared likewise.
    disturbances: AtomicU64,
    /// When the client last used this process, and the last such moment that is in the database. On the clock that is
    /// judged by; 0 is never.
    used_ms: AtomicI64,
    recorded_ms: AtomicI64,
}

/// The row of this process, and what it says.
#[derive(Clone)]
pub(crate) struct Registered {
    pub process_id: i64,
    pub identity: Arc<Identity>,
    /// The client that it serves, once that has introduced itself.
    pub client: Option<Arc<ClientInfo>>,
    /// Whether the row says so.
    pub has_recorded_client: bool,
}

impl Registered {
    /// A row that was just made.
    pub const fn new(process_id: i64, identity: Arc<Identity>) -> Self {
        Self { process_id, identity, client: None, has_recorded_client: true }
    }
}

/// What a process writes into its row. It stays the same for as long as the process lives.
pub(crate) struct Identity {
    pub info: ProcessInfo,
    pub here: Here,
    pub parent: Option<Parent>,
}

impl Identity {
    /// Whether the client that started this process is gone. A child whose parent ends gets another.
    pub fn is_parent_gone(&self) -> bool {
        self.parent.is_some_and(|parent| parent_pid() != Some(parent.pid))
    }
}

impl OwnProcess {
    /// The registry id of this process, if it is registered.
    pub fn process_id(&self) -> Option<i64> {
        lock(&self.registered).as_ref().map(|registered| registered.process_id)
    }

    pub fn registered(&self) -> Option<Registered> {
        lock(&self.registered).clone()
    }

    /// This process has this row from now on.
    pub fn register(&self, registered: Registered) {
        *lock(&self.registered) = Some(registered);
        self.must_exit.store(false, Ordering::Relaxed);
        *lock(&self.last_scan) = Some(Instant::now()); // a server reaps at its start
    }

    /// The row had vanished, and `process_id` took its place. Says nothing to a process that has left since.
    pub fn move_to(&self, process_id: i64) {
        if let Some(registered) = lock(&self.registered).as_mut() {
            registered.process_id = process_id;
        }
    }

    /// The client that this process serves has introduced itself. `false` if that is known, or the process is not
    /// registered.
    pub fn note_client(&self, client: ClientInfo) -> bool {
        match lock(&self.registered).as_mut() {
            Some(registered) if registered.client.as_deref() != Some(&client) => {
                registered.client = Some(Arc::new(client));
                registered.has_recorded_client = false;
                true
            }
            _ => false,
        }
    }

    /// The row says that this process serves this client. It may have introduced itself anew since.
    pub fn note_recorded_client(&self, client: &Arc<ClientInfo>) {
        if let Some(registered) = lock(&self.registered).as_mut() {
            registered.has_recorded_client |=
                registered.client.as_ref().is_some_and(|known| Arc::ptr_eq(known, client));
        }
    }

    /// This process is no longer registered; whatever beat is under way finds that out.
    pub fn leave(&self) -> Option<Registered> {
        lock(&self.registered).take()
    }

    /// A reaper has claimed this process, nobody sees it any more, or it writes nothing any more.
    pub fn tell_to_exit(&self) {
        self.must_exit.store(true, Ordering::Relaxed);
    }

    pub fn must_exit(&self) -> bool {
        self.must_exit.load(Ordering::Relaxed)
    }

    /// Whether a scan for dead processes is due, one every `interval` and never two at once. If so it begins,
    /// until [`OwnProcess::end_scan`].
    pub fn begin_scan(&self, interval: Duration) -> bool {
        let mut last = lock(&self.last_scan);
        if last.is_some_and(|at| at.elapsed() < interval) || self.scanning.swap(true, Ordering::AcqRel) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }

    /// Whether this process has not pruned for `interval`. If so it is taken to begin now.
    pub fn begin_prune(&self, interval: Duration) -> bool {
        let mut last = lock(&self.last_prune);
        let is_due = last.is_none_or(|at| at.elapsed() >= interval);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }

    pub fn end_scan(&self) {
        self.scanning.store(false, Ordering::Release);
    }

    /// A write of this process was held up or failed.
    pub fn note_disturbance(&self) {
        self.disturbances.fetch_add(1, Ordering::Relaxed);
    }

    /// How many writes of this process were held up or failed by now.
    pub fn disturbances(&self) -> u64 {
        self.disturbances.load(Ordering::Relaxed)
    }

    /// The client uses this process now.
    pub fn note_use(&self) {
        self.used_ms.store(clock::monotonic_ms(), Ordering::Relaxed);
    }

    /// When the client last used this process, if that is not in the database yet.
    pub fn unrecorded_use_ms(&self) -> Option<i64> {
        let used_ms = self.used_ms.load(Ordering::Relaxed);
        (used_ms != self.recorded_ms.load(Ordering::Relaxed)).then_some(used_ms)
    }

    pub fn note_recorded_use(&self, used_ms: i64) {
        self.recorded_ms.store(used_ms, Ordering::Relaxed);
    }

    /// How the last work in the background went: nobody waits for its result.
    pub fn note_background<T>(&self, outcome: &Result<T>) {
        *lock(&self.background_error) = outcome.as_ref().err().map(ToString::to_string);
    }

    pub fn background_error(&self) -> Option<String> {
        lock(&self.background_error).clone()
    }
}
