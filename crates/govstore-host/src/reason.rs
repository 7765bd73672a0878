//! The reasons for which a server ends.

use std::fmt;

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// stdin or stdout is closed.
    ClientGone,
    /// The process that started this one is gone, though stdin may still be open elsewhere.
    ParentGone,
    /// SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// A reaper has claimed this process, and may be about to signal it.
    Claimed,
    /// The database was moved, deleted or replaced. Calls would be refused from here on; the server that the client
    /// starts next opens what is there then.
    Displaced,
    /// A commit is in doubt. Calls that write would be refused from here on; the server that the client starts next
    /// opens the database again.
    InDoubt,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientGone => "the client is gone",
            Self::ParentGone => "the parent process is gone",
            Self::Signal => "a signal says so",
            Self::Claimed => "a reaper has claimed this server",
            Self::Displaced => "the database is not where it was",
            Self::InDoubt => "a commit is in doubt",
        })
    }
}
