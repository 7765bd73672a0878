//! Giving room back to the file system.

use super::pause::Section;
use super::{Store, connection, wait};
use crate::error::Result;

impl Store {
    /// Rewrites the file without the room that removed rows have left. Writers wait meanwhile, and it needs as
    /// much room on the disk as the database itself, for a moment twice that.
    pub fn vacuum(&self) -> Result<()> {
        let wait = wait::Deadline::within(self.lock_timeout());
        self.refuse_after_fork()?;
        let _turn = self.shared.queue.enter(&wait)?;
        let _polling = wait.enter(&self.shared.shm);
        let _section = Section::begin();
        let explain = |e| connection::explain(e, self.path(), wait.waited());
        // Not one of the pool's: those keep temporary tables in memory, and here that is the whole database.
        let opened = connection::open_to_look(self.path());
        self.shared.place.check_all()?; // else it would be another file
        let conn = opened.map_err(explain)?;
        conn.execute_batch("VACUUM").map_err(explain)?;
        // Until it is folded in, the new file is in the log. Where a reader is in the way, writers do it later.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(explain)
    }
}
