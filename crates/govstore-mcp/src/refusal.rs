//! Why a call was refused, in words for whoever called.

use govstore::{Error, Lifecycle};

/// A call that was refused. Nothing of what it asked for was done, unless it is in doubt.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// An argument is missing, unknown, of the wrong type or too large.
    #[error("{0}")]
    Argument(String),
    /// `delete_agent` without `confirm`.
    #[error("set confirm to true to delete agent {agent_id:?}")]
    Unconfirmed { agent_id: String },
    /// An export could not be written.
    #[error("cannot write {path}: {source}")]
    Export { path: String, source: std::io::Error },
    /// The library refused.
    #[error("{}{}", .0, hint(.0))]
    Store(#[source] Error),
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
}

/// What to do about an error of the library, in words that a model can act on.
fn hint(error: &Error) -> &'static str {
    match error {
        Error::AgentNotFound { .. } => "; list_agents lists them, process_agent_update makes new ones",
        Error::WrongLifecycle {
            status: Lifecycle::Paused | Lifecycle::Archived, action: "updated", ..
        } => "; resume_agent makes it active again",
        Error::AgentLocked { holder: Some(_), .. } => ", or ask a person to take the lock away",
        _ => "",
    }
}
