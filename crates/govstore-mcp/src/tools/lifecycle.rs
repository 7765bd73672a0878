//! Pause, resume, archive, delete, reset.
//!
//! A call that finds done what it asks for changes nothing, says so, and succeeds, as it did in v1.0.3: whoever calls it
//! again after an answer that was lost should not have to tell the two apart.

use std::path::PathBuf;

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exports;
use crate::argument::{AgentId, REASON_MAX_CHARS, Text, or_default};
use crate::history::Format;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::{AgentArguments, is_measured};
use crate::tool::{Effect, Field, Tool};
use govstore::{ActorKind, Agent, Error, Lifecycle, Timestamp};

pub struct PauseAgent;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct PauseArguments {
    /// The agent.
    agent_id: AgentId,
    /// Why, for people who read it later.
    #[serde(default, deserialize_with = "or_default")]
    reason: Text<REASON_MAX_CHARS>,
}

#[derive(Serialize)]
pub struct PauseOutcome {
    message: String,
    agent_id: String,
    paused_at: Option<Timestamp>,
}

impl Tool for PauseAgent {
    const NAME: &'static str = "pause_agent";
    const TITLE: &'static str = "Pause an agent";
    const DESCRIPTION: &'static str = "Refuse an agent's updates until it is resumed. Call it when a person \
        should look first; give the reason.";
    const EFFECT: Effect = Effect::Changes;
    const RESULT: &'static [Field] = &[("message", "string")];
    type Arguments = PauseArguments;
    type Outcome = PauseOutcome;

    fn call(session: &Session, arguments: PauseArguments) -> Result<PauseOutcome, Refusal> {
        let PauseArguments { agent_id: AgentId(agent_id), reason } = arguments;
        let paused = session.store().pause(&agent_id, given(&reason));
        let (agent, message) = now(session, &agent_id, Lifecycle::Paused, paused)?;
        Ok(PauseOutcome { message, agent_id, paused_at: agent.paused_at })
    }
}

pub struct ResumeAgent;

#[derive(Serialize)]
pub struct Done {
    message: String,
    agent_id: String,
}

impl Tool for ResumeAgent {
    const NAME: &'static str = "resume_agent";
    const TITLE: &'static str = "Resume an agent";
    const DESCRIPTION: &'static str = "Make a paused or archived agent active again, once what it was paused \
        for is settled. What the operator paused only the operator resumes: ask them.";
    const EFFECT: Effect = Effect::Changes;
    const RESULT: &'static [Field] = &[("message", "string")];
    type Arguments = AgentArguments;
    type Outcome = Done;

    fn call(session: &Session, arguments: AgentArguments) -> Result<Done, Refusal> {
        let AgentId(agent_id) = arguments.agent_id;
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
    agent_id: AgentId,
    /// Why, for people who read it later.
    #[serde(default, deserialize_with = "or_default")]
    reason: Text<REASON_MAX_CHARS>,
    /// Accepted and without effect.
    #[serde(default, deserialize_with = "or_default", rename = "keep_in_memory")]
    _keep_in_memory: bool,
}

#[derive(Serialize)]
pub struct ArchiveOutcome {
    message: String,
    agent_id: String,
    archived_at: Option<Timestamp>,
    /// Never: the state of agents is in the database, and nowhere else.
    kept_in_memory: bool,
}

impl Tool for ArchiveAgent {
    const NAME: &'static str = "archive_agent";
    const TITLE: &'static str = "Archive an agent";
    const DESCRIPTION: &'static str = "Put an agent away that has done its work. Its updates are refused; \
        resume_agent brings it back.";
    const EFFECT: Effect = Effect::Changes;
    const RESULT: &'static [Field] = &[("message", "string")];
    type Arguments = ArchiveArguments;
    type Outcome = ArchiveOutcome;

    fn call(session: &Session, arguments: ArchiveArguments) -> Result<ArchiveOutcome, Refusal> {
        let ArchiveArguments { agent_id: AgentId(agent_id), reason, .. } = arguments;
        let archived = session.store().archive(&agent_id, given(&reason));
        let (agent, message) = now(session, &agent_id, Lifecycle::Archived, archived)?;
        Ok(ArchiveOutcome { message, agent_id, archived_at: agent.archived_at, kept_in_memory: false })
    }
}

/// A reason, if one was given.
fn given<const MAX: usize>(reason: &Text<MAX>) -> Option<&str> {
    (!reason.0.is_empty()).then_some(&reason.0)
}

/// The agent after a change of its lifecycle, and what was done; if it was `wanted` already, that is nothing.
fn now(
    session: &Session,
    agent_id: &str,
    wanted: Lifecycle,
    changed: govstore::Result<Agent>,
) -> Result<(Agent, String), Refusal> {
    match changed {
        Ok(agent) => Ok((agent, format!("{wanted} agent {agent_id:?}"))),
        Err(Error::WrongLifecycle { status, .. }) if status == wanted => {
            let message = format!("nothing changed: agent {agent_id:?} is {wanted} already");
            Ok((session.store().agent(agent_id)?, message))
        }
        Err(other) => Err(other.into()),
    }
}

pub struct DeleteAgent;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct DeleteArguments {
    /// The agent.
    agent_id: AgentId,
    /// Must be true, or nothing is deleted.
    #[serde(default, deserialize_with = "or_default")]
    confirm: bool,
    /// Export its history first; true if left out.
    #[serde(default)]
    #[schemars(with = "bool", extend("default" = true))]
    backup_first: Option<bool>,
}

#[derive(Serialize)]
pub struct DeleteOutcome {
    message: String,
    agent_id: String,
    archived_to: Option<PathBuf>,
}

impl Tool for DeleteAgent {
    const NAME: &'static str = "delete_agent";
    const TITLE: &'static str = "Delete an agent";
    const DESCRIPTION: &'static str = "Take an agent out of use for good. Call it only if a person asked for \
        it; else use archive_agent. Agents tagged pioneer are refused.";
    const EFFECT: Effect = Effect::Removes;
    const RESULT: &'static [Field] = &[("message", "string")];
    type Arguments = DeleteArguments;
    type Outcome = DeleteOutcome;

    fn call(session: &Session, arguments: DeleteArguments) -> Result<DeleteOutcome, Refusal> {
        let DeleteArguments { agent_id: AgentId(agent_id), confirm, backup_first } = arguments;
        if !confirm {
            return Err(Refusal::Unconfirmed { agent_id });
        }
        let agent = session.store().agent(&agent_id)?;
        let archived_to = if backup_first.unwrap_or(true) && agent.lifecycle_status != Lifecycle::Deleted {
            check_deletable(&agent)?; // so that what is refused leaves no export
            Some(exports::dated(session, &agent_id, Format::Json)?.path)
        } else {
            None
        };
        let deleted = session.store().delete(&agent_id);
        let (_, message) = now(session, &agent_id, Lifecycle::Deleted, deleted)?;
        Ok(DeleteOutcome { message, agent_id, archived_to })
    }
}

/// Refuses what the library would refuse a client.
fn check_deletable(agent: &Agent) -> govstore::Result<()> {
    agent.check_deletable()?;
    let status = agent.lifecycle_status;
    if status != Lifecycle::Active && agent.lifecycle_actor == Some(ActorKind::Operator) {
        let agent_id = agent.agent_id.clone();
        return Err(Error::SetByOperator { agent_id, status, reason: None, action: "deleted" });
    }
    Ok(())
}

pub struct ResetMonitor;

impl Tool for ResetMonitor {
    const NAME: &'static str = "reset_monitor";
    const TITLE: &'static str = "Reset an agent's state";
    const DESCRIPTION: &'static str = "Put an agent's state back to that of a new one, for work of another \
        kind; not to get another decision. History, totals, tags and notes stay.";
    const EFFECT: Effect = Effect::Removes;
    const RESULT: &'static [Field] = &[("message", "string")];
    type Arguments = AgentArguments;
    type Outcome = Done;

    fn call(session: &Session, arguments: AgentArguments) -> Result<Done, Refusal> {
        let AgentId(agent_id) = arguments.agent_id;
        let message = match session.store().agent(&agent_id) {
            Err(Error::AgentNotFound { .. }) => format!("nothing changed: there is no agent {agent_id:?}"),
            Ok(agent) if agent.update_count == 0 && !is_measured(&agent) => {
                format!("nothing changed: agent {agent_id:?} has the state of a new agent already")
            }
            _ => {
                session.store().reset(&agent_id)?;
                format!("reset the state of agent {agent_id:?}")
            }
        };
        Ok(Done { message, agent_id })
    }
}
