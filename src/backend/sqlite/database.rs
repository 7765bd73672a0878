//! An open database file: its connections, its doors, and what it remembers of its own writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::busy::{self, Entered, LOOK_EVERY};
use super::connection::{self, Pool, Pooled};
use super::fairness::Fairness;
use super::file_identity::FileIdentity;
use super::holder::name_holder;
use super::lock_owner::{wal_index, write_lock_owner};
use super::queue::{Turn, WriteQueue};
use super::transaction::{ReadConnection, immediate};
use crate::backend::deadline::Deadline;
use crate::backend::pause::Section;
use crate::backend::statements::{Fault, Reader, Transaction, TxResult};
use crate::error::{Error, Result};
use crate::os::{FileId, file_ids};

/// A database file that this process has open.
pub(crate) struct Database {
    path: PathBuf,
    /// The wal-index of the file, whose locks tell who writes.
    shm: Arc<Path>,
    /// Whether the names still mean the files that are open.
    files: FileIdentity,
    pool: Pool,
    queue: WriteQueue,
    fairness: Fairness,
    /// Whether a commit is in doubt, so that nothing more is written.
    in_doubt: AtomicBool,
    opened_by: u32,
}

impl Database {
    pub(super) fn new(path: PathBuf, shm: Arc<Path>, files: FileIdentity, pool: Pool) -> Self {
        Self {
            path,
            shm,
            files,
            pool,
            queue: WriteQueue::default(),
            fairness: Fairness::default(),
            in_doubt: AtomicBool::default(),
            opened_by: std::process::id(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads with `body`. One statement sees one snapshot.
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        self.look(wait, |conn| body(&ReadConnection(conn)))
    }

    /// What is committed now, to be read by many statements while others write.
    #[cfg(feature = "postgres")]
    pub fn snapshot(&self, wait: &Deadline) -> Result<Snapshot<'_>> {
        self.refuse_after_fork()?;
        let _polling = self.poll_by(wait);
        self.files.check()?;
        let snapshot = Snapshot { database: self, conn: self.checkout(wait)? };
        // Reads alone, and is no second write door. It stands from the first read on.
        let begun = snapshot.conn.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema");
        begun.map_err(|e| self.explain(e.into(), &snapshot.conn, wait))?;
        Ok(snapshot)
    }

    /// As [`Self::read`], with a connection in hand.
    pub(super) fn look<T>(
        &self,
        wait: &Deadline,
        body: impl FnOnce(&Connection) -> TxResult<T>,
    ) -> Result<T> {
        self.refuse_after_fork()?;
        let _polling = self.poll_by(wait);
        self.files.check()?;
        let conn = self.checkout(wait)?;
        body(&conn).map_err(|fault| self.explain(fault, &conn, wait))
    }

    /// Writes with `body` inside one `BEGIN IMMEDIATE` transaction. `writer` is asked in its turn: the
    /// number in the registry of the process that writes.
    ///
    /// Waits in the process's queue, then for SQLite's write lock. An error or a panic in `body` rolls back.
    pub fn write<T>(
        &self,
        wait: &Deadline,
        writer: impl Fn() -> Option<i64>,
        body: impl FnOnce(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        self.refuse_after_fork()?; // first: another thread may have held the queue at the fork
        let _polling = self.poll_by(wait);
        let _turn = self.enter_queue(wait)?;
        let mut conn = self.checkout(wait)?;
        self.fairness.let_others_in(wait);
        let written = immediate(&mut conn, writer(), |tx| {
            self.fairness.lock_taken();
            let value = body(tx)?;
            self.files.check()?; // as late as can be: nothing is committed where nobody sees it
            Ok(value)
        });
        self.fairness.write_ended();
        if matches!(written, Err(Fault::InDoubt(_))) {
            self.in_doubt.store(true, Ordering::Release); // before the turn ends: another thread may wait for its own
        }
        written.map_err(|fault| self.explain(fault, &conn, wait))
    }

    /// This thread's turn to write, if it comes before the deadline.
    pub(super) fn enter_queue(&self, wait: &Deadline) -> Result<Turn<'_>> {
        let Some(turn) = self.queue.enter(wait)? else { return Err(self.queued_too_long(wait)) };
        if self.in_doubt.load(Ordering::Acquire) {
            return Err(Error::RefusedAfterDoubt { path: self.path.clone() });
        }
        Ok(turn)
    }

    /// Makes this thread wait for locks by `wait` until the guard drops, with an eye on who holds the write lock.
    pub(super) fn poll_by(&self, wait: &Deadline) -> Entered {
        busy::enter(wait, &self.shm)
    }

    /// Makes this thread wait by `wait` for what another thread of this process does for it.
    pub fn watch(&self, wait: &Deadline) -> Watch<'_> {
        Watch { database: self, wait: wait.clone(), _polling: self.poll_by(wait) }
    }

    /// [`Error::NestedWrite`] for a thread that is inside a write.
    pub fn refuse_nested(&self) -> Result<()> {
        if self.queue.has_current_thread() { Err(Error::NestedWrite) } else { Ok(()) }
    }

    /// A connection that is none of the pool's.
    pub(super) fn open_aside(&self, wait: &Deadline) -> Result<Connection> {
        self.refuse_after_fork()?;
        let opened = connection::open_to_look(&self.path);
        self.files.check_all()?; // else it would be another file
        opened.map_err(|e| connection::explain(e, &self.path, wait.waited()))
    }

    pub(super) fn checkout(&self, wait: &Deadline) -> Result<Pooled> {
        if let Some(conn) = self.pool.try_get() {
            return Ok(conn); // as nearly always; `get_timeout` looks at the clock twice more
        }
        self.files.check()?; // a new connection opens whatever has the name by now
        // r2d2 wants a moment even when nothing is to be waited for: it opens connections on a thread.
        let patience = wait.remaining().max(Duration::from_millis(100));
        self.pool.get_timeout(patience).map_err(|e| match connection::too_many_open_files() {
            Some(source) => Error::TooManyOpenFiles { path: self.path.clone(), source },
            None => Error::PoolTimeout { waited: wait.waited(), reason: e.to_string() },
        })
    }

    /// [`Error::Forked`] in a child that was forked after the database was opened.
    pub fn refuse_after_fork(&self) -> Result<()> {
        let opened_by = self.opened_by;
        if std::process::id() == opened_by { Ok(()) } else { Err(Error::Forked { opened_by }) }
    }

    /// Whether the names still mean the files that are open.
    pub(super) fn files(&self) -> &FileIdentity {
        &self.files
    }

    /// The PID of the process that holds the write lock, if somebody does and if that can be known.
    pub fn write_lock_owner(&self) -> Option<u32> {
        write_lock_owner(&self.shm)
    }

    /// The folder that the log lies in.
    pub fn folder(&self) -> &Path {
        self.shm.parent().unwrap_or_else(|| Path::new("."))
    }

    /// The files that a process has open that has the database open.
    pub fn open_files(&self) -> Vec<FileId> {
        let database = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        file_ids(&[wal_index(&database), database])
    }

    /// Runs a statement that no rule has, for a test.
    #[cfg(test)]
    pub fn execute(&self, sql: &str) -> Result<usize> {
        let conn = self.open_aside(&Deadline::within(Duration::from_secs(5)))?;
        conn.execute(sql, []).map_err(|e| connection::explain(e, &self.path, Duration::ZERO))
    }

    /// Turns a fault into the error that tells a caller what to do.
    pub(super) fn explain(&self, fault: Fault, conn: &Connection, wait: &Deadline) -> Error {
        // Without its log a file looks damaged, and it would be wrong to say so.
        if matches!(fault, Fault::Failed(_))
            && let Err(displaced) = self.files.check_all()
        {
            return displaced;
        }
        name_holder(connection::explain_fault(fault, &self.path, wait.waited()), Some(conn))
    }

    /// Another thread had its turn all the time: it waits itself, or it holds the lock.
    fn queued_too_long(&self, wait: &Deadline) -> Error {
        let error = Error::LockTimeout { waited: wait.waited(), holder: None };
        let conn = self.checkout(&Deadline::within(Duration::ZERO)).ok();
        name_holder(error, conn.as_deref())
    }
}

/// A thread that waits for another one to write for it.
pub(crate) struct Watch<'d> {
    database: &'d Database,
    wait: Deadline,
    _polling: Entered,
}

impl Watch<'_> {
    /// How long to sleep until the next look is due.
    pub const LOOK_EVERY: Duration = LOOK_EVERY;

    /// Looks who holds the write lock, if a look is due.
    #[expect(clippy::unused_self, reason = "a thread looks only while it watches")]
    pub fn look(&self) {
        busy::watch();
    }

    /// The error of a wait that was in vain.
    pub fn gave_up(&self) -> Error {
        self.database.queued_too_long(&self.wait)
    }
}

impl Drop for Database {
    /// Closes the connections here and now. The last one to close folds the `-wal` file into the database;
    /// left to the pool's threads, that would come after a short program has ended, or never.
    fn drop(&mut self) {
        let fold_in_log = self.files.may_fold_in_log();
        let _section = Section::begin();
        let mut idle: Vec<_> = std::iter::from_fn(|| self.pool.try_get()).collect();
        for conn in &mut idle {
            connection::close(conn, fold_in_log);
        }
    }
}

/// What was committed at one moment.
#[cfg(feature = "postgres")]
pub(crate) struct Snapshot<'d> {
    database: &'d Database,
    conn: Pooled,
}

#[cfg(feature = "postgres")]
impl Snapshot<'_> {
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        let _polling = self.database.poll_by(wait);
        self.database.files.check()?;
        body(&ReadConnection(&self.conn)).map_err(|fault| self.database.explain(fault, &self.conn, wait))
    }
}

#[cfg(feature = "postgres")]
impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let _ = self.conn.execute_batch("ROLLBACK"); // it fails if there is nothing to end
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// A thread that has its turn in the queue and not yet SQLite's lock, which would stop a VACUUM by itself.
    #[test]
    fn a_vacuum_that_queued_too_long_does_not_go_on() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = crate::Store::open(folder.path().join("governance.db"))?;
        thread::scope(|scope| {
            let (entered, has_entered) = mpsc::channel();
            let (leave, may_leave) = mpsc::channel::<()>();
            let database = store.backend().sqlite().expect("a file");
            scope.spawn(move || {
                let turn = database.enter_queue(&Deadline::within(Duration::from_secs(5)));
                let _ = entered.send(turn.is_ok());
                let _ = may_leave.recv();
            });
            assert!(has_entered.recv()?);
            let limit = Duration::from_millis(50);
            let refused = store.with_lock_timeout(limit).vacuum();
            assert!(
                matches!(refused, Err(Error::LockTimeout { waited, .. }) if waited >= limit),
                "{refused:?}"
            );
            drop(leave);
            Ok(())
        })
    }
}
