//! Who uses a database: every process that has it open, registered or not, as the operating system shows it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::holder::wal_index;
use super::record;
use super::system::System;
use crate::file_id::{FileId, file_ids};
use crate::store::beside;

/// A process that has a database open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DatabaseUser {
    /// Its PID.
    pub pid: u32,
    /// The name of its command; `None` where it can't be seen.
    pub command: Option<String>,
}

/// Who it is, for a sentence: `PID 4711 (sqlite3)`.
impl fmt::Display for DatabaseUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == std::process::id() {
            return write!(f, "this process itself (PID {})", self.pid);
        }
        write!(f, "PID {}", self.pid)?;
        self.command.as_ref().map_or(Ok(()), |command| write!(f, " ({command})"))
    }
}

/// The other processes that have the database open, or its `-wal` or `-shm` file. Only those that can be looked at:
/// those of another user can't, unless this one is root's.
pub(crate) fn users(database: &Path) -> Vec<DatabaseUser> {
    let Ok(system) = record::native() else { return Vec::new() };
    let pids = system.users_of(&files_of(database)).into_iter().filter(|pid| *pid != system.here().pid);
    pids.map(|pid| DatabaseUser { pid, command: system.command(pid) }).collect()
}

/// This process, if it has the database open itself.
pub(crate) fn this_user(database: &Path) -> Option<DatabaseUser> {
    let system = record::native().ok()?;
    let pid = system.here().pid;
    let has_open = system.has_open(pid, &files_of(database)) == Some(true);
    has_open.then(|| DatabaseUser { pid, command: system.command(pid) })
}

/// A database and what lies beside it, as far as it is there.
fn files_of(database: &Path) -> Vec<FileId> {
    file_ids(&[database.to_owned(), beside(database, "-wal"), wal_index(database)])
}
