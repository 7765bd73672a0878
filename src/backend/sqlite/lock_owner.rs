//! Who holds SQLite's locks, by what the operating system says of the wal-index.
//!
//! The files are not opened: POSIX would drop this process's own locks on them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::os::{self, LockKind, System, with_suffix};

/// The byte of a wal-index (`-shm`) that a writer locks: `WAL_WRITE_LOCK`, the first of SQLite's eight lock
/// bytes, which begin at 120 (`UNIX_SHM_BASE`). Part of the file format: <https://sqlite.org/walformat.html>.
const WAL_WRITE_LOCK: RangeInclusive<u64> = 120..=120;
/// The bytes of which a reader locks one, for as long as its snapshot stands: `WAL_READ_LOCK(0)` to `(4)`.
const WAL_READ_LOCKS: RangeInclusive<u64> = 123..=127;

/// The wal-index of a database.
pub(super) fn wal_index(database: &Path) -> PathBuf {
    with_suffix(database, "-shm")
}

/// The PID of the process that holds the write lock of the database whose wal-index is `shm`, if somebody does
/// and if that can be known. The file is not opened: POSIX would drop this process's own locks on it.
pub(super) fn write_lock_owner(shm: &Path) -> Option<u32> {
    os::native().ok()?.lock_owners(shm, LockKind::Write, WAL_WRITE_LOCK).first().copied()
}

/// Other processes that read the database just now, with the names of their commands where those can be known:
/// what they see stays in the log.
pub(super) fn readers(database: &Path) -> Vec<(u32, Option<String>)> {
    let Ok(system) = os::native() else { return Vec::new() };
    let mut pids = system.lock_owners(&wal_index(database), LockKind::Read, WAL_READ_LOCKS);
    pids.retain(|pid| *pid != std::process::id());
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().map(|pid| (pid, system.command(pid))).collect()
}

/// PIDs of processes that have a file open which was the database once and is no longer: it was moved, deleted or
/// replaced under them. Other users' processes can't be looked at.
pub(super) fn displaced(database: &Path) -> Vec<u32> {
    let (Ok(system), Ok(database)) = (os::native(), database.canonicalize()) else { return Vec::new() };
    system.displaced(&database, &wal_index(&database))
}
