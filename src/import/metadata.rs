//! `agent_metadata.json`: what v1.0.3 knew of its agents, apart from their figures.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{AgentId, EventKind, Lifecycle, Timestamp};

/// The largest count that every reader of JSON has exactly. It leaves room to count on.
pub(crate) const COUNT_MAX: i64 = 1 << 53;

/// The version label of an agent that has none.
const VERSION: &str = "v1.0";

/// One agent's entry. Fields that v1.0.3 did not know are ignored.
pub(crate) struct Metadata {
    pub lifecycle_status: Lifecycle,
    pub created_at: Timestamp,
    pub last_update_at: Option<Timestamp>,
    pub paused_at: Option<Timestamp>,
    pub archived_at: Option<Timestamp>,
    pub version: String,
    pub total_updates: i64,
    pub tags: Vec<String>,
    pub notes: String,
    pub events: Vec<Event>,
    /// Why some of its events are not among them.
    pub events_left_out: Vec<String>,
}

/// One lifecycle event.
pub(crate) struct Event {
    pub kind: EventKind,
    pub at: Timestamp,
    pub reason: Option<String>,
}

impl Metadata {
    /// Since when it is deleted: v1.0.3 has no date for that beside the event.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        let deletion = self.events.iter().rfind(|event| event.kind == EventKind::Deleted);
        deletion.filter(|_| self.lifecycle_status == Lifecycle::Deleted).map(|event| event.at)
    }
}

/// Every entry by its agent id: what it says, or why it cannot be used.
pub(crate) type Entries = BTreeMap<String, Result<Metadata, String>>;

/// Parses the whole file. An entry that cannot be used does not spoil the others.
pub(crate) fn parse(json: &[u8]) -> Result<Entries, String> {
    let entries: BTreeMap<String, Value> =
        serde_json::from_slice(json).map_err(|e| format!("it is no JSON object of agents: {e}"))?;
    Ok(entries
        .into_iter()
        .map(|(agent_id, entry)| {
            let metadata = parse_entry(&agent_id, entry);
            (agent_id, metadata)
        })
        .collect())
}

fn parse_entry(agent_id: &str, entry: Value) -> Result<Metadata, String> {
    AgentId::parse(agent_id).map_err(|e| Error::from(e).to_string())?;
    let Value::Object(mut entry) = entry else {
        return Err("the entry is not a JSON object".to_owned());
    };
    let entry = &mut entry;
    if let Some(other) = take::<String>(entry, "agent_id")?.filter(|named| named != agent_id) {
        return Err(format!("the entry is about another agent, {other:?}"));
    }
    let total_updates = take(entry, "total_updates")?.unwrap_or(0);
    if !(0..=COUNT_MAX).contains(&total_updates) {
        return Err(format!("total_updates: {total_updates} does not lie between 0 and {COUNT_MAX}"));
    }
    let (events, events_left_out) = take_events(entry)?;
    Ok(Metadata {
        lifecycle_status: take(entry, "status")?.ok_or("status is missing")?,
        created_at: take_time(entry, "created_at")?.ok_or("created_at is missing")?,
        last_update_at: take_time(entry, "last_update")?,
        paused_at: take_time(entry, "paused_at")?,
        archived_at: take_time(entry, "archived_at")?,
        version: take(entry, "version")?.unwrap_or_else(|| VERSION.to_owned()),
        total_updates,
        tags: take(entry, "tags")?.unwrap_or_default(),
        notes: take(entry, "notes")?.unwrap_or_default(),
        events,
        events_left_out,
    })
}

/// The events in the order of the file, and why others are left out.
fn take_events(entry: &mut Map<String, Value>) -> Result<(Vec<Event>, Vec<String>), String> {
    let listed: Vec<Value> = take(entry, "lifecycle_events")?.unwrap_or_default();
    let mut events = Vec::with_capacity(listed.len());
    let mut left_out = Vec::new();
    for (n, event) in (1..).zip(listed) {
        match parse_event(event) {
            Ok(event) => events.push(event),
            Err(reason) => left_out.push(format!("lifecycle event {n} was left out: {reason}")),
        }
    }
    Ok((events, left_out))
}

fn parse_event(event: Value) -> Result<Event, String> {
    let Value::Object(mut event) = event else {
        return Err("it is not a JSON object".to_owned());
    };
    let kind: String = take(&mut event, "event")?.ok_or("event is missing")?;
    let kind = match kind.as_str() {
        "created" => EventKind::Created,
        "paused" => EventKind::Paused,
        "resumed" => EventKind::Resumed,
        "archived" => EventKind::Archived,
        "deleted" => EventKind::Deleted,
        other => return Err(format!("{other:?} is none of created, paused, resumed, archived, deleted")),
    };
    let at = take_time(&mut event, "timestamp")?.ok_or("timestamp is missing")?;
    Ok(Event { kind, at, reason: take(&mut event, "reason")? })
}

/// Takes a field out of an object; `None` if it is missing or null, as v1.0.3 reads it.
fn take<T: DeserializeOwned>(object: &mut Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    let value = object.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))
}

/// Takes a time. One that names no zone is UTC.
fn take_time(object: &mut Map<String, Value>, name: &str) -> Result<Option<Timestamp>, String> {
    let Some(text) = take::<String>(object, name)? else { return Ok(None) };
    let at = text.parse().or_else(|_| Timestamp::parse_without_zone(&text));
    at.map(Some).map_err(|e| format!("{name}: {e}"))
}
