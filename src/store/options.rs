//! How a database is opened.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::manners::Manners;
use super::partial::beside;
use super::place::{self, Place};
use super::queue::WriteQueue;
use super::wait::Deadline;
use super::{Shared, Store, connection, migrate, settings};
use crate::agent::HeldLocks;
use crate::error::{Error, Result};
use crate::process::{self, Member, StoppedHolder};

/// What a commit survives. A killed process loses nothing under either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every commit survives a power cut (`synchronous=FULL`).
    #[default]
    Full,
    /// The file survives a power cut, the last commits may not (`synchronous=NORMAL`). Faster.
    Normal,
}

impl Durability {
    pub(super) const fn synchronous(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// How to open a database. Made by [`Store::options`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("governance.db");
/// use std::time::Duration;
///
/// use govstore::{Durability, Store};
///
/// let store = Store::options()
///     .durability(Durability::Normal)
///     .lock_timeout(Duration::from_millis(300))
///     .open(&path)?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct StoreOptions {
    durability: Durability,
    lock_timeout: Option<Duration>,
    max_connections: u32,
    create: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { durability: Durability::Full, lock_timeout: None, max_connections: 4, create: true }
    }
}

impl StoreOptions {
    /// What a commit survives; [`Durability::Full`] unless asked otherwise.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long a call waits for a lock before [`Error::LockTimeout`]. Unless given, the database's
    /// `lock_timeout_ms` decides. Zero tries once.
    pub const fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = Some(limit);
        self
    }

    /// How many connections this process may have at once, at least one; 4 unless given. One of them
    /// writes, the others read beside it.
    pub const fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = max;
        self
    }

    /// Whether to create the database where there is none; true unless given. If not, that is
    /// [`Error::NoDatabase`].
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens the database at `path`, and brings its schema up to date.
    ///
    /// A new file may be read and written by its owner alone (mode 0600), and so may folders that had to be
    /// made for it (0700).
    ///
    /// # Errors
    ///
    /// One for each step: [`Error::NoDatabase`], [`Error::CannotCreate`], [`Error::CannotOpen`],
    /// [`Error::ReadOnly`], [`Error::NotADatabase`], [`Error::ForeignDatabase`], [`Error::Corrupt`],
    /// [`Error::Replaced`], [`Error::WalUnavailable`], [`Error::SchemaTooNew`], [`Error::LockTimeout`], [`Error::DiskFull`]. A
    /// file that is refused is left as it is.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        match self.open_once(path.as_ref()) {
            // While this call waited, by a restore or by hand: another file has the name now. Unless it hasn't.
            Err(Error::Replaced { .. } | Error::Displaced { .. }) => self.open_once(path.as_ref()),
            opened => opened,
        }
    }

    fn open_once(&self, path: &Path) -> Result<Store> {
        let path = locate(path, self.create)?;
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let name = place::Name::now(path.clone());
        let wait = Deadline::within(self.lock_timeout.unwrap_or(settings::LOCK_TIMEOUT));
        let shm: Arc<Path> = process::wal_index(&real).into();
        let _polling = wait.enter(&shm);
        let explain = |e| connection::explain(e, &path, wait.waited());

        let mut first = connection::open_to_look(&path).map_err(explain)?;
        // Before anything is read: that would leave a -wal and a -shm file behind which can't be written either.
        if first.is_readonly(rusqlite::MAIN_DB).map_err(explain)? {
            let source = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(Error::CannotOpen { path, source: Box::new(source) });
        }
        migrate::identify(&first, &path, &wait)?;
        connection::enable_wal(&first, &path, &wait)?;
        connection::configure(&first, self.durability).map_err(explain)?;
        migrate::migrate(&mut first, &path, &wait)
            .map_err(|error| connection::name_holder(error, Some(&first)))?;

        let store = Store {
            lock_timeout: self.lock_timeout,
            shared: Arc::new(Shared {
                place: Place::of(name, &real)?,
                pool: connection::pool(&path, self.durability, self.max_connections.max(1))?,
                queue: WriteQueue::default(),
                manners: Manners::default(),
                lock_timeout_ms: AtomicU64::default(),
                heartbeat_interval_ms: AtomicI64::default(),
                member: Member::default(),
                stopped_holder: StoppedHolder::default(),
                locks: HeldLocks::default(),
                opened_by: std::process::id(),
                path,
                shm,
            }),
        };
        store.follow(&settings::read(&first).map_err(|fault| store.explain(fault, &first, &wait))?);
        store.checkout(&wait)?; // before `first` closes: the last one to close tears the WAL down
        Ok(store)
    }
}

/// The absolute path of a database that exists, after creating it if that was asked for.
fn locate(path: &Path, create: bool) -> Result<PathBuf> {
    // Absolute, since SQLite takes ":memory:" and "" for something else.
    let absolute = std::path::absolute(path)
        .map_err(|source| Error::CannotOpen { path: path.to_owned(), source: Box::new(source) })?;
    let cannot_open = |source| Error::CannotOpen { path: absolute.clone(), source: Box::new(source) };
    // Before the database is looked at: whoever makes one gives it a header first, and then a log.
    let has_log = beside(&absolute, "-wal").metadata().is_ok_and(|log| log.len() > 0);
    let exists = match absolute.metadata() {
        // SQLite would delete the log, and with it the newest commits of a database that was moved or emptied.
        Ok(found) if found.is_file() && found.len() == 0 && has_log => {
            return Err(Error::LogWithoutDatabase { path: absolute });
        }
        Ok(found) if found.is_file() => true,
        // SQLite would say "disk I/O error" of /dev/null, and worse of a pipe.
        Ok(found) if found.is_dir() => return Err(cannot_open(io::ErrorKind::IsADirectory.into())),
        Ok(_) => return Err(cannot_open(io::Error::other("not a regular file"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(cannot_open(e)),
    };
    if !exists && !create {
        return Err(Error::NoDatabase { path: absolute });
    }
    if !exists && has_log {
        return Err(Error::LogWithoutDatabase { path: absolute });
    }
    if !exists {
        create_private(&absolute)?;
    }
    Ok(absolute)
}

/// Makes an empty file that only its owner may read and write, in folders likewise.
///
/// POSIX drops all locks that a process has on a file when it closes any descriptor of it. So a file is only
/// ever opened here if this very call created it, and no other thread looks at it before it is closed.
fn create_private(path: &Path) -> Result<()> {
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);

    let folder = path.parent().unwrap_or(path);
    let mut folders = DirBuilder::new();
    folders.recursive(true);
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        folders.mode(0o700);
        file.mode(0o600);
    }
    folders.create(folder).map_err(|source| Error::CannotCreate { path: folder.to_owned(), source })?;
    match file.open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()), // another process was faster
        Err(source) => Err(Error::CannotCreate { path: path.to_owned(), source }),
    }
}
