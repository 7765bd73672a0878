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
        let _polling = wait.enter(&self.shared.shm);
        let Some(_turn) = self.shared.queue.enter(&wait)? else { return Err(self.queued_too_long(&wait)) };
        self.refuse_after_doubt()?;
        let _section = Section::begin();
        let explain = |e| connection::explain(e, self.path(), wait.waited());
        // Not one of the pool's: those keep temporary tables in memory, and here that is the whole database.
        let opened = connection::open_to_look(self.path());
        self.shared.place.check_all()?; // else it would be another file
        let conn = opened.map_err(explain)?;
        // Should it fail at its commit, nobody can tell whether the file is the shorter one; what is in it is the same.
        conn.execute_batch("VACUUM").map_err(explain)?;
        // Until it is folded in, the new file is in the log. Where a reader is in the way, writers do it later.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(explain)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::error::Error;

    /// A thread that has its turn in the queue and not yet SQLite's lock, which would stop a VACUUM by itself.
    #[test]
    fn a_vacuum_that_queued_too_long_does_not_go_on() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        thread::scope(|scope| {
            let (entered, has_entered) = mpsc::channel();
            let (leave, may_leave) = mpsc::channel::<()>();
            let store = &store;
            scope.spawn(move || {
                let turn = store.shared.queue.enter(&store.patience());
                let _ = entered.send(matches!(turn, Ok(Some(_))));
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
