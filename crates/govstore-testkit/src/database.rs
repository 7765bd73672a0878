//! A database for one test, with what only a test does to it.
//!
//! A test of what a store does knows nothing of its backend but this. What [`Database::path`] and [`Database::sql`]
//! give away is for the tests of SQLite's own.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use govstore::{Durability, Outcome, ReapReport, Store};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, types};
use serde_json::Value;

use crate::TestResult;
use crate::wait::PATIENCE;

/// A database of its own for one test.
///
/// The SQL that it is given is what SQLite and PostgreSQL both understand.
pub struct Database {
    folder: tempfile::TempDir,
}

impl Database {
    /// A new one, with these settings. Unless they say otherwise, an interval is short, so that a second look comes soon;
    /// what is stale, and what is unused, stays at 300 s.
    pub fn new(settings: &[(&str, &str)]) -> TestResult<Self> {
        let database = Self::unopened()?;
        let store = database.store()?;
        store.set_setting("heartbeat_interval_s", "0.2")?;
        for (key, value) in settings {
            store.set_setting(key, value)?;
        }
        Ok(database)
    }

    /// One that is not there yet: the first to open it sets it up.
    pub fn unopened() -> TestResult<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    /// What a program is told to open, as the argument of `--db`.
    pub fn address(&self) -> String {
        self.path().display().to_string()
    }

    /// A folder for what else the test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database as a process that is not registered has it open.
    pub fn store(&self) -> govstore::Result<Store> {
        open(&self.address())
    }

    /// Runs statements, one or several.
    pub fn execute(&self, sql: &str) -> TestResult {
        Ok(self.sql()?.execute_batch(sql)?)
    }

    /// Runs statements in one transaction. Their parameters are called `$1`, `$2` and so on; numbers arrive as they are,
    /// to the last bit.
    pub fn write(&self, statements: &[(&str, Vec<Value>)]) -> TestResult {
        let mut conn = self.sql()?;
        conn.pragma_update(None, "synchronous", "OFF")?; // some tests write thousands of times
        let transaction = conn.transaction()?;
        for (sql, parameters) in statements {
            let mut statement = transaction.prepare_cached(sql)?;
            for (number, parameter) in (1..).zip(parameters) {
                let index = statement.parameter_index(&format!("${number}"))?;
                let index = index.ok_or_else(|| format!("there is no ${number} in {sql}"))?;
                statement.raw_bind_parameter(index, bound(parameter)?)?;
            }
            statement.raw_execute()?;
        }
        Ok(transaction.commit()?)
    }

    /// The rows that a statement answers with. A truth is 1 or 0, a vector is an array, and a number that is infinite or
    /// none at all is null.
    pub fn rows(&self, sql: &str) -> TestResult<Vec<Vec<Value>>> {
        let conn = self.sql()?;
        let mut statement = conn.prepare(sql)?;
        let columns = statement.column_count();
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push((0..columns).map(|n| shown(row.get_ref(n)?)).collect::<TestResult<_>>()?);
        }
        Ok(rows)
    }

    /// The one number that a query answers with.
    pub fn count(&self, sql: &str) -> TestResult<i64> {
        Ok(self.sql()?.query_row(sql, [], |row| row.get(0))?)
    }

    /// Every row of every table, with the name of the table.
    pub fn dump(&self) -> TestResult<Vec<(String, Vec<Value>)>> {
        let mut dump = Vec::new();
        let tables = self.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
        for table in tables.iter().flatten().filter_map(Value::as_str) {
            let rows = self.rows(&format!("SELECT * FROM \"{table}\" ORDER BY 1, 2"))?;
            dump.extend(rows.into_iter().map(|row| (table.to_owned(), row)));
        }
        Ok(dump)
    }

    /// Keeps everybody from writing, until what it returns is dropped.
    pub fn hold_write_lock(&self) -> TestResult<WriteLock> {
        let holder = self.sql()?;
        holder.execute_batch("BEGIN IMMEDIATE")?;
        Ok(WriteLock(holder))
    }

    /// Puts a backup in the database's place. Nobody may have it open.
    pub fn restore(&self, backup: &Path) -> govstore::Result<()> {
        govstore::restore(backup, self.path()).map(drop)
    }

    /// Every page, row and index is whole, and every reference holds.
    pub fn assert_sound(&self) -> TestResult {
        let conn = self.sql()?;
        let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(integrity, "ok");
        let orphans: i64 =
            conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
        assert_eq!(orphans, 0, "rows that refer to nothing");
        Ok(())
    }

    /// Totals, history and agents tell the same story: one row an update, numbered without gaps from 1. Of agents that
    /// were never reset.
    pub fn assert_numbered_without_gaps(&self) -> TestResult {
        let broken = self.count(
            "SELECT count(*) FROM agents AS a
             WHERE (SELECT count(*) FROM agent_updates AS u WHERE u.agent_id = a.agent_id) <> a.total_updates
                OR (SELECT coalesce(max(update_no), 0) FROM agent_updates AS u WHERE u.agent_id = a.agent_id)
                   <> a.total_updates
                OR a.update_count <> a.total_updates",
        )?;
        assert_eq!(broken, 0, "agents whose history has gaps or doubles");
        Ok(())
    }

    /// Makes a process's last heartbeat this much older.
    pub fn age_heartbeat(&self, process_id: i64, by_s: i64) -> TestResult {
        let aged = self.sql()?.execute(
            "UPDATE heartbeats SET monotonic_ms = monotonic_ms - ?2 * 1000 WHERE process_id = ?1",
            (process_id, by_s),
        )?;
        assert_eq!(aged, 1, "process {process_id} has a heartbeat");
        Ok(())
    }

    /// Makes a process's last activity this much older.
    pub fn age_activity(&self, process_id: i64, by_s: i64) -> TestResult {
        let aged = self.sql()?.execute(
            "UPDATE processes SET last_activity_monotonic_ms = last_activity_monotonic_ms - ?2 * 1000
             WHERE process_id = ?1",
            (process_id, by_s),
        )?;
        assert_eq!(aged, 1, "process {process_id} is registered");
        Ok(())
    }

    pub fn state_of(&self, process_id: i64) -> TestResult<String> {
        let sql = "SELECT state FROM processes WHERE process_id = ?1";
        Ok(self.sql()?.query_row(sql, [process_id], |row| row.get(0))?)
    }

    /// What reapers did to one process, by the ledger: verdict, signals, outcome. Without what was put off.
    pub fn ledger_of(&self, process_id: i64) -> TestResult<Vec<(String, String, String)>> {
        let conn = self.sql()?;
        let mut ledger = conn.prepare(
            "SELECT verdict, signals, outcome FROM reap_events WHERE process_id = ?1 AND outcome <> 'postponed'
             ORDER BY reap_event_id",
        )?;
        let entries = ledger.query_map([process_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// Lets other users of the machine write it too, once it is open.
    pub(crate) fn share_with_everybody(&self) -> io::Result<()> {
        fs::set_permissions(self.folder(), Permissions::from_mode(0o777))?;
        for suffix in ["", "-wal", "-shm"] {
            let file = format!("{}{suffix}", self.path().display());
            fs::set_permissions(file, Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    /// The file, for the tests of SQLite's own.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("governance.db")
    }

    /// The database as the `sqlite3` shell has it open, for the tests of SQLite's own.
    pub fn sql(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(self.path())?;
        conn.busy_timeout(PATIENCE)?;
        conn.pragma_update(None, "foreign_keys", true)?; // which is for every connection to say
        Ok(conn)
    }
}

/// Nobody else writes while it lives.
#[must_use]
pub struct WriteLock(Connection);

impl Drop for WriteLock {
    fn drop(&mut self) {
        self.0.execute_batch("ROLLBACK").expect("it was in a transaction");
    }
}

/// Opens the database with this [address](Database::address), in another process than that which has the [`Database`].
pub fn open(address: &str) -> govstore::Result<Store> {
    Store::options().durability(Durability::Normal).open(address)
}

/// A parameter as SQLite takes it.
fn bound(parameter: &Value) -> TestResult<types::Value> {
    Ok(match parameter {
        Value::Null => types::Value::Null,
        Value::Bool(truth) => types::Value::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(float)) => float.into(),
            (None, None) => return Err(format!("{number} is no number here").into()),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(_) | Value::Object(_) => return Err(format!("{parameter} is no parameter").into()),
    })
}

/// A cell as JSON. Every BLOB is a vector of little-endian `f64`.
fn shown(cell: ValueRef<'_>) -> TestResult<Value> {
    Ok(match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => str::from_utf8(text)?.into(),
        ValueRef::Blob(bytes) => {
            let numbers = bytes.chunks(8).map(|number| Ok(f64::from_le_bytes(number.try_into()?).into()));
            Value::Array(numbers.collect::<TestResult<_>>()?)
        }
    })
}

/// Reaps, and again until nothing is put off any more. What was put off is not among the events.
pub fn reap(store: &Store) -> govstore::Result<ReapReport> {
    let mut report = store.reap_with_second_look(|_, _| ())?;
    report.events.retain(|event| event.outcome != Outcome::Postponed);
    Ok(report)
}
