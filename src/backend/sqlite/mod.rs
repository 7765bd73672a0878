//! SQLite: one file, opened, migrated, read, and written through one door.
//!
//! This folder is the only place that names rusqlite or r2d2. [`Database`] is the open file: [`Database::read`] and
//! [`Database::write`] are its doors, and what they hand to a body runs the [`statements`]. `transaction` is the only
//! place that begins a transaction, and it is always `BEGIN IMMEDIATE`: whatever a decision rests on is read inside
//! the transaction that acts on it.
//!
//! | files | do |
//! | --- | --- |
//! | `open`, `location`, `migrate`, `migrations`, `schema` | open a file: where it may lie, whose it is, its schema |
//! | `database`, `connection`, `transaction`, `immediate`, `column` | the doors, and what errors mean |
//! | `queue`, `busy`, `fairness`, `lock_owner`, `holder` | waiting for the write lock, and who holds it |
//! | `doubt` | a commit whose fate is unknown |
//! | `changes` | whether anybody has written something |
//! | `file_identity`, `users` | whether the names still mean the open files, and who has them open |
//! | `staging_file`, `copy`, `backup`, `keep`, `restore` | backups |
//! | `check`, `vacuum` | the state of the file |

mod backup;
mod busy;
mod changes;
mod check;
mod column;
mod connection;
mod copy;
mod database;
mod doubt;
mod fairness;
mod file_identity;
mod holder;
mod immediate;
mod keep;
mod location;
mod lock_owner;
mod migrate;
mod migrations;
mod open;
mod queue;
mod restore;
mod schema;
mod staging_file;
mod statements;
mod transaction;
mod users;
mod vacuum;

pub use backup::Backup;
pub(crate) use changes::Changes;
pub(crate) use check::check;
#[cfg(feature = "postgres")]
pub(crate) use database::Snapshot;
pub(crate) use database::{Database, Watch};
pub(crate) use migrations::SUPPORTED;
#[cfg(feature = "postgres")]
pub(crate) use open::name_copy;
pub(crate) use open::{OpenOptions, create_with, open};
pub(crate) use restore::{failed as restore_failed, in_use, restore};
pub(crate) use users::users;
pub(crate) use vacuum::vacuum;
