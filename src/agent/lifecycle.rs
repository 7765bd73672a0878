//! The lifecycle: pause, resume, archive, delete, reset.
//!
//! All but the reset go ahead whoever has the agent locked: an operator can always take an agent out of service.

use rusqlite::named_params;

use super::event::{self, EventKind};
use super::record::{self, Agent, AgentId};
use crate::error::{Error, Result};
use crate::governance::State;
use crate::store::{Store, TxResult, WriteTx};
use crate::text_enum::text_enum;

/// An agent with this tag can't be deleted.
pub(super) const PIONEER_TAG: &str = "pioneer";

text_enum! {
    /// Where an agent is in its life.
    pub enum Lifecycle {
        /// Takes updates.
        Active => "active",
        /// Takes no updates until it is resumed.
        Paused => "paused",
        /// Put away; may be resumed.
        Archived => "archived",
        /// Out of use for good. Its rows stay.
        Deleted => "deleted",
    }
}

impl Store {
    /// Pauses an active agent: updates are refused until it is resumed. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] unless it is active; [`Error::AgentNotFound`].
    pub fn pause(&self, agent_id: &str, reason: Option<&str>) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Paused, "paused", reason, |agent| {
            Ok(agent.lifecycle_status == Lifecycle::Active)
        })
    }

    /// Makes a paused or archived agent active again. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] if it is active or deleted; [`Error::AgentNotFound`].
    pub fn resume(&self, agent_id: &str) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Active, "resumed", None, |agent| {
            Ok(matches!(agent.lifecycle_status, Lifecycle::Paused | Lifecycle::Archived))
        })
    }

    /// Puts an active or paused agent away. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] if it is archived or deleted; [`Error::AgentNotFound`].
    pub fn archive(&self, agent_id: &str, reason: Option<&str>) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Archived, "archived", reason, |agent| {
            Ok(matches!(agent.lifecycle_status, Lifecycle::Active | Lifecycle::Paused))
        })
    }

    /// Deletes an agent for good. Its rows stay. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::Protected`] if it is tagged `pioneer`; [`Error::WrongLifecycle`] if it is deleted already;
    /// [`Error::AgentNotFound`].
    pub fn delete(&self, agent_id: &str) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Deleted, "deleted", None, |agent| {
            agent.check_deletable().map(|()| true)
        })
    }

    /// Puts an agent's state back to that of a new one. Its lifetime total, history, tags, notes and
    /// lifecycle status stay. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] if it is deleted; [`Error::AgentNotFound`]; [`Error::AgentLocked`] and
    /// [`Error::Fenced`], as for an update.
    pub fn reset(&self, agent_id: &str) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.write_once_unlocked(id, |tx| {
            let agent = editable(tx, id, "reset")?;
            reset_state(tx, id)?;
            event::record(tx, id, EventKind::Reset, None)?;
            again(tx, &agent)
        })
    }

    fn change_lifecycle(
        &self,
        agent_id: &str,
        to: Lifecycle,
        action: &'static str,
        reason: Option<&str>,
        allowed: impl FnOnce(&Agent) -> Result<bool>,
    ) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.write(|tx| {
            let agent = record::find(tx, id)?.ok_or_else(|| id.not_found())?;
            if !allowed(&agent)? {
                return Err(refusal(&agent, action).into());
            }
            set_status(tx, id, to)?;
            let kind = match to {
                Lifecycle::Active => EventKind::Resumed,
                Lifecycle::Paused => EventKind::Paused,
                Lifecycle::Archived => EventKind::Archived,
                Lifecycle::Deleted => EventKind::Deleted,
            };
            event::record(tx, id, kind, reason)?;
            again(tx, &agent)
        })
    }
}

impl Agent {
    /// Says whether [`Store::delete`] would take it, without deleting it.
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

/// The agent, unless it is missing or deleted.
pub(super) fn editable(tx: &WriteTx<'_>, id: AgentId<'_>, action: &'static str) -> TxResult<Agent> {
    let agent = record::find(tx, id)?.ok_or_else(|| id.not_found())?;
    if agent.lifecycle_status == Lifecycle::Deleted {
        return Err(refusal(&agent, action).into());
    }
    Ok(agent)
}

/// The agent's row as this transaction leaves it.
pub(super) fn again(tx: &WriteTx<'_>, agent: &Agent) -> TxResult<Agent> {
    let id = AgentId::parse(&agent.agent_id)?;
    record::find(tx, id)?.ok_or_else(|| id.not_found().into())
}

fn refusal(agent: &Agent, action: &'static str) -> Error {
    Error::WrongLifecycle { agent_id: agent.agent_id.clone(), status: agent.lifecycle_status, action }
}

/// Sets the status and its date. Dates say since when, so those of a status that ended go; a deleted agent
/// keeps the date it was archived at.
fn set_status(tx: &WriteTx<'_>, id: AgentId<'_>, status: Lifecycle) -> TxResult<()> {
    let when = |wanted| (status == wanted).then_some(&tx.at_text);
    tx.prepare_cached(
        "UPDATE agents SET
           lifecycle_status = :lifecycle_status,
           paused_at = :paused_at,
           archived_at = CASE WHEN :deleted_at IS NULL THEN :archived_at ELSE archived_at END,
           deleted_at = :deleted_at
         WHERE agent_id = :agent_id",
    )?
    .execute(named_params! {
        ":agent_id": id.as_str(),
        ":lifecycle_status": status.as_str(),
        ":paused_at": when(Lifecycle::Paused),
        ":archived_at": when(Lifecycle::Archived),
        ":deleted_at": when(Lifecycle::Deleted),
    })?;
    Ok(())
}

fn reset_state(tx: &WriteTx<'_>, id: AgentId<'_>) -> TxResult<()> {
    let fresh = State::default();
    tx.prepare_cached(
        "UPDATE agents SET
           energy = :energy, integrity = :integrity, entropy = :entropy, void_integral = :void_integral,
           coherence = NULL, lambda1 = :lambda1, pi_integral = :pi_integral, elapsed = :elapsed,
           risk_score = NULL, void_active = 0, update_count = 0,
           last_decision = NULL, last_decision_reason = NULL,
           parameters = NULL, recent_void = x''
         WHERE agent_id = :agent_id",
    )?
    .execute(named_params! {
        ":agent_id": id.as_str(),
        ":energy": fresh.energy,
        ":integrity": fresh.integrity,
        ":entropy": fresh.entropy,
        ":void_integral": fresh.void_integral,
        ":lambda1": fresh.lambda1,
        ":pi_integral": fresh.pi_integral,
        ":elapsed": fresh.elapsed,
    })?;
    Ok(())
}
