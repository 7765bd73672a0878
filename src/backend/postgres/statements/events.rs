//! Events: what happened in an agent's life. Append only.

use tokio_postgres::Row;

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, statement};
use crate::backend::statements::{EventReads, EventWrites, Transaction, TxResult};
use crate::health::HealthStatus;
use crate::model::{Actor, AgentEvent, NewEvent};

impl EventReads for Session<'_> {
    fn events(&self, agent_id: &str) -> TxResult<Vec<AgentEvent>> {
        let rows = self
            .rows(statement!("SELECT * FROM agent_events WHERE agent_id = $1 ORDER BY event_id", agent_id))?;
        rows.iter().map(from_row).collect()
    }

    fn events_after(&self, event_id: i64, limit: u32) -> TxResult<Vec<AgentEvent>> {
        let rows = self.rows(statement!(
            "SELECT * FROM agent_events WHERE event_id > $1 ORDER BY event_id LIMIT $2",
            event_id,
            limit
        ))?;
        rows.iter().map(from_row).collect()
    }

    fn event_id_before_last(&self, last: u32) -> TxResult<i64> {
        let row = self.one_row(statement!(
            "SELECT coalesce((SELECT event_id FROM agent_events ORDER BY event_id DESC LIMIT 1 OFFSET $1), 0)",
            last
        ))?;
        row.take(0)
    }
}

impl EventWrites for Session<'_> {
    fn insert_event(&self, event: &NewEvent<'_>) -> TxResult<()> {
        self.hold_back(statement!(
            "INSERT INTO agent_events (
               agent_id, event, occurred_at, reason, actor, actor_name, health_from, health_to, process_id
             ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            event.agent_id,
            event.event.as_str(),
            event.occurred_at,
            event.reason,
            event.by.map(|by| by.kind().as_str()),
            event.by.and_then(Actor::name),
            event.health_from.map(HealthStatus::as_str),
            event.health_to.map(HealthStatus::as_str),
            self.process_id(),
        ));
        Ok(())
    }

    /// The first event of all stays: it tells one database from another.
    fn remove_events(&self, agent_id: &str, up_to: i64, kept: i64, rows: i64) -> TxResult<u64> {
        self.change(statement!(
            "DELETE FROM agent_events WHERE event_id IN (
               SELECT event_id FROM agent_events
               WHERE agent_id = $1 AND event_id <= $2 AND event_id <> $3
                 AND event_id <> (SELECT min(event_id) FROM agent_events)
               ORDER BY event_id
               LIMIT $4)",
            agent_id,
            up_to,
            kept,
            rows,
        ))
    }
}

fn from_row(row: &Row) -> TxResult<AgentEvent> {
    Ok(AgentEvent {
        event_id: row.take("event_id")?,
        agent_id: row.take("agent_id")?,
        event: row.parsed("event")?,
        occurred_at: row.time("occurred_at")?,
        reason: row.take("reason")?,
        actor: row.parsed_or_null("actor")?,
        actor_name: row.take("actor_name")?,
        health_from: row.parsed_or_null("health_from")?,
        health_to: row.parsed_or_null("health_to")?,
    })
}
