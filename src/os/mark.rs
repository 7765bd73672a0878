//! By what a process is known that has a database open: a PID and a row prove nothing, for anybody can write a row.

use super::file_id::FileId;
use super::system::System;

/// What everybody has open that uses a database.
pub(crate) enum Mark {
    /// The database's own files.
    Files(Vec<FileId>),
    /// A file in memory of this name. A database on a server has no files here.
    #[cfg(feature = "postgres")]
    Named(String),
}

impl Mark {
    /// Whether a process has it; `None` where the system doesn't tell, as of other users' processes.
    pub fn is_on(&self, pid: u32, system: &dyn System) -> Option<bool> {
        match self {
            Self::Files(files) => system.has_open(pid, files),
            #[cfg(feature = "postgres")]
            Self::Named(name) => system.has_open_in_memory(pid, name),
        }
    }
}

/// A file in memory that says by its name what this process uses, until it drops. Programs that this one starts don't
/// have it.
#[cfg(feature = "postgres")]
pub(crate) struct NamedFile {
    #[cfg(all(target_os = "linux", not(govstore_portable)))]
    _file: Option<std::os::fd::OwnedFd>,
}

#[cfg(feature = "postgres")]
impl NamedFile {
    /// Where there is none to be had, others can't be sure of this process, and leave it alone.
    #[cfg(all(target_os = "linux", not(govstore_portable)))]
    pub fn new(name: &str) -> Self {
        use rustix::fs::{MemfdFlags, memfd_create};
        Self { _file: memfd_create(name, MemfdFlags::CLOEXEC).ok() }
    }

    /// Other systems don't show what a process has open.
    #[cfg(not(all(target_os = "linux", not(govstore_portable))))]
    pub const fn new(_name: &str) -> Self {
        Self {}
    }
}
