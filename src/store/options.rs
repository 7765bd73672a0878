//! How a database is opened.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::doubt::Doubt;
use super::manners::Manners;
use super::partial::{beside, folder_of, sync_folder};
use super::pause::Section;
use super::place::{self, Place};
use super::queue::WriteQueue;
use super::wait::Deadline;
use super::{Shared, Store, connection, location, migrate, settings};
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
    force_hard_link: bool,
    force_file_system: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            lock_timeout: None,
            max_connections: 4,
            create: true,
            force_hard_link: false,
            force_file_system: false,
        }
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

    /// Whether to open a database that has several names (hard links); false unless given, and then that is
    /// [`Error::HardLinked`]. Processes that open it by different names keep different logs, and lose each other's
    /// updates.
    pub const fn force_hard_link(mut self, force: bool) -> Self {
        self.force_hard_link = force;
        self
    }

    /// Whether to open a database on a file system that other machines may write to, such as NFS, 9P, virtiofs or
    /// FUSE; false unless given, and then that is [`Error::SharedFileSystem`]. If processes of two machines, or of a
    /// virtual machine and its host, use the database, they lose each other's updates.
    pub const fn force_file_system(mut self, force: bool) -> Self {
        self.force_file_system = force;
        self
    }

    /// Opens the database at `path`, and brings its schema up to date.
    ///
    /// A new file may be read and written by its owner alone (mode 0600). Its folder must be there: one that was
    /// mistyped is not made.
    ///
    /// # Errors
    ///
    /// One for each step: [`Error::NoDatabase`], [`Error::SharedFileSystem`], [`Error::MountPoint`],
    /// [`Error::HardLinked`], [`Error::OddSideFile`], [`Error::CannotCreate`], [`Error::CannotOpen`],
    /// [`Error::ReadOnly`], [`Error::NotADatabase`], [`Error::ForeignDatabase`], [`Error::Corrupt`],
    /// [`Error::Replaced`], [`Error::ForeignSchema`], [`Error::WalUnavailable`], [`Error::SchemaTooNew`],
    /// [`Error::LockTimeout`], [`Error::DiskFull`], [`Error::FileSizeLimit`]. A file that is refused is left as it is.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        match self.open_once(path.as_ref()) {
            // While this call waited, by a restore or by hand: another file has the name now. Unless it hasn't.
            Err(Error::Replaced { .. } | Error::Displaced { .. }) => self.open_once(path.as_ref()),
            opened => opened,
        }
    }

    fn open_once(&self, path: &Path) -> Result<Store> {
        let path = self.locate(path)?;
        let real = real(&path);
        let name = place::Name::now(path.clone());
        let wait = Deadline::within(self.lock_timeout.unwrap_or(settings::LOCK_TIMEOUT));
        // It recovers a log, switches to another, migrates, and closes its first connection.
        let _section = Section::begin();
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
                doubt: Doubt::default(),
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
    /// The absolute path of a database that exists, after creating it if that was asked for.
    fn locate(&self, path: &Path) -> Result<PathBuf> {
        // Absolute, since SQLite takes ":memory:" and "" for something else.
        let absolute = std::path::absolute(path)
            .map_err(|source| Error::CannotOpen { path: path.to_owned(), source: Box::new(source) })?;
        // Before the database is looked at: whoever makes one gives it a header first, and then a log.
        let has_log = beside(&absolute, "-wal").metadata().is_ok_and(|log| log.is_file() && log.len() > 0);
        let bytes = size(&absolute)?;
        if bytes.is_none() && !self.create {
            return Err(Error::NoDatabase { path: absolute });
        }
        // SQLite would delete the log, and with it the newest commits of a database that was moved or emptied.
        if has_log && bytes.is_none_or(|bytes| bytes == 0) {
            return Err(Error::LogWithoutDatabase { path: absolute });
        }
        let real = real(&absolute);
        if !self.force_file_system {
            location::refuse_shared_file_system(folder_of(&real), &absolute)?;
        }
        location::refuse_other_names(&real, self.force_hard_link)?;
        location::refuse_odd_side_files(&real)?;
        if bytes.is_none() {
            create_private(&absolute)?;
        }
        Ok(absolute)
    }
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
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);

    let cannot_create = |source| Error::CannotCreate { path: path.to_owned(), source };
    let folder = folder_of(path);
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {} // another process was faster
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let reason =
                format!("there is no folder {}; make it first, or correct the path", folder.display());
            return Err(cannot_create(io::Error::new(e.kind(), reason)));
        }
        Err(source) => return Err(cannot_create(source)),
    }
    sync_folder(folder).map_err(cannot_create)
}
