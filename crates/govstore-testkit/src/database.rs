//! A database for one test, with what only a test does to it.

use std::error::Error;
use std::path::{Path, PathBuf};

use govstore::{Durability, Outcome, ReapReport, Store};
use rusqlite::Connection;

use crate::TestResult;
use crate::wait::PATIENCE;

/// A database of its own for one test.
pub struct Database {
    folder: tempfile::TempDir,
}

impl Database {
    /// A new one, with these settings. Unless they say otherwise, an interval is short, so that a second look comes soon;
    /// what is stale, and what is unused, stays at 300 s.
    pub fn new(settings: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let database = Self { folder: tempfile::tempdir()? };
        let store = database.store()?;
        store.set_setting("heartbeat_interval_s", "0.2")?;
        for (key, value) in settings {
            store.set_setting(key, value)?;
        }
        Ok(database)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("governance.db")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database as a process that is not registered has it open.
    pub fn store(&self) -> govstore::Result<Store> {
        Store::options().durability(Durability::Normal).open(self.path())
    }

    /// The database as the `sqlite3` shell has it open.
    pub fn sql(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(self.path())?;
        conn.busy_timeout(PATIENCE)?;
        Ok(conn)
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

    pub fn state_of(&self, process_id: i64) -> rusqlite::Result<String> {
        let sql = "SELECT state FROM processes WHERE process_id = ?1";
        self.sql()?.query_row(sql, [process_id], |row| row.get(0))
    }

    /// What reapers did to one process, by the ledger: verdict, signals, outcome. Without what was put off.
    pub fn ledger_of(&self, process_id: i64) -> rusqlite::Result<Vec<(String, String, String)>> {
        self.sql()?
            .prepare(
                "SELECT verdict, signals, outcome FROM reap_events WHERE process_id = ?1 AND outcome <> 'postponed'
                 ORDER BY reap_event_id",
            )?
            .query_map([process_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }

    pub fn count(&self, sql: &str) -> rusqlite::Result<i64> {
        self.sql()?.query_row(sql, [], |row| row.get(0))
    }
}

/// Reaps, and again until nothing is put off any more. What was put off is not among the events.
pub fn reap(store: &Store) -> govstore::Result<ReapReport> {
    let mut report = store.reap_with_second_look(|_, _| ())?;
    report.events.retain(|event| event.outcome != Outcome::Postponed);
    Ok(report)
}
