//! What a command works with: the database that the arguments and the environment name, and the output.

use std::path::PathBuf;

use govstore::Store;

use super::Failure;
use super::output::Output;

const ENVIRONMENT_VARIABLE: &str = "GOVSTORE_DB";

pub struct Session {
    db: Option<PathBuf>,
    pub out: Output,
}

impl Session {
    pub fn new(db: Option<PathBuf>, out: Output) -> Self {
        Self { db, out }
    }

    /// Opens the database for a command that works with what is there: a mistyped path must not make one.
    pub fn open(&self) -> Result<Store, Failure> {
        Ok(Store::options().create(false).open(self.database()?)?)
    }

    /// Opens the database for a command that may be the first one to write into it.
    pub fn open_or_create(&self) -> Result<Store, Failure> {
        Ok(Store::open(self.database()?)?)
    }

    /// Where the database is, or is to be.
    pub fn database(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.db {
            return Ok(path.clone());
        }
        match std::env::var_os(ENVIRONMENT_VARIABLE) {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => dirs::data_dir()
                .map(|folder| folder.join("govstore").join("governance.db"))
                .ok_or(Failure::NoDataFolder),
        }
    }
}
