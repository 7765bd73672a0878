//! Why a call was refused, in words for whoever called.

use govstore::Error;

/// A call that was refused. Nothing of what it asked for was done, unless it is in doubt.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// An argument is missing, unknown, of the wrong type or too large.
    #[error("{0}")]
    Argument(String),
    /// The server was started with `--read-only`.
    #[error("this server is read-only: {tool} would change the database; ask the person who set it up")]
    ReadOnly { tool: &'static str },
    /// The server was started with `--without` this tool.
    #[error("this server was set up without {tool}; ask the person who set it up")]
    LeftOut { tool: &'static str },
    /// `delete_agent` without `confirm`.
    #[error("set confirm to true to delete agent {agent_id:?}")]
    Unconfirmed { agent_id: String },
    /// An export could not be written.
    #[error("cannot write {path}: {source}")]
    Export { path: String, source: std::io::Error },
    /// The library refused.
    #[error("{0}")]
    Store(#[source] Error),
    /// The library refused, and this says also what can be done about it.
    #[error("{0}")]
    Explained(String),
    /// The call was still waiting when it was cancelled, or when the server ended.
    #[error("the call was not made: it was cancelled, or the server is ending")]
    NotMade,
    /// The tool panicked.
    #[error("the tool failed in a way that it should not; the server's log says how")]
    Panicked,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Cancelled => Self::NotMade,
            other => Self::Store(other),
        }
    }
}

impl Refusal {
    /// Whether what the call asked for may have been done all the same.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_in_doubt())
    }

    /// What the call would do if it were confirmed.
    pub fn warning(&self) -> Option<String> {
        let Self::Unconfirmed { agent_id } = self else { return None };
        Some(format!(
            "this takes agent {agent_id:?} out of use for good; its rows stay, and backup_first exports its history"
        ))
    }
}
