//! PostgreSQL: one database for agents, servers and people on many machines.
//!
//! This folder is the only place that names tokio-postgres. [`Database`] has the same two doors as SQLite's, and what
//! they hand to a body runs the [`statements`].
//!
//! | files | do |
//! | --- | --- |
//! | `open`, `migrate`, `trial` | open a database: whose it is, its schema; one beside it for a trial |
//! | `conninfo`, `tls` | addresses, and what is checked of a server's certificate |
//! | `connect`, `runtime`, `link` | connections, and waiting for answers |
//! | `database`, `transaction`, `value` | the doors: retries, and commits that were not answered |
//! | `failure`, `holder` | what errors mean, and who was in the way |
//! | `check` | the state of the database |
//! | `changes` | whether anybody has written something |

mod changes;
mod check;
mod connect;
mod conninfo;
mod database;
mod failure;
mod holder;
mod link;
mod migrate;
mod open;
mod runtime;
mod statements;
mod tls;
mod transaction;
mod trial;
mod value;

pub(crate) use changes::Changes;
pub(crate) use check::check;
pub(crate) use database::{Database, Snapshot};
pub(crate) use migrate::SUPPORTED;
pub(crate) use open::{OpenOptions, open};
pub(crate) use transaction::LONGEST_INTERVAL;
pub(crate) use trial::Trial;
