//! What only a database file has: backups, restoring one, checks, and giving room back.

use std::path::Path;

use super::handle::Store;
use super::options::StoreOptions;
use crate::backend::sqlite::{self, Backup};
use crate::error::{Error, Result};
use crate::model::{BackupReport, Check, RestoreReport};
use crate::os::with_suffix;
use crate::registry;

const BACK_UP_THERE: &str = "backups of it are made there: use pg_dump";
const VACUUM_THERE: &str = "it gives room back by itself (autovacuum); VACUUM FULL does it at once";

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
        Backup::of(self.backend().file(BACK_UP_THERE), self.lock_timeout())
    }

    /// Rewrites the file without the room that removed rows have left. Writers wait meanwhile, and it needs as
    /// much room on the disk as the database itself, for a moment twice that.
    pub fn vacuum(&self) -> Result<()> {
        sqlite::vacuum(self.backend().file(VACUUM_THERE)?, self.lock_timeout())
    }

    /// Checks everything that can be checked of an open database. Takes a while if it is large, and holds up
    /// nobody.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// for check in store.check() {
    ///     println!("{} {}: {}", check.status, check.name, check.detail);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn check(&self) -> Vec<Check> {
        self.backend().check(self.lock_timeout())
    }
}

/// Puts `backup` in the place of `database`, which is kept beside it under a dated name.
///
/// No process may have the database open. The backup itself stays as it is. One of an older schema is brought up
/// to date; the processes that were registered in it are forgotten, and their locks on agents released. Where
/// `database` is a symbolic link, the file that it points to is replaced, and kept beside itself.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (path, copy) = (dir.path().join("governance.db"), dir.path().join("copy.db"));
/// use govstore::{Store, Update};
///
/// let store = Store::open(&path)?;
/// store.process_update("writer", &Update::default())?;
/// store.backup_to(&copy)?;
/// store.process_update("writer", &Update::default())?;
/// drop(store);
///
/// govstore::restore(&copy, &path)?;
/// assert_eq!(Store::open(&path)?.agent("writer")?.total_updates, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// What is wrong with the backup: [`Error::NoDatabase`], [`Error::NotADatabase`], [`Error::ForeignDatabase`],
/// [`Error::SchemaTooNew`], [`Error::ForeignSchema`], [`Error::Corrupt`]. [`Error::ProcessesAlive`] with those that are
/// registered in the database and live; [`Error::InUse`] with those that have it open otherwise;
/// [`Error::RestoreFailed`]. Nothing was changed then. [`Error::RestoreBrokenOff`] if what had been moved could not be
/// put back. With the backup in place, [`Error::RestoreUnfinished`] if the old database could not be marked, and
/// [`Error::NotOnDisk`].
pub fn restore(backup: impl AsRef<Path>, database: impl AsRef<Path>) -> Result<RestoreReport> {
    if StoreOptions::is_address(database.as_ref()) {
        let path = "the database".into();
        return Err(Error::NotAFile { path, what: "backups of it are restored there: use pg_restore" });
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| sqlite::restore_failed(path, e));
    let (backup, path) = (absolute(backup.as_ref())?, absolute(database.as_ref())?);
    sqlite::restore(&backup, &path, refuse_if_alive, |tx| {
        tx.settings()?;
        registry::forget_all(tx)
    })
}

/// Refuses to replace a database in which processes are registered that live, or may.
fn refuse_if_alive(database: &Path) -> Result<()> {
    let processes = match Store::options()
        .create(false)
        .force_hard_link(true)
        .force_file_system(true)
        .open(database)
    {
        Ok(store) => store.living_processes()?,
        // There is none, or its registry can't be read: a process that has it open is found by its lock.
        Err(
            Error::NoDatabase { .. }
            | Error::LogWithoutDatabase { .. }
            | Error::Corrupt { .. }
            | Error::Unreadable { .. }
            | Error::Replaced { .. }
            | Error::ForeignSchema { .. }
            | Error::SchemaTooNew { .. },
        ) => return Ok(()),
        // It doesn't say of itself what it is, and not even a lock can be had.
        Err(Error::NotADatabase { .. }) if !with_suffix(database, "-shm").exists() => return Ok(()),
        Err(Error::NotADatabase { .. }) if !sqlite::users(database).is_empty() => {
            return Err(sqlite::in_use(database));
        }
        Err(Error::NotADatabase { .. }) => {
            let shm = with_suffix(database, "-shm");
            let reason = format!(
                "it is no database any more, and {} says that a process may have it open; end that process, or \
                 remove that file if there is none",
                shm.display()
            );
            return Err(sqlite::restore_failed(database, reason));
        }
        Err(Error::LockTimeout { .. }) => return Err(sqlite::in_use(database)),
        Err(other) => return Err(other),
    };
    if processes.is_empty() {
        return Ok(());
    }
    Err(Error::ProcessesAlive { path: database.to_owned(), processes })
}
