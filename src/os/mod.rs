//! The operating system, as far as govstore needs it: processes, clocks, namespaces, and the identity of files.
//!
//! Nothing here knows of databases or agents, and nothing else in the library asks the system about processes. The
//! trait [`System`] has two sides: `linux` on Linux (procfs, pidfd) and `portable` elsewhere (sysinfo, `kill`). The
//! portable side is compiled on Linux too: unit tests use it beside the other, and `--cfg govstore_portable` builds
//! the crate on it alone.

#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod cgroup;
pub(crate) mod clock;
mod container;
mod file_id;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod linux;
mod mark;
mod mutex;
mod path;
mod portable;
mod system;
mod usage;

use std::io;

pub(crate) use container::remove_container;
pub(crate) use file_id::{FileId, file_id, file_ids};
pub(crate) use mark::Mark;
#[cfg(feature = "postgres")]
pub(crate) use mark::NamedFile;
pub(crate) use mutex::lock;
pub(crate) use path::with_suffix;
pub(crate) use system::{
    Here, Hold, LockKind, NoHold, Parent, Presence, Remains, Sighting, Signal, System, parent_pid,
};
pub use usage::Usage;
pub(crate) use usage::usage;

#[cfg(any(not(target_os = "linux"), govstore_portable))]
pub(crate) use portable::Portable as Native;
#[cfg(test)]
pub(crate) use portable::Portable;
#[cfg(test)]
pub(crate) use system::Remnant;

#[cfg(all(target_os = "linux", not(govstore_portable)))]
pub(crate) use linux::Linux as Native;

/// The system that this program was built for.
///
/// # Errors
///
/// The system's reason why this process can't tell who it is.
pub(crate) fn native() -> io::Result<Native> {
    Native::new()
}
