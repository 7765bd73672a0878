//! The store: one database file, opened, migrated, read, and written through one door.
//!
//! [`Store::write`] is the only place that begins a transaction, and it is always `BEGIN IMMEDIATE`: whatever
//! a decision rests on is read inside the transaction that acts on it. Threads of one process queue in
//! [`queue`] before one of them polls for SQLite's lock in [`wait`]. Functions over a transaction live with
//! their subject, in `agent` and `process`; this module keeps what a process remembers of them between its calls,
//! and asks `process` who is in the way.

mod backup;
mod check;
pub(crate) mod column;
mod connection;
mod doubt;
mod keep;
mod location;
mod manners;
mod migrate;
mod options;
mod partial;
mod pause;
mod place;
mod queue;
mod restore;
mod schema;
pub(crate) mod settings;
mod vacuum;
mod wait;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

pub use backup::{Backup, BackupProgress, BackupReport};
pub use check::{Check, CheckStatus};
pub use options::{Durability, StoreOptions};
pub(crate) use partial::beside;
pub use pause::{WritePause, pause_writes};
pub use restore::{RestoreReport, restore};
pub use settings::{LimitPolicy, Settings};
pub(crate) use wait::Deadline;

use crate::agent::HeldLocks;
use crate::crash_point;
use crate::error::{Error, Result};
use crate::process::{Member, StoppedHolder};
use crate::timestamp::Timestamp;

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
}

struct Shared {
    path: PathBuf,
    /// The wal-index of the file, whose locks tell who writes.
    shm: Arc<Path>,
    /// Whether the names still mean the files that are open.
    place: place::Place,
    pool: connection::Pool,
    queue: queue::WriteQueue,
    manners: manners::Manners,
    /// Whether a commit of this store is in doubt, so that it writes nothing more.
    doubt: doubt::Doubt,
    /// `lock_timeout_ms` as last read from the settings row.
    lock_timeout_ms: AtomicU64,
    /// `heartbeat_interval_s` as last read, in milliseconds.
    heartbeat_interval_ms: AtomicI64,
    /// This process's place in the registry, if it has one: its writes say who made them.
    member: Member,
    /// Who is in the way of every writer, if that one is stopped.
    stopped_holder: StoppedHolder,
    /// The locks on agents that this process holds.
    locks: HeldLocks,
    opened_by: u32,
}

impl Store {
    /// Opens the database at `path`, creating it if there is none, with [`StoreOptions::default`].
    ///
    /// # Errors
    ///
    /// As [`StoreOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// How to open a database: durability, patience, number of connections.
    pub fn options() -> StoreOptions {
        StoreOptions::default()
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The schema version of the open database, `PRAGMA user_version`.
    #[must_use]
    pub const fn schema_version(&self) -> i32 {
        migrate::SUPPORTED // opening migrates, or refuses
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
        Self { shared: Arc::clone(&self.shared), lock_timeout: Some(limit) }
    }

    /// Reads with `body`. One statement sees one snapshot.
    pub(crate) fn read<T>(&self, body: impl FnOnce(&Connection) -> TxResult<T>) -> Result<T> {
        self.refuse_after_fork()?;
        let wait = self.patience();
        let _waiting = wait.enter(&self.shared.shm);
        self.shared.place.check()?;
        let conn = self.checkout(&wait)?;
        body(&conn).map_err(|fault| self.explain(fault, &conn, &wait))
    }

    /// Writes with `body` inside one `BEGIN IMMEDIATE` transaction, the only one there is.
    ///
    /// Waits in the process's queue, then for SQLite's write lock, for [`Self::lock_timeout`] together. An
    /// error or a panic in `body` rolls back.
    pub(crate) fn write<T>(&self, body: impl FnOnce(&WriteTx<'_>) -> TxResult<T>) -> Result<T> {
        self.write_by(&self.patience(), body)
    }

    /// Writes as [`Self::write`], with a patience of its own.
    pub(crate) fn write_within<T>(
        &self,
        limit: Duration,
        body: impl FnOnce(&WriteTx<'_>) -> TxResult<T>,
    ) -> Result<T> {
        self.write_by(&Deadline::within(limit), body)
    }

    /// Writes as [`Self::write`], by a deadline that may have begun earlier. Takes note of a write that was held up or
    /// failed: others that have not beaten may have fared likewise.
    pub(crate) fn write_by<T>(
        &self,
        wait: &Deadline,
        body: impl FnOnce(&WriteTx<'_>) -> TxResult<T>,
    ) -> Result<T> {
        let written = self.write_through(wait, body);
        if wait.waited() > HELD_UP || written.as_ref().is_err_and(Error::is_disturbance) {
            self.member().note_disturbance();
        }
        self.look_at_holder(&written); // without a connection or a turn in the queue
        written
    }

    fn write_through<T>(&self, wait: &Deadline, body: impl FnOnce(&WriteTx<'_>) -> TxResult<T>) -> Result<T> {
        self.refuse_after_fork()?; // first: another thread may have held the queue at the fork
        let _waiting = wait.enter(&self.shared.shm);
        let Some(_turn) = self.shared.queue.enter(wait)? else { return Err(self.queued_too_long(wait)) };
        self.refuse_after_doubt()?;
        let mut conn = self.checkout(wait)?;
        let manners = &self.shared.manners;
        manners.let_others_in(wait);
        let written = immediate(&mut conn, self.member().process_id(), |tx| {
            manners.lock_taken();
            let value = body(tx)?;
            self.shared.place.check()?; // as late as can be: nothing is committed where nobody sees it
            Ok(value)
        });
        manners.write_ended();
        if matches!(written, Err(Fault::InDoubt(_))) {
            self.end_writes(); // before the turn ends: another thread may wait for its own
        }
        written.map_err(|fault| self.explain(fault, &conn, wait))
    }

    /// How long a call waits for a lock: as this handle says, else as the settings row does.
    pub(crate) fn lock_timeout(&self) -> Duration {
        self.lock_timeout
            .unwrap_or_else(|| Duration::from_millis(self.shared.lock_timeout_ms.load(Ordering::Relaxed)))
    }

    /// The deadline of a call that begins now.
    pub(crate) fn patience(&self) -> Deadline {
        Deadline::within(self.lock_timeout())
    }

    /// Takes note of settings that were just read, so that a changed timeout holds from the next call on.
    pub(crate) fn follow(&self, settings: &Settings) {
        self.shared.lock_timeout_ms.store(settings.lock_timeout_ms, Ordering::Relaxed);
        self.shared.heartbeat_interval_ms.store(settings.heartbeat_interval_ms(), Ordering::Relaxed);
    }

    /// `heartbeat_interval_s` as last read, in milliseconds.
    pub(crate) fn heartbeat_interval_ms(&self) -> u64 {
        self.shared.heartbeat_interval_ms.load(Ordering::Relaxed).unsigned_abs()
    }

    /// The locks on agents that this process holds.
    pub(crate) fn held_locks(&self) -> &HeldLocks {
        &self.shared.locks
    }

    /// The wal-index of the database.
    pub(crate) fn wal_index(&self) -> &Path {
        &self.shared.shm
    }

    /// Who is in the way of every writer, if that one is stopped.
    pub(crate) fn stopped_holder(&self) -> &StoppedHolder {
        &self.shared.stopped_holder
    }

    /// This process's place in the registry.
    pub(crate) fn member(&self) -> &Member {
        &self.shared.member
    }

    fn checkout(&self, wait: &Deadline) -> Result<connection::Pooled> {
        if let Some(conn) = self.shared.pool.try_get() {
            return Ok(conn); // as nearly always; `get_timeout` looks at the clock twice more
        }
        self.shared.place.check()?; // a new connection opens whatever has the name by now
        // r2d2 wants a moment even when nothing is to be waited for: it opens connections on a thread.
        let patience = wait.remaining().max(Duration::from_millis(100));
        self.shared.pool.get_timeout(patience).map_err(|e| match connection::too_many_open_files() {
            Some(source) => Error::TooManyOpenFiles { path: self.shared.path.clone(), source },
            None => Error::PoolTimeout { waited: wait.waited(), reason: e.to_string() },
        })
    }

    /// [`Error::Forked`] in a child that was forked after the store was opened.
    pub(crate) fn refuse_after_fork(&self) -> Result<()> {
        let opened_by = self.shared.opened_by;
        if std::process::id() == opened_by { Ok(()) } else { Err(Error::Forked { opened_by }) }
    }

    /// Turns a fault into the error that tells a caller what to do.
    fn explain(&self, fault: Fault, conn: &Connection, wait: &Deadline) -> Error {
        match fault {
            Fault::Refused(error) => error,
            Fault::InDoubt(error) => connection::in_doubt(error, &self.shared.path),
            Fault::Sqlite(error) => {
                // Without its log a file looks damaged, and it would be wrong to say so.
                if let Err(displaced) = self.shared.place.check_all() {
                    return displaced;
                }
                let error = connection::explain(error, &self.shared.path, wait.waited());
                connection::name_holder(error, Some(conn))
            }
        }
    }

    /// Another thread had its turn all the time: it waits itself, or it holds the lock.
    fn queued_too_long(&self, wait: &Deadline) -> Error {
        let error = Error::LockTimeout { waited: wait.waited(), holder: None };
        let conn = self.checkout(&Deadline::within(Duration::ZERO)).ok();
        connection::name_holder(error, conn.as_deref())
    }
}

impl Drop for Shared {
    /// Closes the connections here and now. The last one to close folds the `-wal` file into the database;
    /// left to the pool's threads, that would come after a short program has ended, or never.
    fn drop(&mut self) {
        let fold_in_log = self.place.may_fold_in_log();
        let _section = pause::Section::begin();
        let mut idle: Vec<_> = std::iter::from_fn(|| self.pool.try_get()).collect();
        for conn in &mut idle {
            connection::close(conn, fold_in_log);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// The write door itself: `BEGIN IMMEDIATE`, `body`, `COMMIT`.
fn immediate<T>(
    conn: &mut Connection,
    process_id: Option<i64>,
    body: impl FnOnce(&WriteTx<'_>) -> TxResult<T>,
) -> TxResult<T> {
    crash_point::reach("before the transaction");
    let section = pause::Section::begin();
    let sql = section.first_lock(|| Immediate::begin(conn))?;
    let at = Timestamp::now();
    let tx = WriteTx { sql, at, at_text: at.to_string(), process_id: Cell::new(process_id) };
    let value = body(&tx)?; // an error drops `tx`, which rolls back
    crash_point::reach("after the write");
    if let Err(fault) = tx.commit() {
        return Err(match fault {
            Fault::InDoubt(error) => doubt::settle(conn, error),
            certain => certain,
        });
    }
    crash_point::reach("after the commit");
    Ok(value)
}

/// One open `BEGIN IMMEDIATE`, rolled back when it drops without a commit.
///
/// rusqlite's own transaction parses `BEGIN` and `COMMIT` anew each time, 4 % of an update's instructions.
struct Immediate<'c>(&'c Connection);

impl<'c> Immediate<'c> {
    /// The connection is lent for good, so that nothing else begins a transaction on it meanwhile.
    fn begin(conn: &'c mut Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(conn))
    }

    /// Commits. [`Fault::InDoubt`] if that fails when the transaction may be in the log already.
    fn commit(self) -> TxResult<()> {
        let committed = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        committed.map(drop).map_err(|error| {
            let was_begun = self.0.is_autocommit(); // else SQLite leaves the transaction open
            if was_begun && doubt::is_left_by(&error) { Fault::InDoubt(error) } else { Fault::Sqlite(error) }
        })
    }
}

impl Drop for Immediate<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // SQLite itself rolls back where this can't: the connection goes on without a transaction.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// A write transaction: what [`Store::write`] hands to its body.
pub(crate) struct WriteTx<'c> {
    sql: Immediate<'c>,
    /// When the transaction got the lock: the time of everything it writes.
    pub at: Timestamp,
    /// The same, as columns hold it.
    pub at_text: String,
    /// The registered process that writes. It gets another id if its row had vanished.
    process_id: Cell<Option<i64>>,
}

impl WriteTx<'_> {
    fn commit(self) -> TxResult<()> {
        self.sql.commit()
    }

    /// The registry id of the process that writes, if it is registered.
    pub fn process_id(&self) -> Option<i64> {
        self.process_id.get()
    }

    /// From here on the transaction belongs to another row of this process.
    pub fn set_process_id(&self, process_id: i64) {
        self.process_id.set(Some(process_id));
    }
}

impl std::ops::Deref for WriteTx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.sql.0
    }
}

/// Why the body of a read or a write gave up. The door knows path and wait, and makes an [`Error`] of it.
#[derive(Debug)]
pub(crate) enum Fault {
    Refused(Error),
    Sqlite(rusqlite::Error),
    /// At COMMIT, and what becomes of the transaction can't be known.
    InDoubt(rusqlite::Error),
}

pub(crate) type TxResult<T> = std::result::Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}
