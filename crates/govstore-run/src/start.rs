//! What a server's start has to do with the database: its row, its limit, and whoever keeps the books from then on.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use govstore::{Container, ProcessInfo, RunId};

use crate::books::{BookKeeping, Books, Opening};
use crate::gate::Gate;
use crate::name;
use crate::options::RunOptions;
use crate::overheard::Overheard;
use crate::say::say;

/// How long a server's start waits for its row in the registry: without it, nobody could end what is left should front and
/// keeper be killed at once. A database that takes longer costs that, and not the server.
const ROW_PATIENCE: Duration = Duration::from_millis(250);

/// How long it waits where the database is asked whether the server may run.
const LIMIT_PATIENCE: Duration = Duration::from_secs(10);

/// Why a server was not run, or why it can't be said how it ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The log could not be opened.
    #[error("cannot open the log {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused a process, a thread, or the like.
    #[error("cannot run the server: {0}")]
    System(#[from] io::Error),
}

#[cfg(all(target_os = "linux", not(govstore_portable)))]
impl From<rustix::io::Errno> for RunError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}

/// All that a server needs to be started.
pub struct Start {
    pub books: Books,
    pub overheard: Arc<Overheard>,
    pub gate: Option<Gate>,
    pub command: Vec<OsString>,
    pub log: Option<File>,
    /// Why it may not be started, if so.
    pub refusal: Option<String>,
}

impl Start {
    /// Opens the log and the books. `on_claim` is called once a reaper has claimed this process.
    pub fn prepare(
        options: RunOptions,
        run_id: Option<RunId>,
        container: Option<Container>,
        on_claim: Box<dyn Fn() + Send>,
    ) -> Result<Self, RunError> {
        let log = options.log_file.map(|path| {
            let opened = File::options().create(true).append(true).open(&path);
            opened.map_err(|source| RunError::Log { path, source })
        });
        let log = log.transpose()?;
        let server = options.name.unwrap_or_else(|| name::of(&options.command));
        let overheard = Arc::new(Overheard::new(options.restart_on_failure));
        let mut info = ProcessInfo::new(server.as_str(), "");
        if let Some(run_id) = run_id {
            info = info.run(run_id);
        }
        if let Some(container) = container {
            info = info.container(container);
        }
        if let Some(limit) = options.limit {
            info = info.at_most(limit);
        }
        let books = Books::open(BookKeeping {
            database: options.database,
            store: options.store,
            info,
            server,
            overheard: Arc::clone(&overheard),
            claimed: on_claim,
        })?;
        let asks_first = options.limit.is_some() || options.governance.is_some();
        let opening = &books.opening(if asks_first { LIMIT_PATIENCE } else { ROW_PATIENCE });
        let refusal = if let Some(Opening::Refused(reason)) = opening { Some(reason.clone()) } else { None };
        let is_registered = matches!(opening, Some(Opening::Registered));
        match (&refusal, options.limit) {
            (Some(reason), _) => say(reason),
            (None, Some(limit)) if !is_registered => {
                say(&format!("the limit of {limit} is not enforced, since the database can't be asked"));
            }
            _ => {}
        }
        let gate = options.governance.map(|governance| Gate::new(governance, books.words()));
        Ok(Self { books, overheard, gate, command: options.command, log, refusal })
    }
}
