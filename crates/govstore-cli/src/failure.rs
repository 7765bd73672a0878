//! How a command ends: its exit code, and why it failed.

use std::io;
use std::process::ExitCode;

use govstore::LockHolder;

use crate::hint::Hinted;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// It did what it was asked to.
    pub const DONE: Self = Self(0);
    /// It did not, or not all of it.
    pub const FAILED: Self = Self(1);
    /// The command line is not right.
    pub const USAGE: Self = Self(2);
    /// The database, or the agent, was locked for too long.
    pub const BUSY: Self = Self(4);
    /// Whether it did is not known.
    pub const IN_DOUBT: Self = Self(5);
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Why a command failed. Its message has that of its source in it, as those of the library have.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The library refused.
    #[error("{}", Hinted(.0))]
    Store(#[from] govstore::Error),
    /// The MCP server could not start, or broke off.
    #[error(transparent)]
    Serve(#[from] govstore_mcp::ServeError),
    /// A server could not be run.
    #[error(transparent)]
    Run(#[from] govstore_run::RunError),
    /// The output could not be written.
    #[error("cannot write to standard output: {0}")]
    Stdout(#[from] io::Error),
    /// A file, or standard input, could not be read.
    #[error("cannot read {what}: {reason}")]
    Input {
        /// The name of the file, or of the stream.
        what: String,
        /// The reason, in words.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {what}: {reason}")]
    Written {
        /// The name of the file, or of the stream.
        what: String,
        /// The reason, in words.
        reason: String,
    },
    /// The command line parses and makes no sense.
    #[error("{0}")]
    Usage(String),
    /// There is no place for the database.
    #[error("no data folder is known for this user; name the database with --db or GOVSTORE_DB")]
    NoDataFolder,
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(error) if error.is_busy() => Exit::BUSY,
            _ if self.is_in_doubt() => Exit::IN_DOUBT,
            Self::Usage(_) => Exit::USAGE,
            _ => Exit::FAILED,
        }
    }

    /// Whether it may have been done all the same.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_in_doubt())
    }

    /// Who was in the way, if somebody was.
    pub fn holder(&self) -> Option<&LockHolder> {
        match self {
            Self::Store(error) => error.holder(),
            _ => None,
        }
    }

    /// Whether whoever reads stdout has stopped reading, which is no failure.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }
}
