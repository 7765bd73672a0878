//! Events in an agent's life, and changes of its health. Append only.

use rusqlite::{Connection, Row, named_params};
use serde::Serialize;

use super::record::{self, AgentId};
use crate::error::Result;
use crate::health::{Health, HealthStatus};
use crate::store::column::Parsed;
use crate::store::{Store, TxResult, WriteTx};
use crate::text_enum::text_enum;
use crate::timestamp::Timestamp;

text_enum! {
    /// What happened to an agent.
    pub enum EventKind {
        /// It was seen for the first time.
        Created => "created",
        /// It takes no updates until it is resumed.
        Paused => "paused",
        /// It is active again.
        Resumed => "resumed",
        /// It was put away.
        Archived => "archived",
        /// It was deleted; its rows stay.
        Deleted => "deleted",
        /// Its state went back to that of a new agent.
        Reset => "reset",
        /// Its lock was taken away from whoever held it.
        Unlocked => "unlocked",
        /// An update changed its health.
        HealthChanged => "health_changed",
    }
}

/// One event of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentEvent {
    /// Order of arrival, over all agents.
    pub event_id: i64,
    /// Whose.
    pub agent_id: String,
    /// What happened.
    pub event: EventKind,
    /// When.
    pub occurred_at: Timestamp,
    /// In the words of whoever did it; for a change of health, the health message.
    pub reason: Option<String>,
    /// The health before; `None` at the first update, and for other events.
    pub health_from: Option<HealthStatus>,
    /// The health after; `None` for other events.
    pub health_to: Option<HealthStatus>,
}

impl Store {
    /// An agent's events, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn events(&self, agent_id: &str) -> Result<Vec<AgentEvent>> {
        let id = AgentId::parse(agent_id)?;
        self.read(|conn| {
            record::find(conn, id)?.ok_or_else(|| id.not_found())?;
            list(conn, id)
        })
    }

    /// Events of all agents after the event of this number, oldest first, at most `limit` of them. They are
    /// numbered in the order of their commits, so asking again with the last number misses none.
    pub fn events_after(&self, event_id: i64, limit: u32) -> Result<Vec<AgentEvent>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT event_id, agent_id, event, occurred_at, reason, health_from, health_to
                 FROM agent_events
                 WHERE event_id > :event_id
                 ORDER BY event_id
                 LIMIT :limit",
            )?;
            let rows =
                statement.query_map(named_params! { ":event_id": event_id, ":limit": limit }, from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The number after which come the newest `last` events: what [`Store::events_after`] takes to begin with
    /// them. With 0 that is the newest event's own; 0 where there are no more than `last`.
    pub fn event_id_before_last(&self, last: u32) -> Result<i64> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT coalesce(
                   (SELECT event_id FROM agent_events ORDER BY event_id DESC LIMIT 1 OFFSET :last), 0)",
            )?;
            Ok(statement.query_row(named_params! { ":last": last }, |row| row.get(0))?)
        })
    }
}

/// Records a lifecycle event at the time of the transaction.
pub(super) fn record(
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    event: EventKind,
    reason: Option<&str>,
) -> TxResult<()> {
    insert(tx, id, event, &tx.at_text, reason, (None, None))
}

/// Records a change of health. `from` is `None` at the first update.
pub(super) fn record_health(
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    from: Option<HealthStatus>,
    to: &Health,
) -> TxResult<()> {
    let change = (from, Some(to.status));
    insert(tx, id, EventKind::HealthChanged, &tx.at_text, Some(&to.message), change)
}

/// Inserts an event that happened at `at`, a [`Timestamp`] as text.
pub(crate) fn insert(
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    event: EventKind,
    at: &str,
    reason: Option<&str>,
    (health_from, health_to): (Option<HealthStatus>, Option<HealthStatus>),
) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO agent_events (agent_id, event, occurred_at, reason, health_from, health_to, process_id)
         VALUES (:agent_id, :event, :occurred_at, :reason, :health_from, :health_to, :process_id)",
    )?
    .execute(named_params! {
        ":agent_id": id.as_str(),
        ":event": event.as_str(),
        ":occurred_at": at,
        ":reason": reason,
        ":health_from": health_from.map(HealthStatus::as_str),
        ":health_to": health_to.map(HealthStatus::as_str),
        ":process_id": tx.process_id(),
    })?;
    Ok(())
}

fn list(conn: &Connection, id: AgentId<'_>) -> TxResult<Vec<AgentEvent>> {
    let mut statement = conn.prepare_cached(
        "SELECT event_id, agent_id, event, occurred_at, reason, health_from, health_to
         FROM agent_events
         WHERE agent_id = :agent_id
         ORDER BY event_id",
    )?;
    let rows = statement.query_map(named_params! { ":agent_id": id.as_str() }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AgentEvent> {
    let health = |column| -> rusqlite::Result<Option<HealthStatus>> {
        Ok(row.get::<_, Option<Parsed<_>>>(column)?.map(|parsed| parsed.0))
    };
    Ok(AgentEvent {
        event_id: row.get("event_id")?,
        agent_id: row.get("agent_id")?,
        event: row.get::<_, Parsed<_>>("event")?.0,
        occurred_at: row.get::<_, Parsed<_>>("occurred_at")?.0,
        reason: row.get("reason")?,
        health_from: health("health_from")?,
        health_to: health("health_to")?,
    })
}
