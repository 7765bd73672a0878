//! What whoever was refused can do about it.

use govstore::{ActorKind, Error, EventKind, Lifecycle, Store};

use super::bounds::{REASON_CHARS, abridged};
use super::refusal::Refusal;
use super::session::Session;

/// A refusal with what the caller can do about it: with the tools that there are, or by asking the operator. It may
/// look into the database.
pub fn explained(refusal: Refusal, session: &Session) -> Refusal {
    let error = match refusal {
        Refusal::Store(error) => error,
        other => return other,
    };
    if let Error::WrongLifecycle { agent_id, action, .. } | Error::SetByOperator { agent_id, action, .. } =
        &error
        && let Some(by_operator) = set_aside_by_operator(session.store(), agent_id)
    {
        return Refusal::Explained(format!(
            "agent {agent_id:?} cannot be {action}: it was {by_operator}; ask them"
        ));
    }
    let has = |tool| session.offer.has(tool);
    let hint = match error {
        Error::AgentNotFound { .. } if has("list_agents") => "; list_agents lists them",
        Error::WrongLifecycle {
            status: Lifecycle::Paused | Lifecycle::Archived, action: "updated", ..
        } if has("resume_agent") => "; resume_agent makes it active again",
        Error::AgentLocked { holder: Some(_), .. } => ", or ask a person to take the lock away",
        _ => return Refusal::Store(error),
    };
    Refusal::Explained(format!("{error}{hint}"))
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
