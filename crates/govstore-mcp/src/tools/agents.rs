//! What is known of one agent, and its tags and notes.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::argument::{AgentId, NOTES_MAX_CHARS, Tags, Text, or_default, within};
use crate::bounds::{self, Labels, REASON_CHARS, abridged, fitting, is_zero};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::{Detail, Snapshot, health_of};
use crate::tool::{Effect, Field, Tool};
use govstore::{Action, ActorKind, AgentEvent, EventKind, HealthStatus, Lifecycle, Timestamp};

pub struct GetAgentMetadata;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct MetadataArguments {
    /// The agent.
    agent_id: AgentId,
    /// full leaves nothing out.
    #[serde(default)]
    #[schemars(with = "Detail")]
    detail: Option<Detail>,
}

#[derive(Serialize)]
pub struct AgentMetadata {
    agent_id: String,
    status: Lifecycle,
    created_at: Timestamp,
    /// `None` before the first.
    last_update: Option<Timestamp>,
    /// Whole days.
    days_since_update: Option<i64>,
    paused_at: Option<Timestamp>,
    archived_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    version: String,
    update_count: i64,
    total_updates: i64,
    #[serde(flatten)]
    labels: Labels,
    attributes: Map<String, Value>,
    #[serde(skip_serializing_if = "is_zero")]
    attributes_left_out: usize,
    last_decision: Option<Action>,
    last_decision_reason: Option<String>,
    health_status: HealthStatus,
    health_message: String,
    current_state: Snapshot,
    /// The newest, oldest of them first. Without changes of health.
    lifecycle_events: Vec<LifecycleEvent>,
    #[serde(skip_serializing_if = "is_zero")]
    lifecycle_events_left_out: usize,
}

#[derive(Serialize)]
struct LifecycleEvent {
    event: EventKind,
    timestamp: Timestamp,
    reason: Option<String>,
    actor: Option<&'static str>,
    actor_name: Option<String>,
}

impl LifecycleEvent {
    fn of(event: AgentEvent, whole: bool) -> Self {
        let told = |reason| if whole { reason } else { abridged(reason, REASON_CHARS) };
        Self {
            event: event.event,
            timestamp: event.occurred_at,
            reason: event.reason.map(told),
            actor: event.actor.map(ActorKind::as_str),
            actor_name: event.actor_name,
        }
    }
}

impl Tool for GetAgentMetadata {
    const NAME: &'static str = "get_agent_metadata";
    const TITLE: &'static str = "Get all about an agent";
    const DESCRIPTION: &'static str = "Get what is known of an agent beside its updates: status and since \
        when, tags, notes, and who did what to it and why (lifecycle_events). Call it to learn why an agent \
        takes no updates. Fields in _left_out count what is not shown.";
    const EFFECT: Effect = Effect::Reads;
    const RESULT: &'static [Field] = &[("status", "string"), ("current_state", "object")];
    type Arguments = MetadataArguments;
    type Outcome = AgentMetadata;

    fn call(session: &Session, arguments: MetadataArguments) -> Result<AgentMetadata, Refusal> {
        metadata(session, &arguments.agent_id.0, arguments.detail)
    }
}

/// What is known of one agent.
pub fn metadata(session: &Session, agent_id: &str, detail: Option<Detail>) -> Result<AgentMetadata, Refusal> {
    let whole = detail.map_or(session.offer.as_v1_0_3, |detail| detail == Detail::Full);
    let agent = session.store().agent(agent_id)?;
    let health = health_of(&agent, &session.store().settings()?.health_thresholds());
    let since = |at: Timestamp| (Timestamp::now().to_utc() - at.to_utc()).num_days();
    let (attributes, attributes_left_out) =
        if whole { (agent.attributes.clone(), 0) } else { bounds::attributes(agent.attributes.clone()) };
    let (lifecycle_events, lifecycle_events_left_out) = events(session, agent_id, whole)?;
    let told = |text| if whole { text } else { abridged(text, REASON_CHARS) };
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
        version: told(agent.version),
        update_count: agent.update_count,
        total_updates: agent.total_updates,
        labels: Labels::of(agent.tags, agent.notes, whole),
        attributes,
        attributes_left_out,
        last_decision: agent.last_decision,
        last_decision_reason: agent.last_decision_reason.map(told),
        health_status: health.status,
        health_message: health.message,
        lifecycle_events,
        lifecycle_events_left_out,
    })
}

/// The newest events, oldest of them first, and how many older ones there are.
fn events(session: &Session, agent_id: &str, whole: bool) -> Result<(Vec<LifecycleEvent>, usize), Refusal> {
    let events = session.store().events(agent_id)?;
    let of_its_life = events.into_iter().filter(|event| event.event != EventKind::HealthChanged);
    let mut events: Vec<_> = of_its_life.map(|event| LifecycleEvent::of(event, whole)).collect();
    let told =
        if whole { events.len() } else { fitting(events.iter().rev(), bounds::EVENTS, bounds::EVENTS_BYTES) };
    let left_out = events.len() - told;
    Ok((events.split_off(left_out), left_out))
}

pub struct UpdateAgentMetadata;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The agent.
    agent_id: AgentId,
    /// Its tags from now on; left out, they stay.
    #[serde(default)]
    #[schemars(with = "Tags")]
    tags: Option<Tags>,
    /// New notes; empty clears them, left out they stay.
    #[serde(default)]
    #[schemars(with = "Text<NOTES_MAX_CHARS>")]
    notes: Option<Text<NOTES_MAX_CHARS>>,
    /// Add the notes to the old ones, with the time before them.
    #[serde(default, deserialize_with = "or_default")]
    append_notes: bool,
}

#[derive(Serialize)]
pub struct Edited {
    message: String,
    agent_id: String,
    #[serde(flatten)]
    labels: Labels,
}

impl Tool for UpdateAgentMetadata {
    const NAME: &'static str = "update_agent_metadata";
    const TITLE: &'static str = "Change an agent's tags and notes";
    const DESCRIPTION: &'static str = "Replace an agent's tags, and replace its notes or add to them: word \
        for people and later sessions.";
    const EFFECT: Effect = Effect::Replaces;
    const RESULT: &'static [Field] = &[("message", "string")];
    type Arguments = Edit;
    type Outcome = Edited;

    fn call(session: &Session, edit: Edit) -> Result<Edited, Refusal> {
        let AgentId(agent_id) = edit.agent_id;
        session.store().update_agent(&agent_id, |agent| {
            if let Some(Tags(tags)) = &edit.tags {
                agent.tags.clone_from(tags);
            }
            match &edit.notes {
                Some(Text(note)) if !edit.append_notes => agent.notes.clone_from(note),
                Some(Text(note)) if !note.is_empty() => agent.notes = appended(&agent.notes, note)?,
                _ => {}
            }
            let before = agent.agent();
            let message = if (&before.tags, &before.notes) == (&agent.tags, &agent.notes) {
                format!("nothing changed: agent {agent_id:?} has these tags and notes already")
            } else {
                format!("changed the metadata of agent {agent_id:?}")
            };
            Ok(Edited {
                message,
                agent_id: agent_id.clone(),
                labels: Labels::of(agent.tags.clone(), agent.notes.clone(), session.offer.as_v1_0_3),
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
