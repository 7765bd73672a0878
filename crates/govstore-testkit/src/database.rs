//! A database for one test, with what only a test does to it.
//!
//! A test of what a store does knows nothing of its backend but this. What [`Database::path`] and [`Database::sql`]
//! give away is for the tests of SQLite's own. With `GOVSTORE_TEST_BACKEND=postgres` in the environment, each database is one
//! on a server that the test process starts, and with `pgbouncer` there is a pooler in between.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use govstore::{Durability, Outcome, ReapReport, Store};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, types};
use serde_json::Value;

use crate::TestResult;
use crate::cluster::{Cluster, Connected};
use crate::pooler::Pooler;
use crate::wait::PATIENCE;

/// A database of its own for one test.
///
/// The SQL that it is given is what SQLite and PostgreSQL both understand.
pub struct Database {
    folder: tempfile::TempDir,
    /// The server that has it, and its name there; `None` for a file.
    server: Option<(&'static Cluster, String)>,
    /// What stands between the server and those who open it by its address.
    pooler: Option<&'static Pooler>,
}

impl Database {
    /// A new one, with these settings. Unless they say otherwise, an interval is short, so that a second look comes soon;
    /// what is stale, and what is unused, stays at 300 s.
    pub fn new(settings: &[(&str, &str)]) -> TestResult<Self> {
        Self::unopened()?.with_settings(settings)
    }

    /// The same in a file, whatever the environment says: for what only a file has, such as one lock for all writers.
    pub fn in_a_file(settings: &[(&str, &str)]) -> TestResult<Self> {
        Self::unopened_file()?.with_settings(settings)
    }

    fn with_settings(self, settings: &[(&str, &str)]) -> TestResult<Self> {
        let database = self;
        let store = database.store()?;
        store.set_setting("heartbeat_interval_s", "0.2")?;
        for (key, value) in settings {
            store.set_setting(key, value)?;
        }
        Ok(database)
    }

    /// One that is not there yet: the first to open it sets it up.
    pub fn unopened() -> TestResult<Self> {
        let there = match std::env::var("GOVSTORE_TEST_BACKEND").as_deref() {
            Ok("postgres") => Self::on_a_server()?,
            Ok("pgbouncer") => Self::behind_a_pooler()?,
            _ => return Self::unopened_file(),
        };
        there.ok_or_else(|| "PostgreSQL or pgbouncer is missing".into())
    }

    /// The same in a file.
    pub fn unopened_file() -> TestResult<Self> {
        Ok(Self { folder: tempfile::tempdir()?, server: None, pooler: None })
    }

    /// One on a server, whatever the environment says; `None` where there is no PostgreSQL.
    pub fn on_a_server() -> TestResult<Option<Self>> {
        let Some(cluster) = Cluster::shared() else { return Ok(None) };
        let name = cluster.make_database()?;
        Ok(Some(Self { folder: tempfile::tempdir()?, server: Some((cluster, name)), pooler: None }))
    }

    /// One on a server with a pooler in between; `None` where one of both is missing.
    pub fn behind_a_pooler() -> TestResult<Option<Self>> {
        let (Some(pooler), Some(there)) = (Pooler::shared(), Self::on_a_server()?) else { return Ok(None) };
        Ok(Some(Self { pooler: Some(pooler), ..there }))
    }

    /// Whether it is on a server.
    pub fn is_on_a_server(&self) -> bool {
        self.server.is_some()
    }

    /// What a program is told to open, as the argument of `--db`.
    pub fn address(&self) -> String {
        match (&self.server, self.pooler) {
            (None, _) => self.path().display().to_string(),
            (Some((cluster, name)), None) => cluster.address(name),
            (Some((_, name)), Some(pooler)) => pooler.address(name),
        }
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
        match &self.server {
            None => Ok(self.sql()?.execute_batch(sql)?),
            Some((cluster, name)) => cluster.with(name, |connected| connected.execute(sql)),
        }
    }

    /// Runs statements in one transaction. Their parameters are called `$1`, `$2` and so on; numbers arrive as they are,
    /// to the last bit.
    pub fn write(&self, statements: &[(&str, Vec<Value>)]) -> TestResult {
        if let Some((cluster, name)) = &self.server {
            return cluster.with(name, |connected| connected.write(statements));
        }
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
        if let Some((cluster, name)) = &self.server {
            return cluster.with(name, |connected| connected.rows(sql));
        }
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
        let rows = self.rows(sql)?;
        let number = rows.first().and_then(|row| row.first()).and_then(Value::as_i64);
        number.ok_or_else(|| format!("{sql} answers with {rows:?}").into())
    }

    /// Every row of every table, with the name of the table.
    pub fn dump(&self) -> TestResult<Vec<(String, Vec<Value>)>> {
        let mut dump = Vec::new();
        let tables = self.rows(match &self.server {
            None => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
            Some(_) => {
                "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() \
                   AND tablename NOT IN ('receipts', 'govstore_schema') ORDER BY 1"
            }
        })?;
        for table in tables.iter().flatten().filter_map(Value::as_str) {
            let rows = self.rows(&format!("SELECT * FROM \"{table}\" ORDER BY 1, 2"))?;
            dump.extend(rows.into_iter().map(|row| (table.to_owned(), row)));
        }
        Ok(dump)
    }

    /// Keeps everybody from writing, until what it returns is dropped.
    pub fn hold_write_lock(&self) -> TestResult<WriteLock> {
        if let Some((cluster, name)) = &self.server {
            let connected = Connected::to(&cluster.address(name))?;
            connected.execute(
                "BEGIN; LOCK TABLE agents, agent_updates, agent_events, processes, heartbeats, agent_locks, \
                 reap_events, settings, tool_calls, hosts IN EXCLUSIVE MODE",
            )?;
            return Ok(WriteLock::OnAServer { _connected: connected });
        }
        let holder = self.sql()?;
        holder.execute_batch("BEGIN IMMEDIATE")?;
        Ok(WriteLock::InAFile(holder))
    }

    /// Puts a backup in the database's place. Nobody may have it open.
    pub fn restore(&self, backup: &Path) -> govstore::Result<()> {
        govstore::restore(backup, self.path()).map(drop)
    }

    /// Every page, row and index is whole, and every reference holds.
    pub fn assert_sound(&self) -> TestResult {
        if self.is_on_a_server() {
            return Ok(()); // it looks after that itself
        }
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
        let there =
            self.count(&format!("SELECT count(*) FROM heartbeats WHERE process_id = {process_id}"))?;
        assert_eq!(there, 1, "process {process_id} has a heartbeat");
        self.execute(&format!(
            "UPDATE heartbeats SET monotonic_ms = monotonic_ms - {} WHERE process_id = {process_id}",
            by_s * 1_000
        ))
    }

    /// Makes a process's last activity this much older.
    pub fn age_activity(&self, process_id: i64, by_s: i64) -> TestResult {
        let there = self.count(&format!("SELECT count(*) FROM processes WHERE process_id = {process_id}"))?;
        assert_eq!(there, 1, "process {process_id} is registered");
        self.execute(&format!(
            "UPDATE processes SET last_activity_monotonic_ms = last_activity_monotonic_ms - {}
             WHERE process_id = {process_id}",
            by_s * 1_000
        ))
    }

    pub fn state_of(&self, process_id: i64) -> TestResult<String> {
        let rows = self.rows(&format!("SELECT state FROM processes WHERE process_id = {process_id}"))?;
        let state = rows.first().and_then(|row| row.first()).and_then(Value::as_str);
        Ok(state.ok_or_else(|| format!("there is no process {process_id}"))?.to_owned())
    }

    /// What reapers did to one process, by the ledger: verdict, signals, outcome. Without what was put off.
    pub fn ledger_of(&self, process_id: i64) -> TestResult<Vec<(String, String, String)>> {
        let rows = self.rows(&format!(
            "SELECT verdict, signals, outcome FROM reap_events
             WHERE process_id = {process_id} AND outcome <> 'postponed' ORDER BY reap_event_id"
        ))?;
        let text = |cell: &Value| cell.as_str().unwrap_or_default().to_owned();
        Ok(rows.iter().map(|row| (text(&row[0]), text(&row[1]), text(&row[2]))).collect())
    }

    /// Lets other users of the machine write it too, once it is open.
    pub(crate) fn share_with_everybody(&self) -> io::Result<()> {
        fs::set_permissions(self.folder(), Permissions::from_mode(0o777))?;
        if self.is_on_a_server() {
            return Ok(());
        }
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
pub enum WriteLock {
    InAFile(Connection),
    /// Its end rolls back.
    OnAServer {
        _connected: Connected,
    },
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        if let Self::InAFile(holder) = self {
            holder.execute_batch("ROLLBACK").expect("it was in a transaction");
        }
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
