//! Opening a database file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::database::Database;
use super::file_identity::{FileIdentity, Name};
use super::holder::name_holder;
use super::lock_owner::wal_index;
#[cfg(feature = "postgres")]
use super::staging_file::rename_to_free_name;
use super::staging_file::{SIDE_FILES, StagingFile, folder_of, sync_folder};
use super::transaction::ReadConnection;
use super::{busy, connection, location, migrate};
use crate::backend::deadline::Deadline;
use crate::backend::pause::Section;
use crate::backend::statements::SettingsReads;
use crate::error::{Error, Result};
use crate::model::{Durability, LOCK_TIMEOUT, Settings};
use crate::os::{lock, with_suffix};

/// How a database file is opened.
#[derive(Debug, Clone)]
pub(crate) struct OpenOptions {
    pub durability: Durability,
    /// How long opening waits for a lock, if it is not for the default to say.
    pub lock_timeout: Option<Duration>,
    pub max_connections: u32,
    pub create: bool,
    pub force_hard_link: bool,
    pub force_file_system: bool,
}

/// Opens the database at `path`, and brings its schema up to date. Returns its settings as well.
pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<(Database, Settings)> {
    match open_once(path, options) {
        // While this call waited, by a restore or by hand: another file has the name now. Unless it hasn't.
        Err(Error::Replaced { .. } | Error::Displaced { .. }) => open_once(path, options),
        opened => opened,
    }
}

fn open_once(path: &Path, options: &OpenOptions) -> Result<(Database, Settings)> {
    let path = locate(path, options)?;
    let real = real(&path);
    let name = Name::now(path.clone());
    let wait = Deadline::within(options.lock_timeout.unwrap_or(LOCK_TIMEOUT));
    // It recovers a log, switches to another, migrates, and closes its first connection.
    let _section = Section::begin();
    let shm: Arc<Path> = wal_index(&real).into();
    let _polling = busy::enter(&wait, &shm);
    let explain = |e| connection::explain(e, &path, wait.waited());

    let mut first = connection::open_to_look(&path).map_err(explain)?;
    // Before anything is read: that would leave a -wal and a -shm file behind which can't be written either.
    if first.is_readonly(rusqlite::MAIN_DB).map_err(explain)? {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(Error::CannotOpen { path, source: Box::new(source) });
    }
    migrate::identify(&first, &path, &wait)?;
    connection::enable_wal(&first, &path, &wait)?;
    connection::configure(&first, options.durability).map_err(explain)?;
    migrate::migrate(&mut first, &path, &wait).map_err(|error| name_holder(error, Some(&first)))?;

    let files = FileIdentity::of(name, &real)?;
    let pool = connection::pool(&path, options.durability, options.max_connections.max(1))?;
    let database = Database::new(path, shm, files, pool);
    let settings = ReadConnection(&first).settings();
    let settings = settings.map_err(|fault| database.explain(fault, &first, &wait))?;
    database.checkout(&wait)?; // before `first` closes: the last one to close tears the WAL down
    Ok((database, settings))
}

/// Makes the database at `path` out of what `fill` writes into a staging file, so that others see all of it or nothing.
/// `None`, and nothing was done, if something has that name, or the name of a file that SQLite puts beside it.
///
/// `fill` opens the staging file by its path, and leaves it closed.
pub(crate) fn create_with<T>(
    path: &Path,
    force_file_system: bool,
    fill: impl FnOnce(&Path) -> Result<T>,
) -> Result<Option<T>> {
    let cannot_create = |source| Error::CannotCreate { path: path.to_owned(), source };
    let path = std::path::absolute(path).map_err(cannot_create)?;
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    // A log that lies there belongs to another database: SQLite would write it into this one.
    if is_there(&path) || SIDE_FILES.iter().any(|suffix| is_there(&with_suffix(&path, suffix))) {
        return Ok(None);
    }
    let folder = folder_of(&path);
    if !force_file_system {
        location::refuse_shared_file_system(folder, &path)?;
    }
    if !folder.is_dir() {
        return Err(cannot_create(no_folder(folder)));
    }
    let staging = StagingFile::begin(&path).map_err(cannot_create)?;
    let value = fill(staging.path())?;
    if SIDE_FILES.iter().any(|suffix| is_there(&with_suffix(staging.path(), suffix))) {
        return Err(cannot_create(io::Error::other(
            "it is still open, or its log could not be written to it",
        )));
    }
    match staging.publish(&path, false) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None), // another process was faster
        published => published.map_err(cannot_create)?,
    }
    sync_folder(folder).map_err(cannot_create)?;
    Ok(Some(value))
}

/// Gives a database that was made under another name in the same folder its own. Nobody has it open.
#[cfg(feature = "postgres")]
pub(crate) fn name_copy(made: &Path, path: &Path) -> Result<()> {
    let cannot_create = |source| Error::CannotCreate { path: path.to_owned(), source };
    if SIDE_FILES.iter().any(|suffix| fs::symlink_metadata(with_suffix(made, suffix)).is_ok()) {
        return Err(cannot_create(io::Error::other(
            "another process has it open; it may be copying to it too",
        )));
    }
    fs::File::open(made).and_then(|file| file.sync_all()).map_err(cannot_create)?;
    rename_to_free_name(made, path).map_err(cannot_create)?;
    sync_folder(folder_of(path)).map_err(cannot_create)
}

/// The absolute path of a database that exists, after creating it if that was asked for.
fn locate(path: &Path, options: &OpenOptions) -> Result<PathBuf> {
    // Absolute, since SQLite takes ":memory:" and "" for something else.
    let absolute = std::path::absolute(path)
        .map_err(|source| Error::CannotOpen { path: path.to_owned(), source: Box::new(source) })?;
    // Before the database is looked at: its maker gives it a header first, and then a log.
    let has_log = with_suffix(&absolute, "-wal").metadata().is_ok_and(|log| log.is_file() && log.len() > 0);
    let bytes = size(&absolute)?;
    if bytes.is_none() && !options.create {
        return Err(Error::NoDatabase { path: absolute });
    }
    // SQLite would delete the log, and with it the newest commits of a database that was moved or emptied.
    if has_log && bytes.is_none_or(|bytes| bytes == 0) {
        return Err(Error::LogWithoutDatabase { path: absolute });
    }
    let real = real(&absolute);
    if !options.force_file_system {
        location::refuse_shared_file_system(folder_of(&real), &absolute)?;
    }
    location::refuse_other_names(&real, options.force_hard_link)?;
    location::refuse_odd_side_files(&real)?;
    if bytes.is_none() {
        create_private(&absolute)?;
    }
    Ok(absolute)
}

/// The path without symbolic links, where SQLite keeps the log; the path itself where there is no file yet.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The size of a database, or of a file that may become one; `None` if there is none.
fn size(path: &Path) -> Result<Option<u64>> {
    let source = match path.metadata() {
        Ok(found) if found.is_file() => return Ok(Some(found.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        // SQLite would say "disk I/O error" of /dev/null, and worse of a pipe.
        Ok(found) if found.is_dir() => io::ErrorKind::IsADirectory.into(),
        Ok(_) => io::Error::other("not a regular file"),
        Err(e) => e,
    };
    Err(Error::CannotOpen { path: path.to_owned(), source: Box::new(source) })
}

/// Makes an empty file that only its owner may read and write, in a folder that is there.
///
/// POSIX drops all locks that a process has on a file when it closes any descriptor of it. So a file is only
/// ever opened here if this very call created it, and no other thread looks at it before it is closed.
fn create_private(path: &Path) -> Result<()> {
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = lock(&CREATING);

    let cannot_create = |source| Error::CannotCreate { path: path.to_owned(), source };
    let folder = folder_of(path);
    let mut file = fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {} // another process was faster
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(cannot_create(no_folder(folder))),
        Err(source) => return Err(cannot_create(source)),
    }
    sync_folder(folder).map_err(cannot_create)
}

fn no_folder(folder: &Path) -> io::Error {
    let reason = format!("there is no folder {}; make it first, or correct the path", folder.display());
    io::Error::new(io::ErrorKind::NotFound, reason)
}
