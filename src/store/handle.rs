//! The store itself: its doors, and what a process remembers between calls.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::group::UpdateGroup;
use crate::backend::deadline::Deadline;
use crate::backend::statements::{Reader, Transaction, TxResult};
use crate::backend::{Backend, Watch};
use crate::error::{Error, Result};
use crate::locks::HeldLocks;
use crate::model::{Actor, Cancellation, Settings};
use crate::os::lock;
use crate::reaper::{Memory, StoppedHolder};
use crate::registry::OwnProcess;

/// A write that took longer than this was held up.
const HELD_UP: Duration = Duration::from_secs(1);

/// A governance database that this process has open.
///
/// Cloning is cheap, and clones share their connections. Every method may be called from any thread; all of
/// them block, so async code wraps them in `spawn_blocking`.
///
/// A store belongs to the file that it opened. Should that be moved, deleted or replaced, every call fails with
/// [`Error::Displaced`], and nothing is written where nobody will see it, until the file is back or the store is
/// opened again.
///
/// Should the device fail at a commit, the store makes sure that nothing of it is kept, and says so. Where it can't,
/// that is [`Error::CommitInDoubt`], and it writes nothing more ([`Error::RefusedAfterDoubt`]); it is to be opened
/// again. Reads go on, and show the database as if the commit had not been made, whether it was or not.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("governance.db");
/// use govstore::{Store, Update};
///
/// let store = Store::open(&path)?;
/// let report = store.process_update("writer", &Update::default())?;
/// assert_eq!(report.metrics.updates, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// How long this handle waits for a lock, if it is not for the settings row to say.
    lock_timeout: Option<Duration>,
    /// For whom this handle acts.
    actor: Arc<Actor>,
    /// What calls off the calls of this handle.
    cancellation: Option<Cancellation>,
}

struct Shared {
    backend: Backend,
    /// `lock_timeout_ms` as last read from the settings row.
    lock_timeout_ms: AtomicU64,
    /// `heartbeat_interval_s` as last read, in milliseconds.
    heartbeat_interval_ms: AtomicI64,
    /// What this process remembers of its registration: its writes say who made them.
    own: OwnProcess,
    /// The locks on agents that this process holds.
    locks: HeldLocks,
    /// What the reaper in this process remembers of its looks at others.
    memory: Mutex<Memory>,
    /// The process that holds the write lock, if it is stopped.
    stopped_holder: StoppedHolder,
    /// Updates of this process's threads that share a commit.
    updates: UpdateGroup,
}

impl Store {
    pub(super) fn new(backend: Backend, settings: &Settings, lock_timeout: Option<Duration>) -> Self {
        let shared = Arc::new(Shared {
            backend,
            lock_timeout_ms: AtomicU64::default(),
            heartbeat_interval_ms: AtomicI64::default(),
            own: OwnProcess::default(),
            locks: HeldLocks::default(),
            memory: Mutex::default(),
            stopped_holder: StoppedHolder::default(),
            updates: UpdateGroup::default(),
        });
        let store = Self { shared, lock_timeout, actor: Arc::new(Actor::library()), cancellation: None };
        store.follow(settings);
        store
    }

    /// The database file; of a database on a server its address, without a password.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.backend().address()
    }

    /// Whether the database is on a server, and not a file.
    #[must_use]
    pub fn is_on_a_server(&self) -> bool {
        self.backend().sqlite().is_none()
    }

    /// What whoever relies on the database should know, as it was found when it was opened: that a server waits for no
    /// standby. `None` if there is nothing; [`Store::check`] has the rest.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        self.backend().warning()
    }

    /// The schema version of the open database: of a file its `PRAGMA user_version`.
    #[must_use]
    pub fn schema_version(&self) -> i32 {
        self.backend().schema_version() // opening migrates, or refuses
    }

    /// The same store, for calls that wait for a lock for up to `limit` before [`Error::LockTimeout`] or
    /// [`Error::AgentLocked`]. Zero tries once, and succeeds where nobody is in the way.
    ///
    /// Making such a handle costs next to nothing, so it may be made for one call:
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use std::time::Duration;
    ///
    /// let update = govstore::Update::default();
    /// store.with_lock_timeout(Duration::from_millis(300)).process_update("writer", &update)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_lock_timeout(&self, limit: Duration) -> Self {
        Self { lock_timeout: Some(limit), ..self.clone() }
    }

    /// The same store, acting for somebody: events name them, and what an operator paused or archived, only an
    /// operator can undo. Without this it acts as [`Actor::library`], which is no operator.
    ///
    /// It guards against mistakes, of models above all, and is no security: a program that opens the file can claim to
    /// act for anybody.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{Actor, Error};
    ///
    /// let operator = store.acting_as(Actor::operator());
    /// operator.process_update("writer", &govstore::Update::new())?;
    /// operator.pause("writer", Some("under review"))?;
    /// let client = store.acting_as(Actor::client("claude-code 2.1"));
    /// assert!(matches!(client.resume("writer"), Err(Error::SetByOperator { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor: Arc::new(actor), ..self.clone() }
    }

    /// The same store, for calls that another thread may call off. A call that waits for a lock then gives up with
    /// [`Error::Cancelled`], and so does one that has not begun to commit; nothing is changed. One that shares a commit
    /// with other threads' updates is made if it has joined them already.
    ///
    /// What such a call leaves behind, a lock on an agent or a registration, is not called off with it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{Cancellation, Error, Update};
    ///
    /// let cancellation = Cancellation::new();
    /// let cancellable = store.cancelled_by(&cancellation);
    /// cancellable.process_update("writer", &Update::new())?;
    /// cancellation.cancel(); // as a rule from another thread, while the call waits
    /// let refused = cancellable.process_update("writer", &Update::new());
    /// assert!(matches!(refused, Err(Error::Cancelled)));
    /// assert_eq!(store.agent("writer")?.total_updates, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cancelled_by(&self, cancellation: &Cancellation) -> Self {
        Self { cancellation: Some(cancellation.clone()), ..self.clone() }
    }

    /// The same store, for what outlives the call.
    pub(super) fn uncancelled(&self) -> Self {
        Self { cancellation: None, ..self.clone() }
    }

    /// For whom this handle acts.
    pub(super) const fn actor(&self) -> &Arc<Actor> {
        &self.actor
    }

    /// The open database.
    pub(crate) fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    /// Reads with `body`. One statement sees one snapshot.
    pub(super) fn read<T>(&self, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        self.shared.backend.read(&self.patience(), body)
    }

    /// Writes with `body` inside one transaction, the only one there is.
    ///
    /// Waits for [`Self::lock_timeout`] for its turn and for the write lock together. An error or a panic in `body`
    /// rolls back.
    pub(super) fn write<T>(&self, body: impl FnMut(&dyn Transaction) -> TxResult<T>) -> Result<T> {
        self.write_by(&self.patience(), body)
    }

    /// Writes as [`Self::write`], with a patience of its own.
    pub(super) fn write_within<T>(
        &self,
        limit: Duration,
        body: impl FnMut(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        self.write_by(&Deadline::within(limit), body)
    }

    /// Writes as [`Self::write`], by a deadline that may have begun earlier. Takes note of a write that was held up or
    /// failed: others that have not beaten may have fared likewise.
    pub(super) fn write_by<T>(
        &self,
        wait: &Deadline,
        mut body: impl FnMut(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        self.write_uncancelled_by(wait, |tx| {
            let value = body(tx)?;
            wait.refuse_cancelled()?; // the last moment at which nothing is committed yet
            Ok(value)
        })
    }

    /// Writes as [`Self::write_by`]; but what was begun is committed even if the call was cancelled, unless `body` looks.
    pub(super) fn write_uncancelled_by<T>(
        &self,
        wait: &Deadline,
        body: impl FnMut(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        let mut written = self.shared.backend.write(wait, || self.own().process_id(), body);
        // A call that is cancelled has no time left, and gives up as one does.
        if let Err(Error::LockTimeout { .. } | Error::PoolTimeout { .. }) = written
            && wait.is_cancelled()
        {
            written = Err(Error::Cancelled);
        }
        if matches!(written, Err(Error::CommitInDoubt { .. })) {
            self.own().tell_to_exit(); // this store writes nothing more
        }
        if wait.waited() > HELD_UP || written.as_ref().is_err_and(Error::is_disturbance) {
            self.own().note_disturbance();
        }
        self.look_at_holder(&written); // without a connection or a turn in the queue
        written
    }

    /// How long a call waits for a lock: as this handle says, else as the settings row does.
    pub(super) fn lock_timeout(&self) -> Duration {
        self.lock_timeout
            .unwrap_or_else(|| Duration::from_millis(self.shared.lock_timeout_ms.load(Ordering::Relaxed)))
    }

    /// The deadline of a call that begins now.
    pub(super) fn patience(&self) -> Deadline {
        Deadline::within(self.lock_timeout()).cancelled_by(self.cancellation.clone())
    }

    /// The deadline of a part of a call that takes long.
    #[cfg(feature = "postgres")]
    pub(super) fn patience_of_at_least(&self, limit: Duration) -> Deadline {
        Deadline::within(self.lock_timeout().max(limit)).cancelled_by(self.cancellation.clone())
    }

    /// Takes note of settings that were just read, so that a changed timeout holds from the next call on.
    pub(super) fn follow(&self, settings: &Settings) {
        self.shared.lock_timeout_ms.store(settings.lock_timeout_ms, Ordering::Relaxed);
        self.shared.heartbeat_interval_ms.store(settings.heartbeat_interval_ms(), Ordering::Relaxed);
    }

    /// `heartbeat_interval_s` as last read.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        let interval = self.shared.heartbeat_interval_ms.load(Ordering::Relaxed).unsigned_abs();
        Duration::from_millis(interval).min(self.backend().longest_interval())
    }

    /// What this process remembers of its registration.
    pub(super) fn own(&self) -> &OwnProcess {
        &self.shared.own
    }

    /// The locks on agents that this process holds.
    pub(super) fn held_locks(&self) -> &HeldLocks {
        &self.shared.locks
    }

    /// What the reaper remembers, as far as it still counts.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        let mut memory = lock(&self.shared.memory);
        memory.expire(self.own().disturbances());
        memory
    }

    /// The updates that share a commit.
    pub(super) fn updates(&self) -> &UpdateGroup {
        &self.shared.updates
    }

    /// Makes this thread wait by `wait`, with an eye on who holds the write lock.
    pub(super) fn watch(&self, wait: &Deadline) -> Watch<'_> {
        self.shared.backend.watch(wait)
    }

    /// The process that holds the write lock, if it is stopped.
    pub(super) fn stopped_holder(&self) -> &StoppedHolder {
        &self.shared.stopped_holder
    }

    /// [`Error::Forked`] in a child that was forked after the store was opened.
    pub(super) fn refuse_after_fork(&self) -> Result<()> {
        self.backend().refuse_after_fork()
    }

    /// [`Error::NestedWrite`] for a thread that is inside a write.
    pub(super) fn refuse_nested(&self) -> Result<()> {
        self.backend().refuse_nested()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
