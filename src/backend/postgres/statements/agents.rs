//! Agents: their rows, and the lists of them.

use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Row;

use super::history;
use super::locks;
use super::settings;
use crate::backend::postgres::failure::Failure;
use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, statement, without_trailing_zeros};
use crate::backend::statements::{
    AgentReads, AgentWrites, Loaded, LoadedAgent, NewAgentRow, Transaction, TxResult,
};
use crate::governance::{self, Action, Assessment, State};
use crate::health::HealthStatus;
use crate::model::{
    ActorKind, Agent, AgentFilter, AgentOrder, AgentRanking, AgentState, FleetHealth, Lifecycle, OwnRow,
};

/// What [`from_row`] reads.
macro_rules! select_agents {
    ($rest:literal) => {
        concat!(
            "SELECT a.agent_id, a.lifecycle_status, h.health_status, a.created_at, a.last_update_at, a.paused_at,
                    a.archived_at, a.deleted_at, a.lifecycle_actor, a.version, a.energy, a.integrity, a.entropy,
                    a.void_integral, a.coherence, a.lambda1, a.pi_integral, a.elapsed, a.risk_score, a.void_active,
                    a.update_count, a.total_updates, a.last_decision, a.last_decision_reason, a.tags::text AS tags,
                    a.notes, a.attributes::text AS attributes ",
            $rest
        )
    };
}

/// Which agents a filter admits: `$1` to `$5`.
macro_rules! admitted {
    () => {
        "agent_id > $1 AND agent_id >= $2 AND starts_with(agent_id, $2)
         AND position(lower($3 COLLATE \"C\") IN lower(agent_id)) > 0
         AND lifecycle_status = coalesce($4, lifecycle_status)
         AND health_status = coalesce($5, health_status)"
    };
}

impl AgentReads for Session<'_> {
    fn load_for_update(
        &self,
        agent_id: &str,
        process_id: Option<i64>,
        key: Option<&str>,
    ) -> TxResult<Loaded> {
        let locks = self.agent_locks(agent_id);
        self.begins_update();
        let mut wanted = vec![
            statement!(
                "SELECT s.*, p.state, p.parent_gone,
                        a.lifecycle_status, a.energy, a.integrity, a.entropy, a.void_integral, a.coherence, a.lambda1,
                        a.pi_integral, a.elapsed, a.update_count, a.parameters, a.recent_void, a.risk_score,
                        a.void_active, a.total_updates,
                        l.process_id AS holder_id, l.token, l.acquired_at, clock_timestamp() AS now
                 FROM settings AS s
                 LEFT JOIN processes AS p ON p.process_id = $2
                 LEFT JOIN agents AS a ON a.agent_id = $1
                 LEFT JOIN agent_locks AS l ON l.agent_id = $1
                 WHERE s.settings_id = 1",
                agent_id,
                process_id,
            ),
        ];
        wanted.extend(key.map(|key| history::update_by_key(agent_id, key)));
        let answers = self.all_rows_after(locks, wanted)?;
        let mut rows = answers.iter().map(|rows| rows.first());
        let row = rows.next().flatten().ok_or_else(settings::row_is_gone)?;
        self.note_now(row.time("now")?);
        let keyed = rows.next().flatten().map(history::keyed).transpose()?;
        let mut loaded = loaded(row)?;
        loaded.agent.keyed = keyed.map(Box::new);
        Ok(loaded)
    }

    fn agent(&self, agent_id: &str) -> TxResult<Option<Agent>> {
        let locks = self.agent_locks(agent_id);
        let rows = self.rows_after(
            locks,
            statement!(
                select_agents!(
                    "FROM agents AS a JOIN agent_health AS h ON h.agent_id = a.agent_id WHERE a.agent_id = $1"
                ),
                agent_id
            ),
        )?;
        rows.first().map(from_row).transpose()
    }

    fn agents(&self, filter: &AgentFilter) -> TxResult<Vec<Agent>> {
        let rows = self.rows(statement!(
            concat!(
                select_agents!("FROM agents AS a JOIN (SELECT * FROM agent_health WHERE "),
                admitted!(),
                " ORDER BY agent_id LIMIT $6) AS h ON h.agent_id = a.agent_id ORDER BY a.agent_id"
            ),
            filter.after.as_deref().unwrap_or_default(),
            filter.id_starts_with.as_deref().unwrap_or_default(),
            filter.id_contains.as_deref().unwrap_or_default(),
            filter.lifecycle_status.map(Lifecycle::as_str),
            filter.health_status.map(HealthStatus::as_str),
            filter.limit,
        ))?;
        rows.iter().map(from_row).collect()
    }

    /// One statement, so that the count and the agents are of one moment.
    fn first_agents(&self, order: AgentOrder, filter: &AgentFilter) -> TxResult<AgentRanking> {
        let rows = self.rows(statement!(
            concat!(
                "WITH matching AS MATERIALIZED (
                   SELECT
                     agent_id,
                     CASE $7
                       WHEN 'worst' THEN (lifecycle_status IN ('archived', 'deleted'))::integer::double precision
                       WHEN 'coherence' THEN coherence
                     END AS least,
                     CASE $7
                       WHEN 'worst' THEN
                         CASE health_status WHEN 'critical' THEN 4 WHEN 'degraded' THEN 2 ELSE 0 END
                           + coalesce(risk_score, 0)
                       WHEN 'risk' THEN risk_score
                       WHEN 'updates' THEN total_updates
                       WHEN 'latest' THEN extract(epoch FROM last_update_at)
                     END AS greatest
                   FROM agent_health
                   WHERE ",
                admitted!(),
                "),
                 first AS (
                   SELECT * FROM matching ORDER BY least NULLS LAST, greatest DESC NULLS LAST, agent_id LIMIT $6
                 ) ",
                select_agents!(
                    ", (SELECT count(*) FROM matching) AS matching
                     FROM first AS m
                     JOIN agents AS a ON a.agent_id = m.agent_id
                     JOIN agent_health AS h ON h.agent_id = m.agent_id
                     ORDER BY m.least NULLS LAST, m.greatest DESC NULLS LAST, m.agent_id"
                )
            ),
            filter.after.as_deref().unwrap_or_default(),
            filter.id_starts_with.as_deref().unwrap_or_default(),
            filter.id_contains.as_deref().unwrap_or_default(),
            filter.lifecycle_status.map(Lifecycle::as_str),
            filter.health_status.map(HealthStatus::as_str),
            filter.limit,
            order.as_str(),
        ))?;
        let matching = rows.first().map_or(Ok(0), |row| row.whole("matching"))?;
        Ok(AgentRanking { agents: rows.iter().map(from_row).collect::<TxResult<_>>()?, matching })
    }

    fn fleet_health(&self) -> TxResult<FleetHealth> {
        let row = self.one_row(statement!("SELECT * FROM fleet_health"))?;
        Ok(FleetHealth {
            fleet_status: row.parsed_or_null("fleet_status")?,
            total_agents: row.whole("total_agents")?,
            active: row.whole("active")?,
            paused: row.whole("paused")?,
            archived: row.whole("archived")?,
            deleted: row.whole("deleted")?,
            healthy: row.whole("healthy")?,
            degraded: row.whole("degraded")?,
            critical: row.whole("critical")?,
        })
    }
}

impl AgentWrites for Session<'_> {
    fn lock_agents(&self, agent_ids: &[&str]) -> TxResult<()> {
        let agent_ids: Vec<String> = agent_ids.iter().copied().map(str::to_owned).collect();
        self.rows(statement!(
            "SELECT FROM agents WHERE agent_id = ANY ($1) ORDER BY agent_id FOR NO KEY UPDATE",
            agent_ids
        ))?;
        Ok(())
    }

    fn insert_agent(&self, agent_id: &str, tags: &[&str]) -> TxResult<()> {
        self.hold_back(statement!(
            "INSERT INTO agents (agent_id, created_at, tags) VALUES ($1, $2, $3::json)",
            agent_id,
            self.at(),
            json(tags)?,
        ));
        Ok(())
    }

    fn save_state(
        &self,
        agent_id: &str,
        state: &State,
        assessment: &Assessment,
        update_no: i64,
    ) -> TxResult<()> {
        self.hold_back_state(agent_id, update_no, statement!(
            "UPDATE agents SET
               last_update_at = $2, energy = $3, integrity = $4, entropy = $5, void_integral = $6, coherence = $7,
               lambda1 = $8, pi_integral = $9, elapsed = $10, risk_score = $11, void_active = $12,
               update_count = $13, total_updates = $14, last_decision = $15, last_decision_reason = $16,
               parameters = $17, recent_void = $18
             WHERE agent_id = $1",
            agent_id,
            self.at(),
            state.energy,
            state.integrity,
            state.entropy,
            state.void_integral,
            state.measured_coherence,
            state.lambda1,
            state.pi_integral,
            state.elapsed,
            assessment.risk_score,
            assessment.void_active,
            state.update_count,
            update_no,
            assessment.decision.action.as_str(),
            assessment.decision.reason.as_str(),
            state.parameters.as_deref().map(without_trailing_zeros),
            state.recent_void.clone(),
        ));
        Ok(())
    }

    fn save_edit(
        &self,
        agent_id: &str,
        tags: &[String],
        notes: &str,
        attributes: &Map<String, Value>,
    ) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE agents SET tags = $2::json, notes = $3, attributes = $4::json WHERE agent_id = $1",
            agent_id,
            json(tags)?,
            notes,
            json(attributes)?,
        ));
        Ok(())
    }

    fn set_lifecycle(&self, agent_id: &str, status: Lifecycle, by: ActorKind) -> TxResult<()> {
        let at = self.at();
        let when = |wanted| (status == wanted).then_some(at);
        self.hold_back(statement!(
            "UPDATE agents SET
               lifecycle_status = $2,
               lifecycle_actor = $3,
               paused_at = CASE WHEN $4 IS NOT NULL THEN coalesce(paused_at, $4) END,
               archived_at = CASE
                 WHEN $6 IS NOT NULL THEN archived_at
                 WHEN $5 IS NOT NULL THEN coalesce(archived_at, $5)
               END,
               deleted_at = $6
             WHERE agent_id = $1",
            agent_id,
            status.as_str(),
            by.as_str(),
            when(Lifecycle::Paused),
            when(Lifecycle::Archived),
            when(Lifecycle::Deleted),
        ));
        Ok(())
    }

    fn reset_state(&self, agent_id: &str, state: &State) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE agents SET
               energy = $2, integrity = $3, entropy = $4, void_integral = $5, coherence = NULL, lambda1 = $6,
               pi_integral = $7, elapsed = $8, risk_score = NULL, void_active = false, update_count = 0,
               last_decision = NULL, last_decision_reason = NULL, parameters = NULL, recent_void = '{}'
             WHERE agent_id = $1",
            agent_id,
            state.energy,
            state.integrity,
            state.entropy,
            state.void_integral,
            state.lambda1,
            state.pi_integral,
            state.elapsed,
        ));
        Ok(())
    }

    fn import_agent(&self, agent: &NewAgentRow<'_>) -> TxResult<()> {
        let state = agent.state;
        self.hold_back(statement!(
            "INSERT INTO agents (
               agent_id, lifecycle_status, created_at, last_update_at, paused_at, archived_at, deleted_at, version,
               energy, integrity, entropy, void_integral, coherence, lambda1, elapsed, risk_score, void_active,
               update_count, total_updates, last_decision, tags, notes, recent_void
             ) VALUES (
               $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21::json,
               $22, $23
             )",
            agent.agent_id,
            agent.lifecycle_status.as_str(),
            agent.created_at,
            agent.last_update_at,
            agent.paused_at,
            agent.archived_at,
            agent.deleted_at,
            agent.version,
            state.energy,
            state.integrity,
            state.entropy,
            state.void_integral,
            state.measured_coherence,
            state.lambda1,
            state.elapsed,
            agent.risk_score,
            agent.void_active,
            state.update_count,
            agent.total_updates,
            agent.last_decision.map(Action::as_str),
            json(agent.tags)?,
            agent.notes,
            state.recent_void.clone(),
        ));
        Ok(())
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> TxResult<String> {
    serde_json::to_string(value).map_err(|e| Failure::unreadable("json", e).into())
}

fn loaded(row: &Row) -> TxResult<Loaded> {
    let process = match row.parsed_or_null("state")? {
        Some(state) => Some(OwnRow { state, parent_gone: row.take("parent_gone")? }),
        None => None,
    };
    let state = match row.parsed_or_null("lifecycle_status")? {
        Some(lifecycle_status) => Some(agent_state(row, lifecycle_status)?),
        None => None,
    };
    let lock = match row.take("holder_id")? {
        Some(process_id) => Some(locks::row(process_id, row)?),
        None => None,
    };
    let agent = LoadedAgent { state, lock, keyed: None };
    Ok(Loaded { settings: settings::from_row(row)?, process, agent })
}

fn agent_state(row: &Row, lifecycle_status: Lifecycle) -> TxResult<AgentState> {
    Ok(AgentState {
        lifecycle_status,
        state: State {
            energy: row.take("energy")?,
            integrity: row.take("integrity")?,
            entropy: row.take("entropy")?,
            void_integral: row.take("void_integral")?,
            measured_coherence: row.take("coherence")?,
            lambda1: row.take("lambda1")?,
            pi_integral: row.take("pi_integral")?,
            elapsed: row.take("elapsed")?,
            update_count: row.take("update_count")?,
            parameters: row.numbers("parameters")?.map(|mut parameters| {
                parameters.resize(governance::PARAMETER_COUNT, 0.0);
                parameters
            }),
            recent_void: row.numbers("recent_void")?.unwrap_or_default(),
        },
        risk_score: row.take("risk_score")?,
        void_active: row.take("void_active")?,
        total_updates: row.take("total_updates")?,
    })
}

fn from_row(row: &Row) -> TxResult<Agent> {
    Ok(Agent {
        agent_id: row.take("agent_id")?,
        lifecycle_status: row.parsed("lifecycle_status")?,
        health_status: row.parsed("health_status")?,
        created_at: row.time("created_at")?,
        last_update_at: row.time_or_null("last_update_at")?,
        paused_at: row.time_or_null("paused_at")?,
        archived_at: row.time_or_null("archived_at")?,
        deleted_at: row.time_or_null("deleted_at")?,
        lifecycle_actor: row.parsed_or_null("lifecycle_actor")?,
        version: row.take("version")?,
        energy: row.take("energy")?,
        integrity: row.take("integrity")?,
        entropy: row.take("entropy")?,
        void_integral: row.take("void_integral")?,
        coherence: row.take("coherence")?,
        lambda1: row.take("lambda1")?,
        pi_integral: row.take("pi_integral")?,
        elapsed: row.take("elapsed")?,
        risk_score: row.take("risk_score")?,
        void_active: row.take("void_active")?,
        update_count: row.take("update_count")?,
        total_updates: row.take("total_updates")?,
        last_decision: row.parsed_or_null("last_decision")?,
        last_decision_reason: row.take("last_decision_reason")?,
        tags: row.json("tags")?,
        notes: row.take("notes")?,
        attributes: row.json("attributes")?,
    })
}
