//! The statements in SQLite's SQL, by noun.
//!
//! Each is prepared once a connection and cached. Those that belong to an update bind values in the order in which
//! their columns are named, and read columns by position: to look names up would cost 5 to 10 % of an update.
//! Their text has no indentation (`\` at the ends of lines), since it is hashed at each use.

mod agents;
mod calls;
#[cfg(feature = "postgres")]
mod copy;
mod events;
mod history;
mod ledger;
mod locks;
mod processes;
mod settings;
