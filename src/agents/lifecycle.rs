//! The lifecycle: pause, resume, archive, delete, reset.
//!
//! All but the reset go ahead even if the agent is locked: an operator can always take an agent out of service.

use super::event;
use super::row::find;
use crate::backend::statements::{Transaction, TxResult};
use crate::error::{Error, Result};
use crate::governance::State;
use crate::model::{Agent, AgentId, EventKind, Lifecycle};

/// An agent with this tag can't be deleted.
pub(super) const PIONEER_TAG: &str = "pioneer";

/// Gives an agent another lifecycle status, where its present one allows that. Returns it as it now is.
pub(crate) fn change(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    to: Lifecycle,
    reason: Option<&str>,
) -> TxResult<Agent> {
    use Lifecycle::{Active, Archived, Deleted, Paused};

    let agent = find(tx, id)?;
    let (event, is_allowed) = match to {
        Active => (EventKind::Resumed, matches!(agent.lifecycle_status, Paused | Archived)),
        Paused => (EventKind::Paused, agent.lifecycle_status == Active),
        Archived => (EventKind::Archived, matches!(agent.lifecycle_status, Active | Paused)),
        Deleted => (EventKind::Deleted, agent.check_deletable().map(|()| true)?),
    };
    if !is_allowed {
        return Err(refusal(&agent, event.as_str()).into());
    }
    tx.set_lifecycle(id.as_str(), to)?;
    event::record(tx, id, event, reason)?;
    find(tx, id)
}

/// Puts an agent's state back to that of a new one. Returns it as it now is.
pub(crate) fn reset(tx: &dyn Transaction, id: AgentId<'_>) -> TxResult<Agent> {
    editable(tx, id, "reset")?;
    tx.reset_state(id.as_str(), &State::default())?;
    event::record(tx, id, EventKind::Reset, None)?;
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
