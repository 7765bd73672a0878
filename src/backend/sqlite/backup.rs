//! Backups: a consistent single file, made while others write.
//!
//! The copy is made from one snapshot: a read transaction that stays open from the first page to the last. So
//! writers go on beside it in the write-ahead log, and SQLite's backup, which would start over whenever another
//! process has written, never does. The copy is checked before it gets its name: a damaged database never takes
//! the place of a good backup, nor makes old ones go.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::copy::{copy, failed, io_failed};
use super::database::Database;
use super::keep;
use super::staging_file::{self, SIDE_FILES, StagingFile, folder_of};
use crate::backend::deadline::Deadline;
use crate::error::{Error, Result};
use crate::model::{BackupProgress, BackupReport, Timestamp};
use crate::os::with_suffix;

/// How a backup is made. Made by [`Store::backup`](crate::Store::backup).
#[must_use]
pub struct Backup<'s> {
    /// The file; an error where there is none.
    database: Result<&'s Database>,
    /// How long it waits for a lock.
    limit: Duration,
    overwrite: bool,
    progress: Box<dyn FnMut(BackupProgress) + 's>,
}

impl<'s> Backup<'s> {
    pub(crate) fn of(database: Result<&'s Database>, limit: Duration) -> Self {
        Self { database, limit, overwrite: false, progress: Box::new(|_| ()) }
    }

    fn file(&self) -> Result<&'s Database> {
        self.database.as_ref().copied().map_err(Error::for_another)
    }

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
        let file = target_file(self.file()?, &path, self.overwrite)?;
        let staging = StagingFile::begin(&file).map_err(|e| io_failed(&path, e))?;
        self.copy_to(&staging, &path)?;
        let bytes = fs::metadata(staging.path()).map_err(|e| io_failed(&path, e))?.len();
        staging.publish(&file, self.overwrite).map_err(|e| io_failed(&path, e))?;
        staging_file::sync_folder(folder_of(&file))
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
        let names = keep::Names::of(self.file()?.path());
        // Looked for before the new one is made: so neither that one nor what another run makes meanwhile is among
        // them, and two runs at once can't remove the backups of each other.
        let surplus = keep::surplus(self.file()?, &Deadline::within(self.limit), &folder, &names, keep)?;
        let made = self.to(folder.join(names.at(Timestamp::now())))?;
        keep::remove(surplus, made)
    }

    fn copy_to(&mut self, staging: &StagingFile, target: &Path) -> Result<()> {
        let wait = Deadline::within(self.limit);
        let database = self.file()?;
        let _polling = database.poll_by(&wait);
        let from = database.open_aside(&wait)?; // not one of the pool's: a map is for this alone
        let copied = copy(&from, staging, &mut self.progress);
        copied.map_err(|fault| fault.into_error(database.path(), target))
    }
}

impl fmt::Debug for Backup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").field("overwrite", &self.overwrite).finish_non_exhaustive()
    }
}

/// The file that the backup is to become. Refuses a name that somebody needs, before anything is copied.
fn target_file(database: &Database, target: &Path, overwrite: bool) -> Result<PathBuf> {
    if fs::symlink_metadata(target).is_ok() && !overwrite {
        return Err(Error::BackupExists { path: target.to_owned() });
    }
    let file = staging_file::replaceable(target).map_err(|e| io_failed(target, e))?;
    if !folder_of(&file).is_dir() {
        return Err(failed(target, "there is no such folder"));
    }
    let mut real = fs::canonicalize(folder_of(&file)).map_err(|e| io_failed(target, e))?;
    real.extend(file.file_name());
    let database = fs::canonicalize(database.path()).unwrap_or_else(|_| database.path().to_owned());
    if real == database || SIDE_FILES.iter().any(|suffix| real == with_suffix(&database, suffix)) {
        return Err(failed(target, "that is the database itself"));
    }
    // SQLite would take an old log for that of the new file.
    if let Some(suffix) = SIDE_FILES.iter().find(|suffix| with_suffix(&file, suffix).exists()) {
        let reason = format!("{} is there, so it is a database in use", with_suffix(&file, suffix).display());
        return Err(failed(target, reason));
    }
    Ok(file)
}
