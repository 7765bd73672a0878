//! Putting a backup in a database's place.
//!
//! The backup is only read: a copy of it is made beside the database, checked and brought up to date. Then the
//! two change places, while this process has the old database to itself:
//!
//! - A process that has it open holds a lock on it, registered or not, so the swap waits for the last one to leave, and
//!   gives up when they don't.
//! - A process that opens it during the swap waits for our lock, with the old file in hand. Before that lock is given
//!   up, the old file is marked as replaced: they find the mark, and open the name again.
//!
//! So no process goes on with the old file, nor mixes its log with the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, named_params};

use super::copy::copy;
use super::lock_owner::wal_index;
use super::staging_file::{self, StagingFile};
use super::transaction::{OnConnection, immediate};
use super::users::{this_user, users};
use super::{busy, connection, keep, location, migrate};
use crate::backend::deadline::Deadline;
use crate::backend::pause::Section;
use crate::backend::statements::{Transaction, TxResult};
use crate::crash_point;
use crate::error::{DatabaseError, Error, Result};
use crate::model::{LOCK_TIMEOUT, RestoreReport, Timestamp};
use crate::os::with_suffix;

/// Puts `backup` in the place of the database at `path`, an absolute one, which is kept beside it under a dated name.
///
/// Before anything is written, `refuse_if_used` is asked about the database. `forget` takes out of the copy what is of
/// another time.
pub(crate) fn restore(
    backup: &Path,
    path: &Path,
    refuse_if_used: impl FnOnce(&Path) -> Result<()>,
    forget: impl Fn(&dyn Transaction) -> TxResult<()>,
) -> Result<RestoreReport> {
    let database = staging_file::replaceable(path).map_err(|e| failed(path, e))?;
    let wait = Deadline::within(LOCK_TIMEOUT);
    let _section = Section::begin(); // stopped half way, it would leave everybody waiting
    let _polling = busy::enter(&wait, &wal_index(&database).into());

    let source = open_backup(backup, &wait)?;
    if fs::canonicalize(&database).is_ok_and(|real| fs::canonicalize(backup).ok() == Some(real)) {
        return Err(failed(&database, "the backup is the database itself"));
    }
    refuse_if_used(&database)?;
    let staging = StagingFile::begin(&database).map_err(|e| failed(&database, e))?;
    copy(&source, &staging, &mut |_| ()).map_err(|fault| match fault.into_error(backup, &database) {
        Error::NoRoomForBackup { path } => Error::DiskFull { path },
        Error::BackupFailed { path, source } => Error::RestoreFailed { path, source },
        other => other,
    })?;
    drop(source);
    prepare(staging.path(), backup, &wait, forget).map_err(|error| of_a_copy(error, &database))?;
    let bytes = fs::metadata(staging.path()).map_err(|e| failed(&database, e))?.len();
    let replaced = swap(staging, &database)?;
    Ok(RestoreReport { path: path.to_owned(), bytes, replaced })
}

/// The backup, opened to be read, if it is one of ours.
fn open_backup(path: &Path, wait: &Deadline) -> Result<Connection> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(failed(path, "not a regular file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(failed(path, "there is no such file")),
        Err(e) => return Err(failed(path, e)),
        Ok(_) => {}
    }
    location::refuse_odd_side_files(path)?;
    let conn = connection::open_to_look(path).map_err(|e| connection::explain(e, path, wait.waited()))?;
    match migrate::identify(&conn, path, wait) {
        Ok(0) => Err(Error::ForeignDatabase { path: path.to_owned(), application_id: 0 }), // it is empty
        Ok(_) | Err(Error::Replaced { .. }) => Ok(conn),
        Err(other) => Err(other),
    }
}

/// Checks the copy of a backup, brings it up to date, and has it forget processes of another time.
fn prepare(
    copy: &Path,
    backup: &Path,
    wait: &Deadline,
    forget: impl Fn(&dyn Transaction) -> TxResult<()>,
) -> Result<()> {
    let explain = |e| connection::explain(e, backup, wait.waited());
    let mut conn = connection::open_to_look(copy).map_err(explain)?;
    let finding: String =
        conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(explain)?;
    if finding != "ok" {
        let source = rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(finding),
        );
        return Err(Error::Corrupt { path: backup.to_owned(), source: DatabaseError::new(source) });
    }
    // As that of every database of ours. A log it has none, so SQLite's own settings will do.
    conn.pragma_update(None, "foreign_keys", true).map_err(explain)?;
    immediate(&mut conn, None, |tx| migrate::reinstate(tx.conn()))
        .map_err(|fault| connection::explain_fault(fault, backup, wait.waited()))?;
    migrate::identify(&conn, backup, wait)?; // also of one that was marked as replaced
    migrate::migrate(&mut conn, backup, wait)?;
    immediate(&mut conn, None, |tx| forget(tx))
        .map_err(|fault| connection::explain_fault(fault, backup, wait.waited()))?;
    conn.close().map_err(|(_, e)| explain(e))
}

/// What went wrong while the copy was written, which lies beside the database. What was in doubt in it is not any more:
/// the copy is thrown away.
fn of_a_copy(error: Error, database: &Path) -> Error {
    let path = database.to_owned();
    match error {
        Error::DiskFull { .. } => Error::DiskFull { path },
        Error::DeviceFailed { code, source, .. } | Error::CommitInDoubt { code, source, .. } => {
            Error::DeviceFailed { path, code, source }
        }
        other => other,
    }
}

/// Gives the new file the name of the old one, which gets another.
fn swap(new: StagingFile, database: &Path) -> Result<Option<PathBuf>> {
    swap_within(new, database, LOCK_TIMEOUT) // from now on: the copy has taken its time
}

fn swap_within(new: StagingFile, database: &Path, limit: Duration) -> Result<Option<PathBuf>> {
    let wait = Deadline::within(limit);
    let _polling = busy::enter(&wait, &wal_index(database).into());
    let exists = fs::symlink_metadata(database).is_ok();
    let kept = with_suffix(
        database,
        format!(".replaced-{}", Timestamp::now().to_utc().format("%Y%m%dT%H%M%S%.3fZ")),
    );
    let mut old = if exists { have_to_oneself(database, &wait)? } else { None };
    count_on(new.path(), old.as_ref())
        .map_err(|fault| connection::explain_fault(fault, database, wait.waited()))?;
    crash_point::reach("before a restore's swap");

    let set_aside = SetAside::of(database, &kept, exists)?;
    crash_point::reach("during a restore's swap");
    // Who makes a database where there was none keeps it.
    if let Err(e) = new.publish(database, exists) {
        return Err(set_aside.put_back(e));
    }
    crash_point::reach("after a restore's swap");
    if let Some(old) = &mut old {
        immediate(old, None, |tx| migrate::mark_replaced(tx.conn())).map_err(|fault| {
            Error::RestoreUnfinished {
                path: database.to_owned(),
                replaced: kept.clone(),
                source: connection::explain_fault(fault, &kept, wait.waited()).into(),
            }
        })?;
    }
    // Not before: a process that waits for the old database must find the mark, whatever becomes of a power cut.
    staging_file::sync_folder(staging_file::folder_of(database))
        .map_err(|source| Error::NotOnDisk { path: database.to_owned(), source })?;
    Ok(exists.then_some(kept))
}

/// Has the restored database number processes on from the old one, if that one can be read. A number is never given
/// twice then, and backups of what is given up count as older than those that are made from here on.
fn count_on(new: &Path, old: Option<&Connection>) -> TxResult<()> {
    let last_of_old = old.and_then(|old| keep::last_process(old).ok()).unwrap_or_default();
    let mut new = connection::open_to_look(new)?;
    immediate(&mut new, None, |tx| {
        let tx = tx.conn();
        let last = keep::last_process(tx)?.max(last_of_old).saturating_add(1);
        tx.execute("DELETE FROM sqlite_sequence WHERE name = 'processes'", [])?;
        tx.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('processes', :last)",
            named_params! { ":last": last },
        )?;
        Ok(())
    })?;
    Ok(new.close().map_err(|(_, e)| e)?)
}

/// The old files under names that keep them, until the new database has theirs.
struct SetAside<'p> {
    database: &'p Path,
    /// What was moved: the name that it had, and the one that it has.
    moved: Vec<(PathBuf, PathBuf)>,
    /// A second name of the old database, which still has its own.
    second_name: Option<PathBuf>,
}

impl<'p> SetAside<'p> {
    fn of(database: &'p Path, kept: &Path, exists: bool) -> Result<Self> {
        let mut set_aside = Self { database, moved: Vec::new(), second_name: None };
        match set_aside.begin(kept, exists) {
            Ok(()) => Ok(set_aside),
            Err(e) => Err(set_aside.put_back(e)),
        }
    }

    fn begin(&mut self, kept: &Path, exists: bool) -> io::Result<()> {
        // What is left of the old log must not be taken for that of the new database.
        for suffix in ["-wal", "-journal"] {
            match self.rename(with_suffix(self.database, suffix), with_suffix(kept, suffix)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                moved => moved?,
            }
        }
        let _ = fs::remove_file(with_suffix(self.database, "-shm")); // an index of the log; most often gone
        if !exists {
            return Ok(());
        }
        // A second name first, so that at no moment is there no database. Where a file has but one, there is.
        if fs::hard_link(self.database, kept).is_ok() {
            self.second_name = Some(kept.to_owned());
            return Ok(());
        }
        self.rename(self.database.to_owned(), kept.to_owned())
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) -> io::Result<()> {
        staging_file::rename_to_free_name(&from, &to)?;
        self.moved.push((from, to));
        Ok(())
    }

    /// Undoes it, since the swap has failed, and says what could not be undone.
    fn put_back(mut self, why: io::Error) -> Error {
        if let Some(second_name) = self.second_name {
            let _ = fs::remove_file(second_name); // the first is there, so nothing is lost by it
        }
        self.moved.retain(|(from, to)| staging_file::rename_to_free_name(to, from).is_err());
        if self.moved.is_empty() {
            return failed(self.database, why);
        }
        Error::RestoreBrokenOff { path: self.database.to_owned(), moved: self.moved, source: why }
    }
}

/// The old database, which nobody else can read or write for as long as the connection is open: a single file,
/// with its log folded in. `None` if it is too damaged for that.
///
/// Who has it open is looked for as well as locked out: without a log, nobody needs a lock between two statements.
fn have_to_oneself(database: &Path, wait: &Deadline) -> Result<Option<Connection>> {
    loop {
        if users(database).is_empty() {
            match exclusive(database) {
                Ok(conn) => return Ok(Some(conn)),
                Err(e) => match connection::explain(e, database, wait.waited()) {
                    Error::LockTimeout { .. } => {}
                    Error::Corrupt { .. } | Error::NotADatabase { .. } => return Ok(None),
                    other => return Err(other),
                },
            }
        }
        if !wait.nap() {
            return Err(in_use(database));
        }
    }
}

/// Somebody has the database open; perhaps this process itself.
pub(crate) fn in_use(database: &Path) -> Error {
    let mut found = users(database);
    found.extend(this_user(database));
    Error::InUse { path: database.to_owned(), users: found }
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
    let _ = fs::remove_file(with_suffix(database, "-journal"));
    Ok(conn)
}

pub(crate) fn failed(path: &Path, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::RestoreFailed { path: path.to_owned(), source: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    fn read(path: &Path) -> rusqlite::Result<i64> {
        let conn = Connection::open(path)?;
        conn.busy_timeout(Duration::ZERO)?;
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
            for suffix in staging_file::SIDE_FILES {
                assert!(!with_suffix(&path, suffix).exists(), "{mode}: {suffix}");
            }
            drop(conn);
            assert_eq!(read(&path)?, 0);
        }
        Ok(())
    }

    /// One who opened the database after it was found to be free, and stays.
    #[cfg(all(target_os = "linux", not(govstore_portable)))]
    #[test]
    fn who_was_faster_is_named() -> TestResult {
        use std::io::Read;
        use std::process::{Command, Stdio};

        let folder = tempfile::tempdir()?;
        let path = folder.path().join("governance.db");
        drop(Store::open(&path)?);
        let mut shell = Command::new("sh")
            .args(["-c", "exec 3<\"$0\"; echo; read -r _"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        shell.stdout.as_mut().ok_or("a pipe")?.read_exact(&mut [0])?; // it has the file open
        let refused = swap_within(StagingFile::begin(&path)?, &path, Duration::from_millis(50));
        let Err(Error::InUse { users, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(users.iter().map(|user| user.pid).collect::<Vec<_>>(), [shell.id()]);
        assert_eq!(users[0].to_string(), format!("PID {} (sh)", shell.id()));

        drop(shell.stdin.take());
        shell.wait()?;
        let staging = StagingFile::begin(&path)?;
        fs::copy(&path, staging.path())?;
        assert!(swap(staging, &path)?.is_some());
        Ok(())
    }

    #[cfg(all(target_os = "linux", not(govstore_portable)))]
    #[test]
    fn one_who_has_the_database_open_himself_is_told_so() -> TestResult {
        let folder = tempfile::tempdir()?;
        let (path, copy) = (folder.path().join("governance.db"), folder.path().join("copy.db"));
        let store = Store::open(&path)?;
        store.backup_to(&copy)?;
        let refused = swap_within(StagingFile::begin(&path)?, &path, Duration::from_millis(50));
        let Err(Error::InUse { users, .. }) = refused else { panic!("{refused:?}") };
        assert!(users.iter().any(|user| user.pid == std::process::id()), "{users:?}");
        drop(store);
        crate::restore(&copy, &path)?;
        Ok(())
    }

    /// A process that opened the old file just before the swap, and gets its lock just after.
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
        let staging = StagingFile::begin(&path)?;
        fs::copy(folder.path().join("copy.db"), staging.path())?;
        fs::rename(&path, folder.path().join("old.db"))?;
        staging.publish(&path, true)?;
        let mut old = old;
        immediate(&mut old, None, |tx| migrate::mark_replaced(tx.conn())).map_err(|e| format!("{e:?}"))?;
        drop(old);
        assert_eq!(opener.join().map_err(|_| "a panic")??.total_updates, 1);
        assert!(matches!(Store::open(folder.path().join("old.db")), Err(Error::Replaced { .. })));
        Ok(())
    }
}
