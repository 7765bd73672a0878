//! Putting a backup in a database's place.
//!
//! The backup is only read: a copy of it is made beside the database, checked and brought up to date. Then the
//! two change places, while this process has the old database to itself:
//!
//! - Whoever has it open holds a lock on it, registered or not, so the swap waits for the last one to leave, and
//!   gives up when they don't.
//! - Whoever opens it during the swap waits for our lock, with the old file in hand. Before that lock is given
//!   up, the old file is marked as replaced: they find the mark, and open the name again.
//!
//! So no process goes on with the old file, nor mixes its log with the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::backup::copy;
use super::partial::{self, Partial, beside};
use super::pause::Section;
use super::wait::Deadline;
use super::{Store, connection, immediate, migrate, settings};
use crate::crash_point;
use crate::error::{DatabaseError, Error, Result};
use crate::process::{self, Verdict};
use crate::timestamp::Timestamp;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The database, which is now what the backup was.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Where the database went that was there before; `None` if there was none.
    pub replaced: Option<PathBuf>,
}

/// Puts `backup` in the place of `database`, which is kept beside it under a dated name.
///
/// No process may have the database open. The backup itself stays as it is. One of an older schema is brought up
/// to date; the processes that were registered in it are forgotten, and their locks on agents released.
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
/// [`Error::SchemaTooNew`], [`Error::Corrupt`]. [`Error::ProcessesAlive`] with those that are registered in the
/// database and live; [`Error::InUse`] if somebody else has it open; [`Error::RestoreFailed`]. Nothing was changed
/// then. [`Error::RestoreUnfinished`] if the last step failed, with the backup in place.
pub fn restore(backup: impl AsRef<Path>, database: impl AsRef<Path>) -> Result<RestoreReport> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| failed(path, e));
    let (backup, database) = (absolute(backup.as_ref())?, absolute(database.as_ref())?);
    let wait = Deadline::within(settings::LOCK_TIMEOUT);
    let _section = Section::begin(); // stopped half way, it would leave everybody waiting
    let _polling = wait.enter(&process::wal_index(&database).into());

    let source = open_backup(&backup, &wait)?;
    if fs::canonicalize(&database).is_ok_and(|real| fs::canonicalize(&backup).ok() == Some(real)) {
        return Err(failed(&database, "the backup is the database itself"));
    }
    refuse_if_alive(&database)?;
    let partial = Partial::begin(&database).map_err(|e| failed(&database, e))?;
    copy(&source, &partial, &mut |_| ()).map_err(|fault| match fault.into_error(&backup, &database) {
        Error::NoRoomForBackup { path } => Error::DiskFull { path },
        Error::BackupFailed { path, source } => Error::RestoreFailed { path, source },
        other => other,
    })?;
    drop(source);
    prepare(partial.path(), &backup, &wait)?;
    let bytes = fs::metadata(partial.path()).map_err(|e| failed(&database, e))?.len();
    let replaced = swap(partial, &database, &wait)?;
    Ok(RestoreReport { path: database, bytes, replaced })
}

/// The backup, opened to be read, if it is one of ours.
fn open_backup(path: &Path, wait: &Deadline) -> Result<Connection> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(failed(path, "not a regular file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(failed(path, "there is no such file")),
        Err(e) => return Err(failed(path, e)),
        Ok(_) => {}
    }
    let conn = connection::open_to_look(path).map_err(|e| connection::explain(e, path, wait.waited()))?;
    match migrate::identify(&conn, path, wait) {
        Ok(0) => Err(Error::ForeignDatabase { path: path.to_owned(), application_id: 0 }), // it is empty
        Ok(_) | Err(Error::Replaced { .. }) => Ok(conn),
        Err(other) => Err(other),
    }
}

/// Refuses to replace a database in which processes are registered that live, or may.
fn refuse_if_alive(database: &Path) -> Result<()> {
    let judgements = match Store::options().create(false).open(database) {
        Ok(store) => store.reap_plan()?.judgements,
        // There is none, or its registry can't be read: whoever has it open is found by the lock that he holds.
        Err(
            Error::NoDatabase { .. }
            | Error::LogWithoutDatabase { .. }
            | Error::Corrupt { .. }
            | Error::Unreadable { .. }
            | Error::Replaced { .. }
            | Error::SchemaTooNew { .. },
        ) => return Ok(()),
        // It doesn't say of itself what it is, and not even a lock can be had.
        Err(Error::NotADatabase { .. }) if !beside(database, "-shm").exists() => return Ok(()),
        Err(Error::NotADatabase { .. }) => {
            let shm = beside(database, "-shm");
            let reason = format!(
                "it is no database any more, and {} says that a process may have it open; end that process, or \
                 remove that file if there is none",
                shm.display()
            );
            return Err(failed(database, reason));
        }
        Err(Error::LockTimeout { .. }) => return Err(Error::InUse { path: database.to_owned() }),
        Err(other) => return Err(other),
    };
    let living = judgements.into_iter().filter(|judgement| judgement.verdict != Verdict::Exited);
    let processes: Vec<_> = living.map(|judgement| judgement.process).collect();
    if processes.is_empty() {
        return Ok(());
    }
    Err(Error::ProcessesAlive { path: database.to_owned(), processes })
}

/// Checks the copy of a backup, brings it up to date, and has it forget processes of another time.
fn prepare(copy: &Path, backup: &Path, wait: &Deadline) -> Result<()> {
    let explain = |e| connection::explain(e, backup, wait.waited());
    let mut conn = connection::open_to_look(copy).map_err(explain)?;
    let finding: String =
        conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(explain)?;
    if finding != "ok" {
        let source = rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(finding),
        );
        return Err(Error::Corrupt { path: backup.to_owned(), source: DatabaseError(source) });
    }
    // As that of every database of ours. A log it has none, so SQLite's own settings will do.
    conn.pragma_update(None, "foreign_keys", true).map_err(explain)?;
    immediate(&mut conn, None, |tx| migrate::reinstate(tx))
        .map_err(|fault| migrate::unwrap(fault, backup, wait))?;
    migrate::migrate(&mut conn, backup, wait)?;
    immediate(&mut conn, None, |tx| {
        settings::read(tx)?;
        process::forget_all(tx)
    })
    .map_err(|fault| migrate::unwrap(fault, backup, wait))?;
    conn.close().map_err(|(_, e)| explain(e))
}

/// Gives the new file the name of the old one, which gets another.
fn swap(new: Partial, database: &Path, wait: &Deadline) -> Result<Option<PathBuf>> {
    let io_failed = |e| failed(database, e);
    let exists = fs::symlink_metadata(database).is_ok();
    let kept =
        beside(database, format!(".replaced-{}", Timestamp::now().to_utc().format("%Y%m%dT%H%M%S%.3fZ")));
    let mut old = if exists { have_to_oneself(database, wait)? } else { None };
    crash_point::reach("before a restore's swap");

    // What is left of the old log must not be taken for that of the new database.
    for suffix in ["-wal", "-journal"] {
        match partial::rename_to_free_name(&beside(database, suffix), &beside(&kept, suffix)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(io_failed)?,
        }
    }
    let _ = fs::remove_file(beside(database, "-shm")); // an index of the log; most often gone
    if exists {
        // A second name first, so that at no moment is there no database.
        match fs::hard_link(database, &kept) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => fs::rename(database, &kept),
            linked => linked,
        }
        .map_err(io_failed)?;
    }
    crash_point::reach("during a restore's swap");
    new.publish(database, true).map_err(io_failed)?;
    crash_point::reach("after a restore's swap");
    if let Some(old) = &mut old {
        immediate(old, None, |tx| migrate::mark_replaced(tx)).map_err(|fault| Error::RestoreUnfinished {
            path: database.to_owned(),
            replaced: kept.clone(),
            source: migrate::unwrap(fault, &kept, wait).into(),
        })?;
    }
    Ok(exists.then_some(kept))
}

/// The old database, which nobody else can read or write for as long as the connection is open: a single file,
/// with its log folded in. `None` if it is too damaged for that.
fn have_to_oneself(database: &Path, wait: &Deadline) -> Result<Option<Connection>> {
    loop {
        match exclusive(database) {
            Ok(conn) => return Ok(Some(conn)),
            Err(e) => match connection::explain(e, database, wait.waited()) {
                Error::LockTimeout { .. } if wait.nap() => {}
                Error::LockTimeout { .. } => return Err(Error::InUse { path: database.to_owned() }),
                Error::Corrupt { .. } | Error::NotADatabase { .. } => return Ok(None),
                other => return Err(other),
            },
        }
    }
}

fn exclusive(database: &Path) -> rusqlite::Result<Connection> {
    let conn = connection::open_to_look(database)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // Leaving WAL mode takes a lock that nobody else may share.
    conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    // From here on a journal lies in memory: one in a file would be taken for that of the new database.
    conn.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    // A write of what is there already: it takes the same lock where there was no WAL mode to leave.
    let version: i32 =
        conn.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?;
    conn.pragma_update(None, "user_version", version)?;
    // In exclusive mode SQLite keeps its journal's file, emptied. The lock says that nobody needs it.
    let _ = fs::remove_file(beside(database, "-journal"));
    Ok(conn)
}

fn failed(path: &Path, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::RestoreFailed { path: path.to_owned(), source: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    fn read(path: &Path) -> rusqlite::Result<i64> {
        let conn = Connection::open(path)?;
        conn.busy_timeout(std::time::Duration::ZERO)?;
        conn.query_row("SELECT count(*) FROM agents", [], |row| row.get(0))
    }

    #[test]
    fn during_a_swap_nobody_else_can_even_read() -> TestResult {
        let folder = tempfile::tempdir()?;
        for mode in ["WAL", "DELETE"] {
            let path = folder.path().join(mode);
            drop(Store::open(&path)?);
            Connection::open(&path)?.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))?;
            assert_eq!(read(&path)?, 0);
            let conn = exclusive(&path)?;
            assert!(read(&path).is_err_and(|e| e.to_string().contains("locked")), "{mode}");
            for suffix in partial::SIDE_FILES {
                assert!(!beside(&path, suffix).exists(), "{mode}: {suffix}");
            }
            drop(conn);
            assert_eq!(read(&path)?, 0);
        }
        Ok(())
    }

    /// Whoever opened the old file just before the swap, and gets its lock just after.
    #[test]
    fn who_waited_for_the_old_file_opens_the_new_one() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("governance.db");
        drop(Store::open(&path)?);
        let new = folder.path().join("new.db");
        let store = Store::open(&new)?;
        store.process_update("restored", &crate::Update::default())?;
        store.backup_to(folder.path().join("copy.db"))?;

        let old = exclusive(&path)?;
        let opener = std::thread::spawn({
            let path = path.clone();
            move || Store::open(path).and_then(|store| store.agent("restored"))
        });
        std::thread::sleep(std::time::Duration::from_millis(200)); // it has the old file open by now
        let partial = Partial::begin(&path)?;
        fs::copy(folder.path().join("copy.db"), partial.path())?;
        fs::rename(&path, folder.path().join("old.db"))?;
        partial.publish(&path, true)?;
        let mut old = old;
        immediate(&mut old, None, |tx| migrate::mark_replaced(tx)).map_err(|e| format!("{e:?}"))?;
        drop(old);
        assert_eq!(opener.join().map_err(|_| "a panic")??.total_updates, 1);
        assert!(matches!(Store::open(folder.path().join("old.db")), Err(Error::Replaced { .. })));
        Ok(())
    }
}
