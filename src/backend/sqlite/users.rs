//! Who uses a database: every process that has it open, registered or not, as the operating system shows it.

use std::path::Path;

use super::lock_owner::wal_index;
use crate::model::DatabaseUser;
use crate::os::{self, FileId, System, file_ids, with_suffix};

/// The other processes that have the database open, or its `-wal` or `-shm` file. Only those that can be looked at:
/// those of another user can't, unless this one is root's.
pub(crate) fn users(database: &Path) -> Vec<DatabaseUser> {
    let Ok(system) = os::native() else { return Vec::new() };
    let pids = system.users_of(&files_of(database)).into_iter().filter(|pid| *pid != system.here().pid);
    pids.map(|pid| DatabaseUser { pid, command: system.command(pid) }).collect()
}

/// This process, if it has the database open itself.
pub(super) fn this_user(database: &Path) -> Option<DatabaseUser> {
    let system = os::native().ok()?;
    let pid = system.here().pid;
    let has_open = system.has_open(pid, &files_of(database)) == Some(true);
    has_open.then(|| DatabaseUser { pid, command: system.command(pid) })
}

/// A database and what lies beside it, as far as it is there.
fn files_of(database: &Path) -> Vec<FileId> {
    file_ids(&[database.to_owned(), with_suffix(database, "-wal"), wal_index(database)])
}
