//! Whether anything was written, by whatever process.

use super::database::Database;
use super::value::{Columns, statement};
use crate::backend::deadline::Deadline;
use crate::error::Result;

/// What is asked again and again whether others have committed something.
pub(crate) struct Changes {
    /// Where the numbers of transactions have got to. It moves when one ends that has written, in any database of the
    /// server: so it may say that there is something when there isn't, and never the other way.
    newest: i64,
}

impl Changes {
    /// Looks from now on.
    pub fn begin(database: &Database, wait: &Deadline) -> Result<Self> {
        Ok(Self { newest: newest(database, wait)? })
    }

    /// Whether something was committed since the last look.
    pub fn look(&mut self, database: &Database, wait: &Deadline) -> Result<bool> {
        let newest = newest(database, wait)?;
        Ok(std::mem::replace(&mut self.newest, newest) != newest)
    }
}

fn newest(database: &Database, wait: &Deadline) -> Result<i64> {
    database.look(wait, |session| {
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        session.one_row(statement!(sql))?.take(0)
    })
}
