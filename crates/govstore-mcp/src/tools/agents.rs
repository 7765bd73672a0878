//! What agents there are, and what is known of them.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::argument::{NOTES_MAX_CHARS, Tags, Text, or_default, within};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::{AgentArguments, AgentListing, Snapshot, health_of};
use crate::tool::{Effect, Tool};
use crate::wire;
use govstore::Action;
use govstore::HealthStatus;
use govstore::Timestamp;
use govstore::{ActorKind, AgentFilter, EventKind, Lifecycle};

pub struct ListAgents;

/// No arguments. What is sent all the same is ignored: some clients put a placeholder into an empty object.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct NoArguments {}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct AgentList {
    /// In the order of their ids.
    agents: Vec<AgentListing>,
    summary: Summary,
}

/// How many agents there are. Health counts active and paused ones.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Summary {
    total_agents: u64,
    active: u64,
    paused: u64,
    archived: u64,
    deleted: u64,
    healthy: u64,
    degraded: u64,
    critical: u64,
}

impl Summary {
    fn of(agents: &[AgentListing]) -> Self {
        let mut summary = Self::default();
        for agent in agents {
            summary.total_agents += 1;
            *match agent.lifecycle_status {
                Lifecycle::Active => &mut summary.active,
                Lifecycle::Paused => &mut summary.paused,
                Lifecycle::Archived => &mut summary.archived,
                Lifecycle::Deleted => &mut summary.deleted,
            } += 1;
            if matches!(agent.lifecycle_status, Lifecycle::Active | Lifecycle::Paused) {
                *match agent.health_status {
                    HealthStatus::Healthy => &mut summary.healthy,
                    HealthStatus::Degraded => &mut summary.degraded,
                    HealthStatus::Critical => &mut summary.critical,
                } += 1;
            }
        }
        summary
    }
}

impl Tool for ListAgents {
    const NAME: &'static str = "list_agents";
    const TITLE: &'static str = "List agents";
    const DESCRIPTION: &'static str = "List all agents of this database, whichever client updates them, with \
        lifecycle status, health, current figures, tags and notes, and a summary of the fleet.";
    const EFFECT: Effect = Effect::Reads;
    type Arguments = NoArguments;
    type Outcome = AgentList;

    fn call(session: &Session, _: NoArguments) -> Result<AgentList, Refusal> {
        let agents = list(session)?;
        Ok(AgentList { summary: Summary::of(&agents), agents })
    }
}

/// All agents.
pub fn list(session: &Session) -> Result<Vec<AgentListing>, Refusal> {
    let thresholds = session.store().settings()?.health_thresholds();
    let agents = session.store().agents(&AgentFilter::default())?;
    Ok(agents.into_iter().map(|agent| AgentListing::of(agent, &thresholds)).collect())
}

pub struct GetAgentMetadata;

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct AgentMetadata {
    /// The agent.
    agent_id: String,
    /// Whether it takes updates.
    #[schemars(with = "wire::Lifecycle")]
    status: Lifecycle,
    /// First seen.
    #[schemars(with = "wire::Timestamp")]
    created_at: Timestamp,
    /// Newest update; null before the first.
    #[schemars(with = "Option<wire::Timestamp>")]
    last_update: Option<Timestamp>,
    /// Whole days since then.
    days_since_update: Option<i64>,
    /// Since when it is paused.
    #[schemars(with = "Option<wire::Timestamp>")]
    paused_at: Option<Timestamp>,
    /// Since when it is archived.
    #[schemars(with = "Option<wire::Timestamp>")]
    archived_at: Option<Timestamp>,
    /// Since when it is deleted.
    #[schemars(with = "Option<wire::Timestamp>")]
    deleted_at: Option<Timestamp>,
    /// Version label.
    version: String,
    /// Updates since the start or the last reset.
    update_count: i64,
    /// Updates in its lifetime.
    total_updates: i64,
    /// Labels.
    tags: Vec<String>,
    /// Free text.
    notes: String,
    /// What programs that link the library keep with the agent.
    attributes: Map<String, Value>,
    /// Decision on the newest update; null before the first.
    #[schemars(with = "Option<wire::Action>")]
    last_decision: Option<Action>,
    /// Why, in words.
    last_decision_reason: Option<String>,
    /// How it is doing.
    #[schemars(with = "wire::HealthStatus")]
    health_status: HealthStatus,
    /// Why, in words.
    health_message: String,
    current_state: Snapshot,
    /// What happened to it, oldest first.
    lifecycle_events: Vec<LifecycleEvent>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct LifecycleEvent {
    /// What happened.
    #[schemars(with = "wire::EventKind")]
    event: EventKind,
    /// When it happened.
    #[schemars(with = "wire::Timestamp")]
    timestamp: Timestamp,
    /// Why, in the words of whoever did it.
    reason: Option<String>,
    /// Who did it: operator, client or library; null where nobody was named.
    actor: Option<&'static str>,
    /// The client's name and version.
    actor_name: Option<String>,
}

impl Tool for GetAgentMetadata {
    const NAME: &'static str = "get_agent_metadata";
    const TITLE: &'static str = "Get all about an agent";
    const DESCRIPTION: &'static str = "Get everything that is known of an agent: lifecycle status with its \
        events and dates, tags, notes, totals, current figures and health.";
    const EFFECT: Effect = Effect::Reads;
    type Arguments = AgentArguments;
    type Outcome = AgentMetadata;

    fn call(
        session: &Session,
        AgentArguments { agent_id }: AgentArguments,
    ) -> Result<AgentMetadata, Refusal> {
        metadata(session, &agent_id)
    }
}

/// Everything that is known of one agent.
pub fn metadata(session: &Session, agent_id: &str) -> Result<AgentMetadata, Refusal> {
    let agent = session.store().agent(agent_id)?;
    let events = session.store().events(agent_id)?;
    let health = health_of(&agent, &session.store().settings()?.health_thresholds());
    let since = |at: Timestamp| (Timestamp::now().to_utc() - at.to_utc()).num_days();
    Ok(AgentMetadata {
        current_state: Snapshot::of(&agent),
        agent_id: agent.agent_id,
        status: agent.lifecycle_status,
        created_at: agent.created_at,
        last_update: agent.last_update_at,
        days_since_update: agent.last_update_at.map(since),
        paused_at: agent.paused_at,
        archived_at: agent.archived_at,
        deleted_at: agent.deleted_at,
        version: agent.version,
        update_count: agent.update_count,
        total_updates: agent.total_updates,
        tags: agent.tags,
        notes: agent.notes,
        attributes: agent.attributes,
        last_decision: agent.last_decision,
        last_decision_reason: agent.last_decision_reason,
        health_status: health.status,
        health_message: health.message,
        lifecycle_events: events
            .into_iter()
            .filter(|event| event.event != EventKind::HealthChanged)
            .map(|event| LifecycleEvent {
                event: event.event,
                timestamp: event.occurred_at,
                reason: event.reason,
                actor: event.actor.map(ActorKind::as_str),
                actor_name: event.actor_name,
            })
            .collect(),
    })
}

pub struct UpdateAgentMetadata;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// Its new tags, in place of those it has. Left out, they stay.
    #[serde(default)]
    #[schemars(with = "Tags")]
    tags: Option<Tags>,
    /// New notes, or what to add to them. Left out, they stay.
    #[serde(default)]
    #[schemars(with = "Text<NOTES_MAX_CHARS>")]
    notes: Option<Text<NOTES_MAX_CHARS>>,
    /// Add the notes with the time before them, rather than put them in place of the old ones.
    #[serde(default, deserialize_with = "or_default")]
    append_notes: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Edited {
    message: String,
    agent_id: String,
    tags: Vec<String>,
    notes: String,
}

impl Tool for UpdateAgentMetadata {
    const NAME: &'static str = "update_agent_metadata";
    const TITLE: &'static str = "Change an agent's tags and notes";
    const DESCRIPTION: &'static str = "Replace an agent's tags, and replace its notes or add to them.";
    const EFFECT: Effect = Effect::Replaces;
    type Arguments = Edit;
    type Outcome = Edited;

    fn call(session: &Session, edit: Edit) -> Result<Edited, Refusal> {
        session.store().update_agent(&edit.agent_id, |agent| {
            if let Some(Tags(tags)) = &edit.tags {
                agent.tags.clone_from(tags);
            }
            if let Some(Text(notes)) = &edit.notes {
                agent.notes = if edit.append_notes { appended(&agent.notes, notes)? } else { notes.clone() };
            }
            Ok(Edited {
                message: format!("changed the metadata of agent {:?}", edit.agent_id),
                agent_id: edit.agent_id.clone(),
                tags: agent.tags.clone(),
                notes: agent.notes.clone(),
            })
        })
    }
}

/// The notes with one more, as v1.0.3 writes them.
fn appended(notes: &str, note: &str) -> Result<String, Refusal> {
    let time = Timestamp::now().to_utc().format("%Y-%m-%d %H:%M");
    let all = format!("{notes}\n[{time}] {note}").trim().to_owned();
    within(all.chars().count(), NOTES_MAX_CHARS, "characters with what was there before")
        .map_err(|reason| Refusal::Argument(format!("notes: {reason}; replace them")))?;
    Ok(all)
}
