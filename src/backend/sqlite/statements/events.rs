//! Events: what happened in an agent's life. Append only.

use rusqlite::{Row, named_params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{EventReads, EventWrites, Transaction, TxResult};
use crate::health::HealthStatus;
use crate::model::{Actor, AgentEvent, NewEvent};

impl<C: OnConnection> EventReads for C {
    fn events(&self, agent_id: &str) -> TxResult<Vec<AgentEvent>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT event_id, agent_id, event, occurred_at, reason, actor, actor_name, health_from, health_to
             FROM agent_events
             WHERE agent_id = :agent_id
             ORDER BY event_id",
        )?;
        let rows = statement.query_map(named_params! { ":agent_id": agent_id }, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn events_after(&self, event_id: i64, limit: u32) -> TxResult<Vec<AgentEvent>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT event_id, agent_id, event, occurred_at, reason, actor, actor_name, health_from, health_to
             FROM agent_events
             WHERE event_id > :event_id
             ORDER BY event_id
             LIMIT :limit",
        )?;
        let rows = statement.query_map(named_params! { ":event_id": event_id, ":limit": limit }, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn event_id_before_last(&self, last: u32) -> TxResult<i64> {
        let mut statement = self.conn().prepare_cached(
            "SELECT coalesce(
               (SELECT event_id FROM agent_events ORDER BY event_id DESC LIMIT 1 OFFSET :last), 0)",
        )?;
        Ok(statement.query_row(named_params! { ":last": last }, |row| row.get(0))?)
    }
}

impl EventWrites for WriteTransaction<'_> {
    fn insert_event(&self, event: &NewEvent<'_>) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "INSERT INTO agent_events (
                   agent_id, event, occurred_at, reason, actor, actor_name, health_from, health_to, process_id
                 ) VALUES (
                   :agent_id, :event, :occurred_at, :reason, :actor, :actor_name, :health_from, :health_to,
                   :process_id
                 )",
            )?
            .execute(named_params! {
                ":agent_id": event.agent_id,
                ":event": event.event.as_str(),
                ":occurred_at": event.occurred_at.to_string(),
                ":reason": event.reason,
                ":actor": event.by.map(|by| by.kind().as_str()),
                ":actor_name": event.by.and_then(Actor::name),
                ":health_from": event.health_from.map(HealthStatus::as_str),
                ":health_to": event.health_to.map(HealthStatus::as_str),
                ":process_id": self.process_id(),
            })?;
        Ok(())
    }

    /// The first event of all stays: it tells one database from another, for the backups of each.
    fn remove_events(&self, agent_id: &str, up_to: i64, kept: i64, rows: i64) -> TxResult<u64> {
        let removed = self
            .conn()
            .prepare_cached(
                "DELETE FROM agent_events WHERE event_id IN (
                   SELECT event_id FROM agent_events
                   WHERE agent_id = :agent_id AND event_id <= :up_to AND event_id <> :kept
                     AND event_id <> (SELECT min(event_id) FROM agent_events)
                   ORDER BY event_id
                   LIMIT :rows)",
            )?
            .execute(
                named_params! { ":agent_id": agent_id, ":up_to": up_to, ":kept": kept, ":rows": rows },
            )?;
        Ok(removed as u64)
    }
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
        actor: row.get::<_, Option<Parsed<_>>>("actor")?.map(|parsed| parsed.0),
        actor_name: row.get("actor_name")?,
        health_from: health("health_from")?,
        health_to: health("health_to")?,
    })
}
