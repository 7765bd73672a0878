//! What `govstore run` is asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use govstore::StoreOptions;

/// How long a server may take to end, in two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graces {
    /// From the end of its input to SIGTERM.
    pub end_of_input: Duration,
    /// From SIGTERM to SIGKILL.
    pub terminate: Duration,
}

/// One second each: clients give a server two before they kill what they started.
impl Default for Graces {
    fn default() -> Self {
        Self { end_of_input: Duration::from_secs(1), terminate: Duration::from_secs(1) }
    }
}

/// Which agent the calls of tools are governed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentName {
    /// This one.
    Given(String),
    /// The one that is called as the client calls itself.
    Client,
}

/// Whether and how calls of tools are governed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governance {
    /// Who calls.
    pub agent: AgentName,
    /// Refuse calls while the database can't be reached. Otherwise they pass.
    pub fail_closed: bool,
    /// Make one update of the agent for each call.
    pub update: bool,
}

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The server's program and its arguments.
    pub command: Vec<OsString>,
    /// The server's name in the registry; `None`: after its package or program.
    pub name: Option<String>,
    /// How many servers of that name may run.
    pub limit: Option<u32>,
    /// How long the server may take to end.
    pub graces: Graces,
    /// To which file what the server writes on its standard error is appended.
    pub log_file: Option<PathBuf>,
    /// Where the database is; `Err`: why nobody can tell.
    pub database: Result<PathBuf, String>,
    /// How it is opened.
    pub store: StoreOptions,
    /// Whether and how calls of tools are governed.
    pub governance: Option<Governance>,
    /// Start the server again when it fails, for as long as the client is there. Known on Linux alone.
    pub restart_on_failure: bool,
}
