//! One connection: how it is opened and set up, and what its errors mean.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::config::DbConfig;
use rusqlite::ffi;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::busy;
use crate::backend::deadline::Deadline;
use crate::backend::statements::Fault;
use crate::error::{DatabaseError, Error, Result};
use crate::model::Durability;
use crate::os::with_suffix;

pub(super) type Pool = r2d2::Pool<SqliteConnectionManager>;
pub(super) type Pooled = r2d2::PooledConnection<SqliteConnectionManager>;

/// Never `SQLITE_OPEN_CREATE`: a file that vanished must not come back empty.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

const PREPARED_STATEMENTS: usize = 64;

/// What SQLite says when it can't open a file.
const CANNOT_OPEN: &str = "unable to open database file";

/// The first connection of an open. It may look and not touch: nothing was said about the file yet.
pub(super) fn open_to_look(path: &Path) -> rusqlite::Result<Connection> {
    // Closing the last connection checkpoints, which would write into somebody else's database.
    let wal_exists = with_suffix(path, "-wal").exists();
    let conn = Connection::open_with_flags(path, FLAGS)?;
    busy::install(&conn)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal_exists)?;
    Ok(conn)
}

/// Connections for a process's threads: opened when needed, at most `max` of them.
pub(super) fn pool(path: &Path, durability: Durability, max: u32) -> Result<Pool> {
    try_threads().map_err(|source| Error::NoThread { source })?;
    let manager = SqliteConnectionManager::file(path).with_flags(FLAGS).with_init(move |conn| {
        busy::install(conn)?;
        configure(conn, durability)
    });
    Ok(r2d2::Pool::builder()
        .max_size(max)
        .min_idle(Some(0))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_on_check_out(false)
        .error_handler(Box::new(r2d2::NopErrorHandler)) // `get` reports the error
        .build_unchecked(manager))
}

/// Whether as many threads can be had at once as r2d2 starts with a pool. Where it gets none it panics.
fn try_threads() -> io::Result<()> {
    const THREADS_OF_A_POOL: u32 = 3;
    let (sender, end) = mpsc::channel::<()>();
    let end = Mutex::new(end);
    thread::scope(|scope| {
        let _sender = sender; // until it is dropped, the first of them waits for it and the others for the first
        let wait = || drop(end.lock().map(|end| end.recv()));
        (0..THREADS_OF_A_POOL).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

/// Closes a connection that the pool keeps. The pool is left with an empty one, which it drops in its time. The
/// last one that anybody has folds the log in, unless it is told not to.
pub(super) fn close(pooled: &mut Pooled, fold_in_log: bool) {
    if !fold_in_log {
        // It fails on a connection that is closed already, and then there is nothing to keep from it.
        let _ = pooled.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
    if let Ok(nothing) = Connection::open_in_memory() {
        drop(std::mem::replace(&mut **pooled, nothing));
    }
}

/// What every connection has, beside the file's own settings.
pub(super) fn configure(conn: &Connection, durability: Durability) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?; // no PRAGMA can corrupt the file
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?; // nor a planted view run code
    // Nor does a planted trigger act on our writes. Those of the schema are for what people write by hand: they say what
    // the rules here see to anyway, and take 7 % of the instructions of an update.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    conn.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    conn.pragma_update(None, "synchronous", synchronous(durability))?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // 4 MiB: room for the upper pages of the B-trees of a million updates. SQLite's 2 MiB are too few for
    // them, and every update would read them again.
    conn.pragma_update(None, "cache_size", -4096)?;
    // The WAL restarts after 1000 pages (SQLite's default) once no reader needs it. Should a long read have
    // let it grow, the next restart cuts it back to this size.
    conn.pragma_update(None, "journal_size_limit", 8 << 20)?;
    Ok(())
}

/// `PRAGMA synchronous`.
const fn synchronous(durability: Durability) -> &'static str {
    match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    }
}

/// Turns write-ahead logging on and checks that it is on.
pub(super) fn enable_wal(conn: &Connection, path: &Path, wait: &Deadline) -> Result<()> {
    let switch = || conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
    let mut mode = switch();
    // Where the file is not in WAL mode yet, SQLite reads, then wants to write: it doesn't ask the busy
    // handler then, but fails at once.
    while mode.as_ref().is_err_and(is_busy) && wait.nap() {
        mode = switch();
    }
    let mode = mode.map_err(|e| explain(e, path, wait.waited()))?;
    if mode == "wal" { Ok(()) } else { Err(Error::WalUnavailable { path: path.to_owned(), mode }) }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// What a fault means to a caller of ours.
pub(super) fn explain_fault(fault: Fault, path: &Path, waited: Duration) -> Error {
    match fault {
        Fault::Refused(error) => error,
        Fault::Failed(reason) => explain(of_sqlite(reason), path, waited),
        Fault::InDoubt(reason) => in_doubt(of_sqlite(reason), path),
    }
}

/// The error of SQLite that a fault was made of. Nothing else is put into one here.
fn of_sqlite(reason: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    match reason.downcast() {
        Ok(error) => *error,
        Err(other) => rusqlite::Error::ToSqlConversionFailure(other),
    }
}

/// What a SQLite error means to a caller of ours.
pub(super) fn explain(error: rusqlite::Error, path: &Path, waited: Duration) -> Error {
    if let Some(too_large) = file_size_limit(&error, path) {
        return too_large;
    }
    let path = path.to_owned();
    let (failure, message) = match &error {
        rusqlite::Error::SqliteFailure(failure, message) => (failure, message),
        rusqlite::Error::FromSqlConversionFailure(column, _, reason) => {
            return unreadable(*column, &path, reason.to_string());
        }
        rusqlite::Error::Utf8Error(column, reason) => return unreadable(*column, &path, reason.to_string()),
        rusqlite::Error::InvalidColumnType(column, name, found) => {
            return unreadable(*column, &path, format!("{name} is of type {found}"));
        }
        _ => return Error::Database(DatabaseError::new(error)),
    };
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::LockTimeout { waited, holder: None },
        ErrorCode::DiskFull => Error::DiskFull { path },
        // The -shm file is grown by the page as well, and says so in another way.
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
            Error::DiskFull { path }
        }
        ErrorCode::ReadOnly => Error::ReadOnly { path, source: DatabaseError::new(error) },
        ErrorCode::CannotOpen => {
            if let Some(source) = too_many_open_files() {
                return Error::TooManyOpenFiles { path, source };
            }
            // The message of an open has the path in it, which ours has too.
            let source = rusqlite::Error::SqliteFailure(*failure, Some(CANNOT_OPEN.to_owned()));
            Error::CannotOpen { path, source: Box::new(DatabaseError::new(source)) }
        }
        ErrorCode::SystemIoFailure => {
            Error::DeviceFailed { path, code: failure.extended_code, source: DatabaseError::new(error) }
        }
        ErrorCode::DatabaseCorrupt => Error::Corrupt { path, source: DatabaseError::new(error) },
        ErrorCode::NotADatabase => Error::NotADatabase { path },
        ErrorCode::ConstraintViolation => {
            let message = message.as_deref().unwrap_or("constraint failed");
            let rule = message.strip_prefix("CHECK constraint failed: ").unwrap_or(message);
            Error::Constraint { rule: rule.to_owned() }
        }
        _ => Error::Database(DatabaseError::new(error)),
    }
}

/// The error of a COMMIT that failed, and may yet have been kept.
pub(super) fn in_doubt(error: rusqlite::Error, path: &Path) -> Error {
    let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |failure| failure.extended_code);
    Error::CommitInDoubt { path: path.to_owned(), code, source: DatabaseError::new(error) }
}

/// Why this process can't open any file at all, if so. SQLite says of it only that it can't open the database.
pub(super) fn too_many_open_files() -> Option<io::Error> {
    const ANY_FILE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };
    // Missing or forbidden is another matter; out of descriptors, here or in the whole system, has no kind.
    let refused = File::open(ANY_FILE).err()?;
    (!matches!(refused.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)).then_some(refused)
}

/// [`Error::FileSizeLimit`] if that is why a write failed.
pub(super) fn file_size_limit(error: &rusqlite::Error, path: &Path) -> Option<Error> {
    let code = error.sqlite_error()?.extended_code;
    if !matches!(code, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) {
        return None;
    }
    size_limit(path).map(|limit_bytes| Error::FileSizeLimit { path: path.to_owned(), limit_bytes })
}

/// The limit on the size of this process's files, if one of the database's has reached it. SQLite says of it only that
/// a write failed.
#[cfg(unix)]
fn size_limit(database: &Path) -> Option<u64> {
    /// The -shm file grows by so much at once, and the others by less.
    const STEP_BYTES: u64 = 32 << 10;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current?;
    let has_reached_it = |path: std::path::PathBuf| {
        path.metadata().is_ok_and(|found| found.len().saturating_add(STEP_BYTES) > limit)
    };
    ["", "-wal", "-shm", "-journal"]
        .iter()
        .any(|suffix| has_reached_it(with_suffix(database, suffix)))
        .then_some(limit)
}

#[cfg(not(unix))]
fn size_limit(_database: &Path) -> Option<u64> {
    None
}

fn unreadable(column: usize, path: &Path, reason: String) -> Error {
    Error::Unreadable { what: format!("column {column} of a row in {}", path.display()), reason }
}
