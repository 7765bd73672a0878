//! What a command works with: the database that the arguments and the environment name, and the output.

use std::fs::{DirBuilder, File};
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
        if let Some(named) = self.named() {
            return Ok(named);
        }
        let path = default_database()?;
        if let Some(folder) = path.parent() {
            create_private(folder)
                .map_err(|source| Failure::Store(Error::CannotCreate { path: folder.to_owned(), source }))?;
        }
        Ok(path)
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
/// made is brought to the disk.
fn create_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Err(io::ErrorKind::NotFound.into()) };
    create_private(parent)?;
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    if cfg!(unix) { File::open(parent)?.sync_all() } else { Ok(()) }
}
