//! How a database is opened.

use std::path::Path;
use std::time::Duration;

use super::handle::Store;
use crate::backend::Backend;
#[cfg(feature = "postgres")]
use crate::backend::postgres;
use crate::backend::sqlite::{self, OpenOptions};
use crate::error::{Error, Result};
use crate::model::{Durability, Settings};

impl Store {
    /// Opens the database at `path`, creating it if there is none, with [`StoreOptions::default`].
    ///
    /// # Errors
    ///
    /// As [`StoreOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// How to open a database: durability, patience, number of connections.
    pub fn options() -> StoreOptions {
        StoreOptions::default()
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
    options: OpenOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            options: OpenOptions {
                durability: Durability::Full,
                lock_timeout: None,
                max_connections: 4,
                create: true,
                force_hard_link: false,
                force_file_system: false,
            },
        }
    }
}

impl StoreOptions {
    /// What a commit survives; [`Durability::Full`] unless asked otherwise.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// How long a call waits for a lock before [`Error::LockTimeout`]. Unless given, the database's
    /// `lock_timeout_ms` decides. Zero tries once.
    pub const fn lock_timeout(mut self, limit: Duration) -> Self {
        self.options.lock_timeout = Some(limit);
        self
    }

    /// How many connections this process may have at once, at least one; 4 unless given. One of them
    /// writes, the others read beside it.
    pub const fn max_connections(mut self, max: u32) -> Self {
        self.options.max_connections = max;
        self
    }

    /// Whether to create the database where there is none; true unless given. If not, that is
    /// [`Error::NoDatabase`].
    pub const fn create(mut self, create: bool) -> Self {
        self.options.create = create;
        self
    }

    /// Whether to open a database that has several names (hard links); false unless given, and then that is
    /// [`Error::HardLinked`]. Processes that open it by different names keep different logs, and lose each other's
    /// updates.
    pub const fn force_hard_link(mut self, force: bool) -> Self {
        self.options.force_hard_link = force;
        self
    }

    /// Whether to open a database on a file system that other machines may write to, such as NFS, 9P, virtiofs or
    /// FUSE; false unless given, and then that is [`Error::SharedFileSystem`]. If processes of two machines, or of a
    /// virtual machine and its host, use the database, they lose each other's updates.
    pub const fn force_file_system(mut self, force: bool) -> Self {
        self.options.force_file_system = force;
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
        self.open_as(path.as_ref(), false)
    }

    /// Opens a database that is to be filled by a copy: one on a server that was broken off, too.
    #[cfg(feature = "postgres")]
    pub(super) fn open_for_copy(self, path: &Path) -> Result<Store> {
        self.open_as(path, true)
    }

    fn open_as(self, path: &Path, for_copy: bool) -> Result<Store> {
        let (backend, settings) = match Scheme::of(path) {
            None => {
                let (database, settings) = sqlite::open(path, &self.options)?;
                (Backend::Sqlite(database), settings)
            }
            Some(scheme) => self.open_on_a_server(scheme, for_copy)?,
        };
        Ok(Store::new(backend, &settings, self.options.lock_timeout))
    }

    /// Makes an empty schema in a database on a server, for a trial that is to leave nothing behind.
    ///
    /// ```no_run
    /// use govstore::{Store, Update};
    ///
    /// let trial = Store::options().trial("postgres://govstore@db.example.com/governance")?;
    /// let store = Store::open(trial.address())?;
    /// store.process_update("writer", &Update::new())?;
    /// drop((store, trial)); // and the schema is gone
    /// # Ok::<(), govstore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`], [`Error::UnknownScheme`], [`Error::Unreachable`]; [`Error::ReadOnly`] if this role may make
    /// no schema.
    #[cfg(feature = "postgres")]
    pub fn trial(self, address: impl AsRef<Path>) -> Result<Trial> {
        let scheme = Scheme::of(address.as_ref());
        let scheme = scheme.ok_or_else(|| Error::BadAddress { reason: "it is a path".to_owned() })?;
        Ok(Trial(postgres::Trial::begin(scheme.of_postgres()?, &self.on_a_server(false))?))
    }

    /// Whether a path is the address of a database on a server: whether it begins with a word and `://`.
    ///
    /// ```
    /// use govstore::StoreOptions;
    ///
    /// assert!(StoreOptions::is_address("postgres://db.example.com/governance"));
    /// assert!(!StoreOptions::is_address("/var/lib/governance.db"));
    /// ```
    pub fn is_address(path: impl AsRef<Path>) -> bool {
        Scheme::of(path.as_ref()).is_some()
    }

    #[cfg(feature = "postgres")]
    fn open_on_a_server(&self, scheme: Scheme<'_>, for_copy: bool) -> Result<(Backend, Settings)> {
        let (database, settings) = postgres::open(scheme.of_postgres()?, &self.on_a_server(for_copy))?;
        Ok((Backend::Postgres(database), settings))
    }

    #[cfg(feature = "postgres")]
    const fn on_a_server(&self, for_copy: bool) -> postgres::OpenOptions {
        postgres::OpenOptions {
            lock_timeout: self.options.lock_timeout,
            max_connections: self.options.max_connections,
            create: self.options.create,
            for_copy,
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[expect(clippy::unused_self, reason = "with PostgreSQL it has options")]
    fn open_on_a_server(&self, scheme: Scheme<'_>, _for_copy: bool) -> Result<(Backend, Settings)> {
        Err(scheme.unknown(match scheme.name {
            "postgres" | "postgresql" => "it was built without the feature `postgres`",
            _ => "it opens files",
        }))
    }

    /// Makes the database at `path` with what `fill` writes into it: others see all of that or, if `fill` fails, no
    /// new file. It gets its name when `fill` has returned; until then it lies beside under another. `None`, and
    /// `fill` was not called, if there is a file already.
    ///
    /// `fill` must not keep a clone of the store.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("governance.db");
    /// use govstore::{Error, Store, Update};
    ///
    /// let refused = Store::options().create_with(&path, |store| store.agent("writer"));
    /// assert!(matches!(refused, Err(Error::AgentNotFound { .. })));
    /// assert!(!path.exists());
    ///
    /// let made = Store::options().create_with(&path, |store| store.process_update("writer", &Update::new()))?;
    /// assert!(made.is_some());
    /// assert_eq!(Store::open(&path)?.agent("writer")?.total_updates, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `fill` and of [`Self::open`].
    pub fn create_with<T>(
        self,
        path: impl AsRef<Path>,
        fill: impl FnOnce(&Store) -> Result<T>,
    ) -> Result<Option<T>> {
        if Self::is_address(path.as_ref()) {
            return Ok(None); // it is there already, or opening it sets it up
        }
        sqlite::create_with(path.as_ref(), self.options.force_file_system, |staging| {
            fill(&self.open(staging)?)
        })
    }
}

/// A schema for a trial. Made by [`StoreOptions::trial`]; dropping it removes the schema and what is in it.
#[cfg(feature = "postgres")]
pub struct Trial(postgres::Trial);

#[cfg(feature = "postgres")]
impl Trial {
    /// The address by which the schema is opened. It has the password in it, if one was given in the address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.0.address()
    }
}

#[cfg(feature = "postgres")]
impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").finish_non_exhaustive()
    }
}

/// An address such as `postgres://host/name`, in the place of a path.
#[derive(Clone, Copy)]
struct Scheme<'a> {
    /// What comes before `://`.
    name: &'a str,
    #[cfg(feature = "postgres")]
    address: &'a str,
}

impl<'a> Scheme<'a> {
    fn of(path: &'a Path) -> Option<Self> {
        let address = path.to_str()?;
        let (name, _) = address.split_once("://")?;
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        (is_word && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(Self {
            name,
            #[cfg(feature = "postgres")]
            address,
        })
    }

    /// The address, if PostgreSQL is meant.
    #[cfg(feature = "postgres")]
    fn of_postgres(self) -> Result<&'a str> {
        match self.name {
            "postgres" | "postgresql" => Ok(self.address),
            _ => Err(self.unknown("it opens files, and postgres://…")),
        }
    }

    fn unknown(self, what_to_do: &'static str) -> Error {
        Error::UnknownScheme { scheme: self.name.to_owned(), what_to_do }
    }
}
