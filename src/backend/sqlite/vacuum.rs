//! Giving room back to the file system.

use std::time::Duration;

use super::connection;
use super::database::Database;
use crate::backend::deadline::Deadline;
use crate::backend::pause::Section;
use crate::error::Result;

/// Rewrites the file without the room that removed rows have left. Writers wait meanwhile.
pub(crate) fn vacuum(database: &Database, limit: Duration) -> Result<()> {
    let wait = Deadline::within(limit);
    let _polling = database.poll_by(&wait);
    let _turn = database.enter_queue(&wait)?;
    let _section = Section::begin();
    let explain = |e| connection::explain(e, database.path(), wait.waited());
    // Not one of the pool's: those keep temporary tables in memory, and here that is the whole database.
    let conn = database.open_aside(&wait)?;
    // Should it fail at its commit, nobody can tell whether the file is the shorter one; what is in it is the same.
    conn.execute_batch("VACUUM").map_err(explain)?;
    // Until it is folded in, the new file is in the log. Where a reader is in the way, writers do it later.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(explain)
}
