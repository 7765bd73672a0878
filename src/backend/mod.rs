//! Where the rows are: the port that the rules use, and the backends that implement it.
//!
//! [`statements`] has the port: traits with one method a statement. [`Backend`] is the open database, with a door to
//! read and a door to write. What only one backend has (a file to back up, to check, to vacuum) is reached by
//! [`Backend::file`], and lies in that backend's folder.
//!
//! The traits are in a file of their own and not here, since this file names the backends, and they implement the
//! traits: imports point one way.

pub(crate) mod deadline;
mod finding;
pub(crate) mod holder;
pub(crate) mod pause;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod sqlite;
pub(crate) mod statements;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::Check;
use crate::os::Mark;

use deadline::Deadline;
use statements::{Reader, Transaction, TxResult};

/// An open database.
#[cfg_attr(feature = "postgres", expect(clippy::large_enum_variant, reason = "there is one in a store"))]
pub(crate) enum Backend {
    Sqlite(sqlite::Database),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Database),
}

impl Backend {
    /// Where the database is: a path, or an address without a password.
    pub fn address(&self) -> &Path {
        match self {
            Self::Sqlite(database) => database.path(),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.address(),
        }
    }

    /// What was found when it was opened that its users should know.
    pub fn warning(&self) -> Option<&'static str> {
        match self {
            Self::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.warning(),
        }
    }

    /// The schema version that this build knows, and to which opening has brought the database.
    pub const fn schema_version(&self) -> i32 {
        match self {
            Self::Sqlite(_) => sqlite::SUPPORTED,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => postgres::SUPPORTED,
        }
    }

    /// Reads with `body`. One statement sees one snapshot.
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        match self {
            Self::Sqlite(database) => database.read(wait, body),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.read(wait, body),
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
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.write(wait, writer, body),
        }
    }

    /// What is committed now, to be read by many statements while others write.
    #[cfg(feature = "postgres")]
    pub fn snapshot(&self, wait: &Deadline) -> Result<Snapshot<'_>> {
        Ok(match self {
            Self::Sqlite(database) => Snapshot::Sqlite(database.snapshot(wait)?),
            Self::Postgres(database) => Snapshot::Postgres(database.snapshot(wait)?),
        })
    }

    /// Whether transactions of one process come one after the other, so that threads that wait for their turn had
    /// better share one.
    pub const fn writes_in_turns(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The longest that a process may let pass between two heartbeats, whatever the settings say.
    pub const fn longest_interval(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::MAX,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => postgres::LONGEST_INTERVAL,
        }
    }

    /// Makes this thread wait by `wait` for a turn that another thread of this process gives, with an eye on who holds
    /// the write lock.
    pub fn watch(&self, wait: &Deadline) -> Watch<'_> {
        match self {
            Self::Sqlite(database) => Watch(database.watch(wait)),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => unreachable!("no thread waits for another one's turn"),
        }
    }

    /// Looks for changes from now on.
    pub fn changes(&self, wait: &Deadline) -> Result<Changes> {
        Ok(match self {
            Self::Sqlite(database) => Changes::Sqlite(sqlite::Changes::begin(database, wait)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => Changes::Postgres(postgres::Changes::begin(database, wait)?),
        })
    }

    /// Has `notice` called when somebody has written an event, where the database tells.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unnecessary_wraps, reason = "a server may be lost"))]
    pub fn listen(
        &self,
        changes: &mut Changes,
        wait: &Deadline,
        notice: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<()> {
        match (self, changes) {
            #[cfg(feature = "postgres")]
            (Self::Postgres(database), Changes::Postgres(changes)) => changes.listen(database, wait, notice),
            _ => {
                drop((wait, notice)); // a file tells nobody
                Ok(())
            }
        }
    }

    /// Whether anybody has written something since `changes` was last asked.
    pub fn has_changed(&self, changes: &mut Changes, wait: &Deadline) -> Result<bool> {
        match (self, changes) {
            (Self::Sqlite(database), Changes::Sqlite(changes)) => changes.look(database, wait),
            #[cfg(feature = "postgres")]
            (Self::Postgres(database), Changes::Postgres(changes)) => changes.look(database, wait),
            #[cfg(feature = "postgres")]
            _ => unreachable!("changes are asked of the database that they are of"),
        }
    }

    /// [`Error::Forked`] in a child that was forked after the database was opened.
    pub fn refuse_after_fork(&self) -> Result<()> {
        match self {
            Self::Sqlite(database) => database.refuse_after_fork(),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.refuse_after_fork(),
        }
    }

    /// [`Error::NestedWrite`] for a thread that is inside a write.
    pub fn refuse_nested(&self) -> Result<()> {
        match self {
            Self::Sqlite(database) => database.refuse_nested(),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.refuse_nested(),
        }
    }

    /// Checks everything that can be checked of the open database. Each read waits for as long as `limit`.
    pub fn check(&self, limit: Duration) -> Vec<Check> {
        match self {
            Self::Sqlite(database) => sqlite::check(database, limit),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => postgres::check(database, limit),
        }
    }

    /// By what a process is known that has the database open.
    pub fn mark(&self) -> Mark {
        match self {
            Self::Sqlite(database) => Mark::Files(database.open_files()),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => Mark::Named(database.mark().to_owned()),
        }
    }

    /// The database file, if it is one.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unnecessary_wraps, reason = "a server's is none"))]
    pub fn sqlite(&self) -> Option<&sqlite::Database> {
        match self {
            Self::Sqlite(database) => Some(database),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }

    /// The database file, for what only a file can be asked. `instead`: why a server can't, and what to use.
    pub fn file(&self, instead: &'static str) -> Result<&sqlite::Database> {
        self.sqlite().ok_or_else(|| Error::NotAFile { path: self.address().to_owned(), what: instead })
    }
}

/// What was committed at one moment.
#[cfg(feature = "postgres")]
pub(crate) enum Snapshot<'d> {
    Sqlite(sqlite::Snapshot<'d>),
    Postgres(postgres::Snapshot<'d>),
}

#[cfg(feature = "postgres")]
impl Snapshot<'_> {
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        match self {
            Self::Sqlite(snapshot) => snapshot.read(wait, body),
            Self::Postgres(snapshot) => snapshot.read(wait, body),
        }
    }
}

/// What is asked again and again whether others have committed something.
pub(crate) enum Changes {
    Sqlite(sqlite::Changes),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Changes),
}

/// A thread that waits for another one to write for it.
pub(crate) struct Watch<'d>(sqlite::Watch<'d>);

impl Watch<'_> {
    /// How long to sleep until the next look is due.
    pub const LOOK_EVERY: Duration = sqlite::Watch::LOOK_EVERY;

    /// Looks who holds the write lock, if a look is due.
    pub fn look(&self) {
        self.0.look();
    }

    /// The error of a wait that was in vain.
    pub fn gave_up(&self) -> Error {
        self.0.gave_up()
    }
}
