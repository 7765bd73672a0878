//! Copying a database to a single file, checked and brought to the disk.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::staging_file::StagingFile;
use crate::crash_point;
use crate::error::{DatabaseError, Error};
use crate::model::BackupProgress;

/// Pages copied between two reports of progress, 16 MiB.
const PAGES_A_STEP: i32 = 4096;

/// How much of a file may be mapped into memory while it is read; the rest is read by the page.
const MAP_BYTES: i64 = 1 << 40;

/// How long to wait between two rounds of bringing the copy to the disk.
const SYNC_EVERY: Duration = Duration::from_millis(20);

/// Why a copy was not made.
pub(super) enum CopyFault {
    Sqlite(rusqlite::Error),
    Io(io::Error),
    /// What the check of the copy found.
    Damaged(String),
}

impl From<rusqlite::Error> for CopyFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for CopyFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl CopyFault {
    /// What it means to somebody who wanted a copy of `source` at `target`.
    pub fn into_error(self, source: &Path, target: &Path) -> Error {
        let damaged = |error| Error::Corrupt { path: source.to_owned(), source: DatabaseError::new(error) };
        match self {
            Self::Io(e) => io_failed(target, e),
            Self::Damaged(finding) => damaged(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some(finding),
            )),
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Error::NoRoomForBackup { path: target.to_owned() },
                Some(ErrorCode::DatabaseCorrupt) => damaged(error),
                _ => failed(target, error),
            },
        }
    }
}

/// Copies what `from` sees now, checks the copy, and leaves a single file that needs no other.
pub(super) fn copy(
    from: &Connection,
    staging: &StagingFile,
    progress: &mut dyn FnMut(BackupProgress),
) -> std::result::Result<(), CopyFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(staging.path(), flags)?;
    // Nobody else knows the file. If something goes wrong it is thrown away, and it is synced by other means.
    to.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    to.pragma_update(None, "journal_mode", "OFF")?;
    to.pragma_update(None, "synchronous", "OFF")?;
    // Each page is read once and written once: a cache would only cost time, and a map saves half of it.
    to.pragma_update(None, "cache_size", 50)?;
    from.pragma_update(None, "mmap_size", MAP_BYTES)?;

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let syncing = scope.spawn(|| sync_until(&over, staging));
        let copied = copy_pages(from, &mut to, progress).and_then(|()| check_copy(to));
        over.store(true, Ordering::Release);
        let synced =
            syncing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")));
        copied.and(synced.map_err(CopyFault::Io))
    })
}

/// Brings what was written so far to the disk, again and again: one `fsync` of a gigabyte at the end would take
/// longer, and hold up those of the writers.
fn sync_until(over: &AtomicBool, staging: &StagingFile) -> io::Result<()> {
    while !over.load(Ordering::Acquire) {
        staging.sync()?;
        thread::sleep(SYNC_EVERY);
    }
    Ok(())
}

fn copy_pages(
    from: &Connection,
    to: &mut Connection,
    progress: &mut dyn FnMut(BackupProgress),
) -> std::result::Result<(), CopyFault> {
    // Reads alone, and is no second write door: the snapshot has to outlive a statement.
    let snapshot = rusqlite::Transaction::new_unchecked(from, TransactionBehavior::Deferred)?;
    let page_bytes: u64 =
        snapshot.query_row("SELECT page_size FROM pragma_page_size", [], |row| row.get(0))?;
    snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?; // from here on it stands
    {
        let steps = Backup::new(&snapshot, to)?;
        loop {
            let step = steps.step(PAGES_A_STEP)?;
            crash_point::reach("during a backup");
            let pages = steps.progress();
            let bytes = |pages: i32| u64::from(pages.unsigned_abs()) * page_bytes;
            progress(BackupProgress {
                copied_bytes: bytes(pages.pagecount - pages.remaining),
                total_bytes: bytes(pages.pagecount),
            });
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(io::Error::from(io::ErrorKind::ResourceBusy).into()), // nobody knows the file
            }
        }
    }
    Ok(snapshot.finish()?)
}

/// Makes a single file of the copy, and checks its structure: every page, the order of rows, their form.
///
/// Not `integrity_check`, which also looks up every row in every index, and takes far longer than the copy; and
/// without `CHECK` constraints, which no copying breaks. `govstore check` looks at both.
fn check_copy(copy: Connection) -> std::result::Result<(), CopyFault> {
    // The pages say "WAL", as those of the database do. In a single file there is none.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    copy.pragma_update(None, "ignore_check_constraints", true)?;
    copy.pragma_update(None, "mmap_size", MAP_BYTES)?;
    copy.pragma_update(None, "cache_size", -4096)?;
    let finding: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    copy.close().map_err(|(_, error)| error)?;
    if finding == "ok" { Ok(()) } else { Err(CopyFault::Damaged(finding)) }
}

pub(super) fn failed(path: &Path, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::BackupFailed { path: path.to_owned(), source: reason.into() }
}

pub(super) fn io_failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::NoRoomForBackup { path: path.to_owned() }
        }
        io::ErrorKind::AlreadyExists => Error::BackupExists { path: path.to_owned() },
        _ => failed(path, error),
    }
}
