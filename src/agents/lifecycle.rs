//! The lifecycle: pause, resume, archive, delete, reset.
//!
//! All but the reset go ahead even if the agent is locked: an operator can always take an agent out of service.

use super::event;
use super::row::find;
use crate::backend::statements::{Transaction, TxResult};
use crate::error::{Error, Result};
use crate::governance::State;
use crate::model::{Actor, ActorKind, Agent, AgentEvent, AgentId, EventKind, Lifecycle};

/// An agent with this tag can't be deleted.
pub(super) const PIONEER_TAG: &str = "pioneer";

/// Gives an agent another lifecycle status, where its present one allows that. Returns it as it now is.
pub(crate) fn change(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    to: Lifecycle,
    reason: Option<&str>,
    by: &Actor,
) -> TxResult<Agent> {
    use Lifecycle::{Active, Archived, Deleted, Paused};

    let agent = find(tx, id)?;
    let takes_over = agent.lifecycle_status == to
        && by.kind() == ActorKind::Operator
        && agent.lifecycle_actor != Some(ActorKind::Operator);
    let (event, is_allowed) = match to {
        Active => (EventKind::Resumed, matches!(agent.lifecycle_status, Paused | Archived)),
        Paused => (EventKind::Paused, agent.lifecycle_status == Active || takes_over),
        Archived => (EventKind::Archived, matches!(agent.lifecycle_status, Active | Paused) || takes_over),
        Deleted => (EventKind::Deleted, agent.check_deletable().map(|()| true)?),
    };
    if !is_allowed {
        return Err(refusal(&agent, event.as_str()).into());
    }
    refuse_undoing(tx, &agent, event.as_str(), by)?;
    tx.set_lifecycle(id.as_str(), to, by.kind())?;
    event::record(tx, id, event, reason, by)?;
    find(tx, id)
}

/// Refuses all but operators to undo what an operator did: an agent that an operator paused or archived stays so. It
/// guards against mistakes of models and of programs; who can write the file can do anything.
fn refuse_undoing(tx: &dyn Transaction, agent: &Agent, action: &'static str, by: &Actor) -> TxResult<()> {
    let is_set_aside = matches!(agent.lifecycle_status, Lifecycle::Paused | Lifecycle::Archived);
    let is_by_operator = agent.lifecycle_actor == Some(ActorKind::Operator);
    if !is_set_aside || !is_by_operator || by.kind() == ActorKind::Operator {
        return Ok(());
    }
    let set_aside = |event: &AgentEvent| matches!(event.event, EventKind::Paused | EventKind::Archived);
    let reason = tx.events(&agent.agent_id)?.into_iter().rev().find(set_aside).and_then(|event| event.reason);
    let agent_id = agent.agent_id.clone();
    Err(Error::SetByOperator { agent_id, status: agent.lifecycle_status, reason, action }.into())
}

/// Puts an agent's state back to that of a new one. Returns it as it now is.
pub(crate) fn reset(tx: &dyn Transaction, id: AgentId<'_>, by: &Actor) -> TxResult<Agent> {
    let agent = editable(tx, id, "reset")?;
    refuse_undoing(tx, &agent, "reset", by)?;
    tx.reset_state(id.as_str(), &State::default())?;
    event::record(tx, id, EventKind::Reset, None, by)?;
    find(tx, id)
}

/// The agent, unless it is missing or deleted.
pub(crate) fn editable(tx: &dyn Transaction, id: AgentId<'_>, action: &'static str) -> TxResult<Agent> {
    let agent = find(tx, id)?;
    if agent.lifecycle_status == Lifecycle::Deleted {
        return Err(refusal(&agent, action).into());
    }
    Ok(agent)
}

impl Agent {
    /// Says whether [`Store::delete`](crate::Store::delete) would take it, without deleting it.
    ///
    /// # Errors
    ///
    /// [`Error::Protected`] if it is tagged `pioneer`; [`Error::WrongLifecycle`] if it is deleted already.
    pub fn check_deletable(&self) -> Result<()> {
        if self.tags.iter().any(|tag| tag == PIONEER_TAG) {
            Err(Error::Protected { agent_id: self.agent_id.clone() })
        } else if self.lifecycle_status == Lifecycle::Deleted {
            Err(refusal(self, "deleted"))
        } else {
            Ok(())
        }
    }
}

/// The error of an update of an agent that takes none.
pub(super) fn refuse_update(id: AgentId<'_>, status: Lifecycle) -> Error {
    Error::WrongLifecycle { agent_id: id.as_str().to_owned(), status, action: "updated" }
}

fn refusal(agent: &Agent, action: &'static str) -> Error {
    Error::WrongLifecycle { agent_id: agent.agent_id.clone(), status: agent.lifecycle_status, action }
}
