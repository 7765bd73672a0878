//! Why a call was refused, in words for whoever called.

use govstore::{ActorKind, Error, EventKind, Lifecycle, Store};

use super::bounds::{REASON_CHARS, abridged};
use super::session::Session;

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

    /// The same with what the caller can do about it: with the tools that there are, or by asking the operator. It may
    /// look into the database.
    pub fn explained(self, session: &Session) -> Self {
        let Self::Store(error) = self else { return self };
        if let Error::WrongLifecycle { agent_id, action, .. } | Error::SetByOperator { agent_id, action, .. } =
            &error
            && let Some(by_operator) = set_aside_by_operator(session.store(), agent_id)
        {
            return Self::Explained(format!(
                "agent {agent_id:?} cannot be {action}: it was {by_operator}; ask them"
            ));
        }
        let has = |tool| session.offer.has(tool);
        let hint = match error {
            Error::AgentNotFound { .. } if has("list_agents") => "; list_agents lists them",
            Error::WrongLifecycle {
                status: Lifecycle::Paused | Lifecycle::Archived,
                action: "updated",
                ..
            } if has("resume_agent") => "; resume_agent makes it active again",
            Error::AgentLocked { holder: Some(_), .. } => ", or ask a person to take the lock away",
            _ => return Self::Store(error),
        };
        Self::Explained(format!("{error}{hint}"))
    }
}

/// Who paused or archived the agent and why, if it was an operator.
fn set_aside_by_operator(store: &Store, agent_id: &str) -> Option<String> {
    let agent = store.agent(agent_id).ok()?;
    let is_set_aside = matches!(agent.lifecycle_status, Lifecycle::Paused | Lifecycle::Archived);
    if !is_set_aside || agent.lifecycle_actor != Some(ActorKind::Operator) {
        return None;
    }
    let mut events = store.events(agent_id).ok()?.into_iter().rev();
    let event = events.find(|event| matches!(event.event, EventKind::Paused | EventKind::Archived))?;
    let name = event.actor_name.map(|name| format!(" {name}")).unwrap_or_default();
    let why = event.reason.map_or_else(|| ", who gave no reason".to_owned(), |why| format!(": {why}"));
    Some(abridged(format!("{} by the operator{name}{why}", agent.lifecycle_status), REASON_CHARS))
}
