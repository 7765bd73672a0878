//! What a command works with: the database that the arguments and the environment name, and the output.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use govstore::{Actor, Error, Store, StoreOptions};

use super::Failure;
use super::output::Output;

const ENVIRONMENT_VARIABLE: &str = "GOVSTORE_DB";

pub struct Session {
    db: Option<PathBuf>,
    /// How a database is opened, as the arguments say.
    options: StoreOptions,
    pub out: Output,
}

impl Session {
    pub fn new(db: Option<PathBuf>, options: StoreOptions, out: Output) -> Self {
        Self { db, options, out }
    }

    /// Opens the database for a command that works with what is there: a mistyped path must not make one.
    pub fn open(&self) -> Result<Store, Failure> {
        Ok(self.options().create(false).open(self.database()?)?.acting_as(Actor::operator()))
    }

    /// Opens the database for a command that may be the first one to write into it.
    pub fn open_or_create(&self) -> Result<Store, Failure> {
        Ok(self.options().open(self.database_to_create()?)?.acting_as(Actor::operator()))
    }

    /// Runs `fill` on the database. Where there is none, it is made with what `fill` writes; if that fails, neither the
    /// file nor a folder that was made for it is left.
    pub fn fill_or_create<T>(&self, fill: impl Fn(&Store) -> govstore::Result<T>) -> Result<T, Failure> {
        let (path, made) = self.located()?;
        let filled = self.fill(&path, fill);
        if filled.is_err() {
            for folder in made.iter().rev() {
                let _ = fs::remove_dir(folder); // one that somebody uses meanwhile isn't empty, and stays
            }
        }
        filled
    }

    fn fill<T>(&self, path: &Path, fill: impl Fn(&Store) -> govstore::Result<T>) -> Result<T, Failure> {
        let as_operator = |store: &Store| fill(&store.acting_as(Actor::operator()));
        if let Some(filled) = self.options().create_with(path, as_operator)? {
            return Ok(filled);
        }
        Ok(as_operator(&self.options().open(path)?)?)
    }

    /// How a database is opened, as the arguments say.
    pub fn options(&self) -> StoreOptions {
        self.options.clone()
    }

    /// The database that was named, whether it is there or not; else the one in the user's data folder.
    pub fn database(&self) -> Result<PathBuf, Failure> {
        self.named().map_or_else(default_database, Ok)
    }

    /// The same, for a command that makes it where it is not there. Only the folder that nobody named is made: one
    /// that somebody mistyped must not be.
    pub fn database_to_create(&self) -> Result<PathBuf, Failure> {
        Ok(self.located()?.0)
    }

    /// Where the database is or is to be, and the folders that were made for it, the outermost first.
    fn located(&self) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
        let mut made = Vec::new();
        if let Some(named) = self.named() {
            return Ok((named, made));
        }
        let path = default_database()?;
        if let Some(folder) = path.parent() {
            create_private(folder, &mut made)
                .map_err(|source| Failure::Store(Error::CannotCreate { path: folder.to_owned(), source }))?;
        }
        Ok((path, made))
    }

    /// The address of the database, if one on a server was named.
    #[cfg(feature = "postgres")]
    pub fn named_address(&self) -> Option<PathBuf> {
        self.named().filter(|named| StoreOptions::is_address(named))
    }

    fn named(&self) -> Option<PathBuf> {
        let from_environment = || std::env::var_os(ENVIRONMENT_VARIABLE).filter(|path| !path.is_empty());
        self.db.clone().or_else(|| from_environment().map(PathBuf::from))
    }
}

fn default_database() -> Result<PathBuf, Failure> {
    let folder = dirs::data_dir().ok_or(Failure::NoDataFolder)?;
    Ok(folder.join("govstore").join("governance.db"))
}

/// Makes a folder for its owner alone, and those around it that are missing: a new account has no data folder. What was
/// made is brought to the disk, and added to `made`.
fn create_private(folder: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Err(io::ErrorKind::NotFound.into()) };
    create_private(parent, made)?;
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => made.push(folder.to_owned()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {} // another process was faster
        Err(e) => return Err(e),
    }
    if cfg!(unix) { File::open(parent)?.sync_all() } else { Ok(()) }
}
