//! Whether anything was written, by whatever process.

use rusqlite::Connection;

use super::database::Database;
use crate::backend::deadline::Deadline;
use crate::error::Result;

/// A connection that is asked again and again whether others have committed something. SQLite counts that for each
/// connection by itself, so it is one of its own and none of the pool's.
pub(crate) struct Changes {
    conn: Connection,
    version: i64,
}

impl Changes {
    /// Looks from now on.
    pub fn begin(database: &Database, wait: &Deadline) -> Result<Self> {
        let conn = database.open_aside(wait)?;
        let version = version(database, &conn, wait)?;
        Ok(Self { conn, version })
    }

    /// Whether something was committed since the last look.
    pub fn look(&mut self, database: &Database, wait: &Deadline) -> Result<bool> {
        database.refuse_after_fork()?;
        database.files().check()?;
        let version = version(database, &self.conn, wait)?;
        Ok(std::mem::replace(&mut self.version, version) != version)
    }
}

fn version(database: &Database, conn: &Connection, wait: &Deadline) -> Result<i64> {
    let _polling = database.poll_by(wait);
    let found = conn
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)));
    found.map_err(|error| database.explain(error.into(), conn, wait))
}
