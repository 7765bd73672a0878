//! Pause, resume, archive, delete, reset.

use std::path::PathBuf;

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exports;
use crate::argument::{REASON_MAX_CHARS, Text, or_default};
use crate::history::Format;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::AgentArguments;
use crate::tool::{Effect, Tool};
use crate::wire;
use govstore::Timestamp;

pub struct PauseAgent;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct PauseArguments {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// Why, for whoever reads its events later.
    #[serde(default, deserialize_with = "or_default")]
    reason: Text<REASON_MAX_CHARS>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct PauseOutcome {
    message: String,
    agent_id: String,
    /// Since when it is paused.
    #[schemars(with = "Option<wire::Timestamp>")]
    paused_at: Option<Timestamp>,
}

impl Tool for PauseAgent {
    const NAME: &'static str = "pause_agent";
    const TITLE: &'static str = "Pause an agent";
    const DESCRIPTION: &'static str =
        "Pause an active agent: its updates are refused until resume_agent. Its state stays.";
    const EFFECT: Effect = Effect::Changes;
    type Arguments = PauseArguments;
    type Outcome = PauseOutcome;

    fn call(
        session: &Session,
        PauseArguments { agent_id, reason }: PauseArguments,
    ) -> Result<PauseOutcome, Refusal> {
        let agent = session.store().pause(&agent_id, given(&reason))?;
        Ok(PauseOutcome {
            message: format!("paused agent {agent_id:?}"),
            agent_id,
            paused_at: agent.paused_at,
        })
    }
}

pub struct ResumeAgent;

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Done {
    message: String,
    agent_id: String,
}

impl Tool for ResumeAgent {
    const NAME: &'static str = "resume_agent";
    const TITLE: &'static str = "Resume an agent";
    const DESCRIPTION: &'static str = "Make a paused or archived agent active again.";
    const EFFECT: Effect = Effect::Changes;
    type Arguments = AgentArguments;
    type Outcome = Done;

    fn call(session: &Session, AgentArguments { agent_id }: AgentArguments) -> Result<Done, Refusal> {
        session.store().resume(&agent_id)?;
        Ok(Done { message: format!("resumed agent {agent_id:?}"), agent_id })
    }
}

pub struct ArchiveAgent;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct ArchiveArguments {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// Why, for whoever reads its events later.
    #[serde(default, deserialize_with = "or_default")]
    reason: Text<REASON_MAX_CHARS>,
    /// Accepted for compatibility; it has no effect.
    #[serde(default, deserialize_with = "or_default", rename = "keep_in_memory")]
    _keep_in_memory: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct ArchiveOutcome {
    message: String,
    agent_id: String,
    /// Since when it is archived.
    #[schemars(with = "Option<wire::Timestamp>")]
    archived_at: Option<Timestamp>,
}

impl Tool for ArchiveAgent {
    const NAME: &'static str = "archive_agent";
    const TITLE: &'static str = "Archive an agent";
    const DESCRIPTION: &'static str = "Put an active or paused agent away. Its state and history stay, its \
        updates are refused, and resume_agent brings it back.";
    const EFFECT: Effect = Effect::Changes;
    type Arguments = ArchiveArguments;
    type Outcome = ArchiveOutcome;

    fn call(session: &Session, arguments: ArchiveArguments) -> Result<ArchiveOutcome, Refusal> {
        let ArchiveArguments { agent_id, reason, .. } = arguments;
        let agent = session.store().archive(&agent_id, given(&reason))?;
        let message = format!("archived agent {agent_id:?}");
        Ok(ArchiveOutcome { message, agent_id, archived_at: agent.archived_at })
    }
}

/// A reason, if one was given.
fn given<const MAX: usize>(reason: &Text<MAX>) -> Option<&str> {
    (!reason.0.is_empty()).then_some(&reason.0)
}

pub struct DeleteAgent;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct DeleteArguments {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// Must be true, or nothing is deleted.
    #[serde(default, deserialize_with = "or_default")]
    confirm: bool,
    /// Export the agent's history into the export folder first; true if left out.
    #[serde(default)]
    #[schemars(with = "bool", extend("default" = true))]
    backup_first: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct DeleteOutcome {
    message: String,
    agent_id: String,
    /// The export that was written first; null without `backup_first`.
    archived_to: Option<PathBuf>,
}

impl Tool for DeleteAgent {
    const NAME: &'static str = "delete_agent";
    const TITLE: &'static str = "Delete an agent";
    const DESCRIPTION: &'static str = "Take an agent out of use for good; it can't be resumed. Its rows stay \
        in the database. Needs confirm: true, and is refused for agents tagged pioneer. To put an agent away \
        for a while use archive_agent.";
    const EFFECT: Effect = Effect::Removes;
    type Arguments = DeleteArguments;
    type Outcome = DeleteOutcome;

    fn call(session: &Session, arguments: DeleteArguments) -> Result<DeleteOutcome, Refusal> {
        let DeleteArguments { agent_id, confirm, backup_first } = arguments;
        if !confirm {
            return Err(Refusal::Unconfirmed { agent_id });
        }
        session.store().agent(&agent_id)?.check_deletable()?; // so that what is refused leaves no export
        let archived_to = if backup_first.unwrap_or(true) {
            Some(exports::dated(session, &agent_id, Format::Json)?.path)
        } else {
            None
        };
        session.store().delete(&agent_id)?;
        Ok(DeleteOutcome { message: format!("deleted agent {agent_id:?}"), agent_id, archived_to })
    }
}

pub struct ResetMonitor;

impl Tool for ResetMonitor {
    const NAME: &'static str = "reset_monitor";
    const TITLE: &'static str = "Reset an agent's state";
    const DESCRIPTION: &'static str = "Put an agent's governance state back to that of a new agent. Its \
        history, lifetime total, tags, notes and lifecycle status stay.";
    const EFFECT: Effect = Effect::Removes;
    type Arguments = AgentArguments;
    type Outcome = Done;

    fn call(session: &Session, AgentArguments { agent_id }: AgentArguments) -> Result<Done, Refusal> {
        session.store().reset(&agent_id)?;
        Ok(Done { message: format!("reset the state of agent {agent_id:?}"), agent_id })
    }
}
