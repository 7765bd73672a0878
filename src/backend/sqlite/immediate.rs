//! `BEGIN IMMEDIATE` and how its COMMIT may fail.

use rusqlite::{Connection, ErrorCode};

/// One open `BEGIN IMMEDIATE`, rolled back when it drops without a commit.
///
/// rusqlite's own transaction parses `BEGIN` and `COMMIT` anew each time, 4 % of an update's instructions.
pub(super) struct Immediate<'c>(pub &'c Connection);

/// How a COMMIT failed.
pub(super) enum CommitFault {
    /// Nothing of it was kept.
    Certain(rusqlite::Error),
    /// The transaction may be in the log already.
    InDoubt(rusqlite::Error),
}

impl From<rusqlite::Error> for CommitFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Certain(error)
    }
}

impl<'c> Immediate<'c> {
    /// The connection is lent for good, so that nothing else begins a transaction on it meanwhile.
    pub fn begin(conn: &'c mut Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(conn))
    }

    pub fn commit(self) -> Result<(), CommitFault> {
        let committed = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        committed.map(drop).map_err(|error| {
            let was_begun = self.0.is_autocommit(); // else SQLite leaves the transaction open
            if was_begun && may_be_in_the_log(&error) {
                CommitFault::InDoubt(error)
            } else {
                CommitFault::Certain(error)
            }
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

/// Whether a COMMIT that failed so may be found in the log: `doubt` has the table. SQLite has rolled the transaction
/// back: otherwise it was still open, and nothing of the COMMIT was done.
fn may_be_in_the_log(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() != Some(ErrorCode::DiskFull)
}
