//! What statements run on: a connection that reads, or one inside a write transaction.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, Statement};

use super::connection::explain_fault;
use super::doubt;
use super::immediate::{CommitFault, Immediate};
use crate::backend::pause::Section;
use crate::backend::statements::{Fault, Isolation, Reader, Transaction, TxResult};
use crate::crash_point;
use crate::error::Error;
use crate::model::Timestamp;

/// What has a connection that can be looked at.
pub(super) trait OnConnection {
    fn conn(&self) -> &Connection;

    /// Runs a statement that a transaction may run many times.
    fn with_statement<T>(
        &self,
        sql: &'static str,
        run: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        run(&mut *self.conn().prepare_cached(sql)?)
    }
}

/// A connection of which one statement sees one snapshot.
pub(super) struct ReadConnection<'c>(pub &'c Connection);

impl OnConnection for ReadConnection<'_> {
    fn conn(&self) -> &Connection {
        self.0
    }
}

impl Reader for ReadConnection<'_> {}

/// An open write transaction.
pub(super) struct WriteTransaction<'c> {
    sql: Immediate<'c>,
    at: Timestamp,
    /// The same, as columns hold it.
    at_text: String,
    /// The registered process that writes. It gets another id if its row had vanished.
    process_id: Cell<Option<i64>>,
    /// Statements that have run, by the address of their text: rusqlite's cache reads and copies all of the text each time.
    prepared: RefCell<Vec<(&'static str, CachedStatement<'c>)>>,
}

impl WriteTransaction<'_> {
    fn commit(self) -> Result<(), CommitFault> {
        self.sql.commit()
    }

    /// What a fault in a part of the transaction means to its caller. The lock was not waited for any more.
    fn explain(&self, fault: Fault) -> Error {
        let path = self.conn().path().map_or_else(|| Path::new(""), Path::new);
        explain_fault(fault, path, Duration::ZERO)
    }

    /// When the transaction got the lock, as columns hold it.
    pub fn at_text(&self) -> &str {
        &self.at_text
    }

    /// A time as columns hold it; mostly it is that of the transaction.
    pub fn text_of(&self, at: Timestamp) -> Cow<'_, str> {
        if at == self.at { Cow::Borrowed(&self.at_text) } else { Cow::Owned(at.to_string()) }
    }
}

impl OnConnection for WriteTransaction<'_> {
    fn conn(&self) -> &Connection {
        self.sql.0
    }

    fn with_statement<T>(
        &self,
        sql: &'static str,
        run: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut prepared = self.prepared.borrow_mut();
        let known = prepared.iter().position(|(text, _)| ptr::eq(*text, sql));
        let at = known.unwrap_or(prepared.len());
        if known.is_none() {
            prepared.push((sql, self.sql.0.prepare_cached(sql)?));
        }
        run(&mut prepared[at].1)
    }
}

impl Reader for WriteTransaction<'_> {}

impl Transaction for WriteTransaction<'_> {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn process_id(&self) -> Option<i64> {
        self.process_id.get()
    }

    fn set_process_id(&self, process_id: i64) {
        self.process_id.set(Some(process_id));
    }

    fn nested(
        &self,
        isolation: Isolation,
        body: &mut dyn FnMut() -> TxResult<()>,
    ) -> TxResult<Result<(), Error>> {
        let run = |sql: &str| self.conn().prepare_cached(sql)?.execute([]);
        let is_bare = isolation == Isolation::Bare;
        let before = self.changes();
        if !is_bare {
            run("SAVEPOINT nested")?;
        }
        // A panic of one part must not undo what the others did; it goes on once that is safe.
        let ended = catch_unwind(AssertUnwindSafe(body));
        if matches!(ended, Ok(Ok(()))) {
            if !is_bare {
                run("RELEASE nested")?;
            }
            return Ok(Ok(()));
        }
        let is_lost = self.conn().is_autocommit(); // SQLite has rolled back all of it
        if !is_bare && !is_lost {
            run("ROLLBACK TO nested")?;
            run("RELEASE nested")?;
        }
        let costs_all = is_lost || is_bare && self.changes() != before;
        match ended {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(fault)) if costs_all => Err(fault),
            Ok(Err(fault)) => Ok(Err(self.explain(fault))),
            // It runs again in a savepoint, and the panic goes on from there.
            Err(_) if costs_all => Err(Fault::Failed("a part of the transaction panicked".into())),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn changes(&self) -> u64 {
        self.conn().total_changes()
    }
}

/// The write door itself, the only place that begins a transaction: `BEGIN IMMEDIATE`, `body`, `COMMIT`.
pub(super) fn immediate<T>(
    conn: &mut Connection,
    process_id: Option<i64>,
    body: impl FnOnce(&WriteTransaction<'_>) -> TxResult<T>,
) -> TxResult<T> {
    crash_point::reach("before the transaction");
    let section = Section::begin();
    let sql = section.first_lock(|| Immediate::begin(conn))?;
    let at = Timestamp::now();
    let tx = WriteTransaction {
        sql,
        at,
        at_text: at.to_string(),
        process_id: Cell::new(process_id),
        prepared: RefCell::default(),
    };
    let value = body(&tx)?; // an error drops `tx`, which rolls back
    crash_point::reach("after the write");
    if let Err(fault) = tx.commit() {
        return Err(match fault {
            CommitFault::InDoubt(error) => doubt::settle(conn, error),
            CommitFault::Certain(error) => error.into(),
        });
    }
    crash_point::reach("after the commit");
    Ok(value)
}
