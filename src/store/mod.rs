//! The public face: a [`Store`] and what it offers, by noun.
//!
//! [`handle`] has the store itself, with the doors to read and to write, and the plain state that a process remembers
//! between its calls. The other files have its methods: each opens a door, calls functions over statements in
//! `agents`, `locks`, `registry` or `reaper`, and takes note of what they did once that is committed. When something
//! happens is said here; what happens is said there.

mod agent_lock;
mod agents;
mod backup;
mod calls;
mod changes;
#[cfg(feature = "postgres")]
mod copy;
mod group;
mod handle;
mod heartbeat;
mod import;
mod options;
mod processes;
mod reaping;
mod registration;
mod settings;
mod unblocking;
mod update;
mod waiting;

pub use agent_lock::AgentLock;
pub use backup::restore;
pub use changes::ChangeWatch;
#[cfg(feature = "postgres")]
pub use copy::DatabaseCopy;
pub use handle::Store;
pub use options::StoreOptions;
#[cfg(feature = "postgres")]
pub use options::Trial;
pub use registration::Registration;
