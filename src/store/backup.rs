//! Backups: a consistent single file, made while others write.
//!
//! The copy is made from one snapshot: a read transaction that stays open from the first page to the last. So
//! writers go on beside it in the write-ahead log, and SQLite's backup, which would start over whenever another
//! process has written, never does. The copy is checked before it gets its name: a damaged database never takes
//! the place of a good backup, nor makes old ones go.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup as Copy, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use serde::Serialize;

use super::Store;
use super::keep;
use super::partial::{self, Partial, SIDE_FILES, beside, folder_of};
use crate::crash_point;
use crate::error::{DatabaseError, Error, Result};
use crate::timestamp::Timestamp;

/// Pages copied between two reports of progress, 16 MiB.
const PAGES_A_STEP: i32 = 4096;

/// How much of a file may be mapped into memory while it is read; the rest is read by the page.
const MAP_BYTES: i64 = 1 << 40;

/// How long to wait between two rounds of bringing the copy to the disk.
const SYNC_EVERY: Duration = Duration::from_millis(20);

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes copied so far.
    pub copied_bytes: u64,
    /// Bytes to copy altogether.
    pub total_bytes: u64,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Older backups that were removed.
    pub removed: Vec<PathBuf>,
}

/// How a backup is made. Made by [`Store::backup`].
#[must_use]
pub struct Backup<'s> {
    store: &'s Store,
    overwrite: bool,
    progress: Box<dyn FnMut(BackupProgress) + 's>,
}

impl Store {
    /// Copies the database as it is now to a file of its own, while others write. The file must not exist yet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// # let copy = dir.path().join("copy.db");
    /// store.backup_to(&copy)?;
    /// assert!(store.backup_to(&copy).is_err(), "there is one already");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Backup::to`].
    pub fn backup_to(&self, path: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup().to(path)
    }

    /// A backup with a say in how it is made.
    pub fn backup(&self) -> Backup<'_> {
        Backup { store: self, overwrite: false, progress: Box::new(|_| ()) }
    }
}

impl<'s> Backup<'s> {
    /// Whether a file that has the name already is replaced; false unless given. Of a symbolic link, the file that
    /// it points to is.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Tells `progress` how far it is, every few megabytes.
    pub fn on_progress(mut self, progress: impl FnMut(BackupProgress) + 's) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Makes the backup at `path`: copied under another name in its folder, checked, brought to the disk, and
    /// then named. It holds every update that was committed before the call, and needs no other file.
    ///
    /// # Errors
    ///
    /// [`Error::BackupExists`], [`Error::NoRoomForBackup`], [`Error::BackupFailed`]; [`Error::Corrupt`] if the
    /// database is damaged. Nothing under the name has changed then, nor has the database. [`Error::NotOnDisk`] if
    /// only the last step failed, with the backup in place.
    pub fn to(mut self, path: impl AsRef<Path>) -> Result<BackupReport> {
        let given = path.as_ref();
        let path = std::path::absolute(given).map_err(|e| failed(given, e))?;
        let file = target_file(self.store, &path, self.overwrite)?;
        let partial = Partial::begin(&file).map_err(|e| io_failed(&path, e))?;
        self.copy_to(&partial, &path)?;
        let bytes = fs::metadata(partial.path()).map_err(|e| io_failed(&path, e))?.len();
        partial.publish(&file, self.overwrite).map_err(|e| io_failed(&path, e))?;
        partial::sync_folder(folder_of(&file))
            .map_err(|source| Error::NotOnDisk { path: path.clone(), source })?;
        Ok(BackupReport { path, bytes, removed: Vec::new() })
    }

    /// Makes a backup in `folder` under the database's name and the time, then removes the oldest such backups
    /// there until `keep` are left. Which are the oldest is said by how far the database had come in them, and by
    /// their names only where that is equal: a clock may have been wrong.
    ///
    /// Nothing else in the folder is touched: no folder or link with such a name, nothing that can't be read as a
    /// backup, and no backup of another database.
    ///
    /// # Errors
    ///
    /// As [`Backup::to`], and no old backup is removed then. [`Error::OldBackupsLeft`] if the new one is there and
    /// an old one could not be removed.
    pub fn into_folder(self, folder: impl AsRef<Path>, keep: usize) -> Result<BackupReport> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(failed(folder, "there is no such folder; make it, or mount what it is on"));
        }
        let folder = std::path::absolute(folder).map_err(|e| failed(folder, e))?;
        let names = keep::Names::of(self.store.path());
        // Looked for before the new one is made: so neither that one nor what another run makes meanwhile is among
        // them, and two runs at once can't remove the backups of each other.
        let surplus = keep::surplus(self.store, &folder, &names, keep)?;
        let made = self.to(folder.join(names.at(Timestamp::now())))?;
        keep::remove(surplus, made)
    }

    fn copy_to(&mut self, partial: &Partial, target: &Path) -> Result<()> {
        let wait = super::wait::Deadline::within(self.store.lock_timeout());
        self.store.refuse_after_fork()?;
        let _polling = wait.enter(&self.store.shared.shm);
        // Not one of the pool's: a map is for this alone.
        let opened = super::connection::open_to_look(self.store.path());
        self.store.shared.place.check_all()?; // else it would be a backup of another file
        let from = opened.map_err(|e| super::connection::explain(e, self.store.path(), wait.waited()))?;
        let copied = copy(&from, partial, &mut self.progress);
        copied.map_err(|fault| fault.into_error(self.store.path(), target))
    }
}

impl fmt::Debug for Backup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").field("overwrite", &self.overwrite).finish_non_exhaustive()
    }
}

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
        let damaged = |error| Error::Corrupt { path: source.to_owned(), source: DatabaseError(error) };
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
    partial: &Partial,
    progress: &mut dyn FnMut(BackupProgress),
) -> std::result::Result<(), CopyFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(partial.path(), flags)?;
    // Nobody else knows the file. If something goes wrong it is thrown away, and it is synced by other means.
    to.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    to.pragma_update(None, "journal_mode", "OFF")?;
    to.pragma_update(None, "synchronous", "OFF")?;
    // Each page is read once and written once: a cache would only cost time, and a map saves half of it.
    to.pragma_update(None, "cache_size", 50)?;
    from.pragma_update(None, "mmap_size", MAP_BYTES)?;

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let syncing = scope.spawn(|| sync_until(&over, partial));
        let copied = copy_pages(from, &mut to, progress).and_then(|()| check_copy(to));
        over.store(true, Ordering::Release);
        let synced =
            syncing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")));
        copied.and(synced.map_err(CopyFault::Io))
    })
}

/// Brings what was written so far to the disk, again and again: one `fsync` of a gigabyte at the end would take
/// longer, and hold up those of the writers.
fn sync_until(over: &AtomicBool, partial: &Partial) -> io::Result<()> {
    while !over.load(Ordering::Acquire) {
        partial.sync()?;
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
        let steps = Copy::new(&snapshot, to)?;
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

/// The file that the backup is to become. Refuses a name that somebody needs, before anything is copied.
fn target_file(store: &Store, target: &Path, overwrite: bool) -> Result<PathBuf> {
    if fs::symlink_metadata(target).is_ok() && !overwrite {
        return Err(Error::BackupExists { path: target.to_owned() });
    }
    let file = partial::replaceable(target).map_err(|e| io_failed(target, e))?;
    if !folder_of(&file).is_dir() {
        return Err(failed(target, "there is no such folder"));
    }
    let mut real = fs::canonicalize(folder_of(&file)).map_err(|e| io_failed(target, e))?;
    real.extend(file.file_name());
    let database = fs::canonicalize(store.path()).unwrap_or_else(|_| store.path().to_owned());
    if real == database || SIDE_FILES.iter().any(|suffix| real == beside(&database, suffix)) {
        return Err(failed(target, "that is the database itself"));
    }
    // SQLite would take an old log for that of the new file.
    if let Some(suffix) = SIDE_FILES.iter().find(|suffix| beside(&file, suffix).exists()) {
        let reason = format!("{} is there, so it is a database in use", beside(&file, suffix).display());
        return Err(failed(target, reason));
    }
    Ok(file)
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
