//! `agent_metadata.json`: what v1.0.3 knew of its agents, apart from their figures.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::local_time::LocalTime;
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
    /// What of the entry was left out, or had to be interpreted, and why.
    pub remarks: Vec<String>,
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
pub(crate) fn parse(json: &[u8], local_time: &LocalTime) -> Result<Entries, String> {
    let entries: BTreeMap<String, Value> =
        serde_json::from_slice(json).map_err(|e| format!("it is no JSON object of agents: {e}"))?;
    Ok(entries
        .into_iter()
        .map(|(agent_id, entry)| {
            let metadata = parse_entry(&agent_id, entry, local_time);
            (agent_id, metadata)
        })
        .collect())
}

fn parse_entry(agent_id: &str, entry: Value, local_time: &LocalTime) -> Result<Metadata, String> {
    AgentId::parse(agent_id).map_err(|e| Error::from(e).to_string())?;
    let mut entry = Fields::of(entry, local_time).ok_or("the entry is not a JSON object")?;
    if let Some(other) = entry.take::<String>("agent_id")?.filter(|named| named != agent_id) {
        return Err(format!("the entry is about another agent, {other:?}"));
    }
    let total_updates = entry.take("total_updates")?.unwrap_or(0);
    if !(0..=COUNT_MAX).contains(&total_updates) {
        return Err(format!("total_updates: {total_updates} does not lie between 0 and {COUNT_MAX}"));
    }
    Ok(Metadata {
        lifecycle_status: entry.take_status()?,
        created_at: entry.take_time("created_at")?.ok_or("created_at is missing")?,
        last_update_at: entry.take_time("last_update")?,
        paused_at: entry.take_time("paused_at")?,
        archived_at: entry.take_time("archived_at")?,
        version: entry.take("version")?.unwrap_or_else(|| VERSION.to_owned()),
        total_updates,
        tags: entry.take("tags")?.unwrap_or_default(),
        notes: entry.take("notes")?.unwrap_or_default(),
        events: entry.take_events()?,
        remarks: entry.remarks,
    })
}

fn parse_event(fields: &mut Fields<'_>) -> Result<Event, String> {
    let kind: String = fields.take("event")?.ok_or("event is missing")?;
    let kind = match kind.as_str() {
        "created" => EventKind::Created,
        "paused" => EventKind::Paused,
        "resumed" => EventKind::Resumed,
        "archived" => EventKind::Archived,
        "deleted" => EventKind::Deleted,
        other => return Err(format!("{other:?} is none of created, paused, resumed, archived, deleted")),
    };
    let at = fields.take_time("timestamp")?.ok_or("timestamp is missing")?;
    Ok(Event { kind, at, reason: fields.take("reason")? })
}

/// The fields of a JSON object, taken out one by one, and what had to be interpreted on the way.
struct Fields<'z> {
    object: Map<String, Value>,
    local_time: &'z LocalTime,
    remarks: Vec<String>,
}

impl<'z> Fields<'z> {
    fn of(value: Value, local_time: &'z LocalTime) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self { object, local_time, remarks: Vec::new() }),
            _ => None,
        }
    }

    /// Takes a field; `None` if it is missing or null, as v1.0.3 reads it.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        let value = self.object.remove(name).unwrap_or_default();
        serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))
    }

    /// Takes a time. What one that names no zone means, the local time says.
    fn take_time(&mut self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.take::<String>(name)? else { return Ok(None) };
        let (at, doubt) = self.local_time.parse(&text).map_err(|e| format!("{name}: {e}"))?;
        self.remarks.extend(doubt.map(|doubt| format!("{name}: {doubt}")));
        Ok(Some(at))
    }

    /// Takes the lifecycle status. Versions after v1.0.3 have more of them, such as `waiting_input`.
    fn take_status(&mut self) -> Result<Lifecycle, String> {
        let word: String = self.take("status")?.ok_or("status is missing")?;
        Ok(word.parse().unwrap_or_else(|_| {
            self.remarks.push(format!("its status {word:?} is none of v1.0.3; it was taken as active"));
            Lifecycle::Active
        }))
    }

    /// Takes the events, in the order of the file. One that cannot be used is left out, with a remark.
    fn take_events(&mut self) -> Result<Vec<Event>, String> {
        let listed: Vec<Value> = self.take("lifecycle_events")?.unwrap_or_default();
        let mut events = Vec::with_capacity(listed.len());
        for (n, event) in (1..).zip(listed) {
            let fields =
                Fields::of(event, self.local_time).ok_or_else(|| "it is not a JSON object".to_owned());
            match fields.and_then(|mut fields| Ok((parse_event(&mut fields)?, fields.remarks))) {
                Ok((event, remarks)) => {
                    events.push(event);
                    self.remarks
                        .extend(remarks.iter().map(|remark| format!("lifecycle event {n}: {remark}")));
                }
                Err(reason) => self.remarks.push(format!("lifecycle event {n} was left out: {reason}")),
            }
        }
        Ok(events)
    }
}
