//! Where the rows are: the port that the rules use, and the backends that implement it.
//!
//! [`statements`] has the port: traits with one method a statement. [`Backend`] is the open database, with a door to
//! read and a door to write. What only one backend has (a file to back up, to check, to vacuum) is reached by
//! [`Backend::sqlite`], and lies in that backend's folder.
//!
//! The traits are in a file of their own and not here, since this file names the backends, and they implement the
//! traits: imports point one way.

pub(crate) mod deadline;
pub(crate) mod holder;
pub(crate) mod pause;
pub(crate) mod sqlite;
pub(crate) mod statements;

pub(crate) use sqlite::{Changes, Watch};

use crate::error::Result;

use deadline::Deadline;
use statements::{Reader, Transaction, TxResult};

/// An open database.
pub(crate) enum Backend {
    Sqlite(sqlite::Database),
}

impl Backend {
    /// Reads with `body`. One statement sees one snapshot.
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        match self {
            Self::Sqlite(database) => database.read(wait, body),
        }
    }

    /// Writes with `body` inside one transaction. An error or a panic in `body` rolls back. `writer` is asked once it is
    /// this call's turn: the number in the registry of the process that writes.
    ///
    /// A backend may run `body` again, when a transaction was lost to another: what it notes outside the transaction
    /// it returns, for its caller to note after the commit.
    pub fn write<T>(
        &self,
        wait: &Deadline,
        writer: impl Fn() -> Option<i64>,
        body: impl FnMut(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        match self {
            Self::Sqlite(database) => database.write(wait, writer, body),
        }
    }

    /// Makes this thread wait by `wait` for a turn that another thread of this process gives, with an eye on who holds
    /// the write lock.
    pub fn watch(&self, wait: &Deadline) -> Watch<'_> {
        match self {
            Self::Sqlite(database) => database.watch(wait),
        }
    }

    /// Looks for changes from now on.
    pub fn changes(&self, wait: &Deadline) -> Result<Changes> {
        match self {
            Self::Sqlite(database) => Changes::begin(database, wait),
        }
    }

    /// Whether anybody has written something since `changes` was last asked.
    pub fn has_changed(&self, changes: &mut Changes, wait: &Deadline) -> Result<bool> {
        match self {
            Self::Sqlite(database) => changes.look(database, wait),
        }
    }

    /// The database file.
    pub fn sqlite(&self) -> &sqlite::Database {
        match self {
            Self::Sqlite(database) => database,
        }
    }
}
