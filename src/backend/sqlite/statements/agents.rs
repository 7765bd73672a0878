//! Agents: their rows, and the lists of them.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde_json::{Map, Value};

use super::history;
use super::locks;
use super::settings;
use crate::backend::sqlite::column::{Json, Numbers, Parsed, bytes};
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{AgentReads, AgentWrites, Loaded, LoadedAgent, NewAgentRow, TxResult};
use crate::governance::{self, Action, Assessment, State};
use crate::health::HealthStatus;
use crate::model::{
    ActorKind, Agent, AgentFilter, AgentOrder, AgentRanking, AgentState, FleetHealth, KeyedUpdate, Lifecycle,
    OwnRow, Timestamp,
};

/// What an update needs of its agent, in the order of [`loaded_agent`].
macro_rules! agent_columns {
    () => {
        "a.lifecycle_status, a.energy, a.integrity, a.entropy, a.void_integral, a.coherence, a.lambda1, a.pi_integral, \
         a.elapsed, a.update_count, a.parameters, a.recent_void, a.risk_score, a.void_active, a.total_updates, \
         l.process_id, l.token, l.acquired_at"
    };
}

impl<C: OnConnection> AgentReads for C {
    fn load_for_update(
        &self,
        agent_id: &str,
        process_id: Option<i64>,
        key: Option<&str>,
    ) -> TxResult<Loaded> {
        let loaded = self.with_statement(
            concat!(
                "SELECT s.risk_healthy_max, s.risk_degraded_max, s.coherence_healthy_min, s.coherence_degraded_min, \
                    s.coherence_overrides_risk, s.heartbeat_interval_s, s.stale_after_s, s.max_processes, \
                    s.limit_policy, s.terminate_grace_ms, s.lock_timeout_ms, s.history_limit, s.history_max_age_days, \
                    s.prune_automatically, p.state, p.parent_gone, ",
                agent_columns!(),
                " FROM settings AS s \
             LEFT JOIN processes AS p ON p.process_id = :process_id \
             LEFT JOIN agents AS a ON a.agent_id = :agent_id \
             LEFT JOIN agent_locks AS l ON l.agent_id = :agent_id \
             WHERE s.settings_id = 1",
            ),
            |statement| statement.query_row(params![process_id, agent_id], loaded).optional(),
        )?;
        let mut loaded = loaded.ok_or_else(settings::row_is_gone)?;
        loaded.agent.keyed = keyed(self.conn(), agent_id, key)?;
        Ok(loaded)
    }

    fn load_agent(&self, agent_id: &str, key: Option<&str>) -> TxResult<LoadedAgent> {
        let loaded = self.with_statement(
            concat!(
                "SELECT ",
                agent_columns!(),
                " FROM agents AS a LEFT JOIN agent_locks AS l ON l.agent_id = a.agent_id \
             WHERE a.agent_id = ?"
            ),
            |statement| statement.query_row([agent_id], |row| loaded_agent(row, 0)).optional(),
        )?;
        Ok(LoadedAgent { keyed: keyed(self.conn(), agent_id, key)?, ..loaded.unwrap_or_default() })
    }

    fn agent(&self, agent_id: &str) -> TxResult<Option<Agent>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT a.*, h.health_status
             FROM agents AS a
             JOIN agent_health AS h ON h.agent_id = a.agent_id
             WHERE a.agent_id = :agent_id",
        )?;
        Ok(statement.query_row(named_params! { ":agent_id": agent_id }, from_row).optional()?)
    }

    fn agents(&self, filter: &AgentFilter) -> TxResult<Vec<Agent>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT a.*, h.health_status
             FROM agents AS a
             JOIN agent_health AS h ON h.agent_id = a.agent_id
             WHERE a.agent_id > :after
               AND a.agent_id >= :id_starts_with
               AND substr(a.agent_id, 1, length(:id_starts_with)) = :id_starts_with
               AND instr(lower(a.agent_id), lower(:id_contains)) > 0
               AND a.lifecycle_status = coalesce(:lifecycle_status, a.lifecycle_status)
               AND h.health_status = coalesce(:health_status, h.health_status)
             ORDER BY a.agent_id
             LIMIT :limit",
        )?;
        let rows = statement.query_map(
            named_params! {
                ":after": filter.after.as_deref().unwrap_or_default(),
                ":id_contains": filter.id_contains.as_deref().unwrap_or_default(),
                ":id_starts_with": filter.id_starts_with.as_deref().unwrap_or_default(),
                ":lifecycle_status": filter.lifecycle_status.map(Lifecycle::as_str),
                ":health_status": filter.health_status.map(HealthStatus::as_str),
                ":limit": filter.limit.map_or(-1, i64::from), // SQLite: negative is no limit
            },
            from_row,
        )?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// One statement, so that the count and the agents are of one moment. It goes through all agents once, for what
    /// they are ordered by alone.
    fn first_agents(&self, order: AgentOrder, filter: &AgentFilter) -> TxResult<AgentRanking> {
        let mut statement = self.conn().prepare_cached(
            "WITH matching AS MATERIALIZED (
               SELECT
                 agent_id,
                 CASE :order
                   WHEN 'worst' THEN lifecycle_status IN ('archived', 'deleted')
                   WHEN 'coherence' THEN coherence
                 END AS least,
                 CASE :order
                   WHEN 'worst' THEN
                     CASE health_status WHEN 'critical' THEN 4 WHEN 'degraded' THEN 2 ELSE 0 END
                       + coalesce(risk_score, 0)
                   WHEN 'risk' THEN risk_score
                   WHEN 'updates' THEN total_updates
                   WHEN 'latest' THEN last_update_at
                 END AS greatest
               FROM agent_health
               WHERE agent_id > :after
                 AND agent_id >= :id_starts_with
                 AND substr(agent_id, 1, length(:id_starts_with)) = :id_starts_with
                 AND instr(lower(agent_id), lower(:id_contains)) > 0
                 AND lifecycle_status = coalesce(:lifecycle_status, lifecycle_status)
                 AND health_status = coalesce(:health_status, health_status)
             )
             SELECT a.*, h.health_status, (SELECT count(*) FROM matching) AS matching
             FROM (
               SELECT * FROM matching
               ORDER BY least NULLS LAST, greatest DESC, agent_id
               LIMIT :limit
             ) AS m
             CROSS JOIN agents AS a ON a.agent_id = m.agent_id
             CROSS JOIN agent_health AS h ON h.agent_id = m.agent_id
             ORDER BY m.least NULLS LAST, m.greatest DESC, m.agent_id",
        )?;
        let rows = statement.query_map(
            named_params! {
                ":order": order.as_str(),
                ":after": filter.after.as_deref().unwrap_or_default(),
                ":id_contains": filter.id_contains.as_deref().unwrap_or_default(),
                ":id_starts_with": filter.id_starts_with.as_deref().unwrap_or_default(),
                ":lifecycle_status": filter.lifecycle_status.map(Lifecycle::as_str),
                ":health_status": filter.health_status.map(HealthStatus::as_str),
                ":limit": filter.limit.map_or(-1, i64::from), // SQLite: negative is no limit
            },
            |row| Ok((from_row(row)?, row.get("matching")?)),
        )?;
        let mut ranking = AgentRanking { agents: Vec::new(), matching: 0 };
        for row in rows {
            let (agent, matching) = row?;
            ranking.matching = matching;
            ranking.agents.push(agent);
        }
        Ok(ranking)
    }

    fn fleet_health(&self) -> TxResult<FleetHealth> {
        let mut statement = self.conn().prepare_cached("SELECT * FROM fleet_health")?;
        Ok(statement.query_row([], |row| {
            Ok(FleetHealth {
                fleet_status: row.get::<_, Option<Parsed<_>>>("fleet_status")?.map(|parsed| parsed.0),
                total_agents: row.get("total_agents")?,
                active: row.get("active")?,
                paused: row.get("paused")?,
                archived: row.get("archived")?,
                deleted: row.get("deleted")?,
                healthy: row.get("healthy")?,
                degraded: row.get("degraded")?,
                critical: row.get("critical")?,
            })
        })?)
    }
}

impl AgentWrites for WriteTransaction<'_> {
    fn insert_agent(&self, agent_id: &str, tags: &[&str]) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "INSERT INTO agents (agent_id, created_at, tags) VALUES (:agent_id, :created_at, :tags)",
            )?
            .execute(named_params! {
                ":agent_id": agent_id,
                ":created_at": self.at_text(),
                ":tags": Json(tags),
            })?;
        Ok(())
    }

    fn save_state(
        &self,
        agent_id: &str,
        state: &State,
        assessment: &Assessment,
        update_no: i64,
    ) -> TxResult<()> {
        self.with_statement(
            "UPDATE agents SET \
                   last_update_at = ?, \
                   energy = ?, integrity = ?, entropy = ?, void_integral = ?, \
                   coherence = ?, lambda1 = ?, pi_integral = ?, elapsed = ?, \
                   risk_score = ?, void_active = ?, \
                   update_count = ?, total_updates = ?, \
                   last_decision = ?, last_decision_reason = ?, \
                   parameters = ?, recent_void = ? \
                 WHERE agent_id = ?",
            |statement| {
                statement.execute(params![
                    self.at_text(),
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
                    assessment.decision.reason,
                    state.parameters.as_deref().map(|p| bytes(without_trailing_zeros(p))),
                    bytes(&state.recent_void),
                    agent_id,
                ])
            },
        )?;
        Ok(())
    }

    fn save_edit(
        &self,
        agent_id: &str,
        tags: &[String],
        notes: &str,
        attributes: &Map<String, Value>,
    ) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE agents SET tags = :tags, notes = :notes, attributes = :attributes
                 WHERE agent_id = :agent_id",
            )?
            .execute(named_params! {
                ":agent_id": agent_id,
                ":tags": Json(tags),
                ":notes": notes,
                ":attributes": Json(attributes),
            })?;
        Ok(())
    }

    fn set_lifecycle(&self, agent_id: &str, status: Lifecycle, by: ActorKind) -> TxResult<()> {
        let when = |wanted| (status == wanted).then_some(self.at_text());
        self.conn()
            .prepare_cached(
                "UPDATE agents SET
                   lifecycle_status = :lifecycle_status,
                   lifecycle_actor = :lifecycle_actor,
                   paused_at = iif(:paused_at IS NULL, NULL, coalesce(paused_at, :paused_at)),
                   archived_at = CASE
                     WHEN :deleted_at IS NOT NULL THEN archived_at
                     WHEN :archived_at IS NOT NULL THEN coalesce(archived_at, :archived_at)
                   END,
                   deleted_at = :deleted_at
                 WHERE agent_id = :agent_id",
            )?
            .execute(named_params! {
                ":agent_id": agent_id,
                ":lifecycle_status": status.as_str(),
                ":lifecycle_actor": by.as_str(),
                ":paused_at": when(Lifecycle::Paused),
                ":archived_at": when(Lifecycle::Archived),
                ":deleted_at": when(Lifecycle::Deleted),
            })?;
        Ok(())
    }

    fn reset_state(&self, agent_id: &str, state: &State) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE agents SET
                   energy = :energy, integrity = :integrity, entropy = :entropy, void_integral = :void_integral,
                   coherence = NULL, lambda1 = :lambda1, pi_integral = :pi_integral, elapsed = :elapsed,
                   risk_score = NULL, void_active = 0, update_count = 0,
                   last_decision = NULL, last_decision_reason = NULL,
                   parameters = NULL, recent_void = x''
                 WHERE agent_id = :agent_id",
            )?
            .execute(named_params! {
                ":agent_id": agent_id,
                ":energy": state.energy,
                ":integrity": state.integrity,
                ":entropy": state.entropy,
                ":void_integral": state.void_integral,
                ":lambda1": state.lambda1,
                ":pi_integral": state.pi_integral,
                ":elapsed": state.elapsed,
            })?;
        Ok(())
    }

    fn import_agent(&self, agent: &NewAgentRow<'_>) -> TxResult<()> {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let state = agent.state;
        self.conn()
            .prepare_cached(
                "INSERT INTO agents (
                   agent_id, lifecycle_status, created_at, last_update_at, paused_at, archived_at, deleted_at,
                   version, energy, integrity, entropy, void_integral, coherence, lambda1, elapsed,
                   risk_score, void_active, update_count, total_updates, last_decision, tags, notes, recent_void
                 ) VALUES (
                   :agent_id, :lifecycle_status, :created_at, :last_update_at, :paused_at, :archived_at,
                   :deleted_at, :version, :energy, :integrity, :entropy, :void_integral, :coherence, :lambda1,
                   :elapsed, :risk_score, :void_active, :update_count, :total_updates, :last_decision, :tags,
                   :notes, :recent_void
                 )",
            )?
            .execute(named_params! {
                ":agent_id": agent.agent_id,
                ":lifecycle_status": agent.lifecycle_status.as_str(),
                ":created_at": agent.created_at.to_string(),
                ":last_update_at": time(agent.last_update_at),
                ":paused_at": time(agent.paused_at),
                ":archived_at": time(agent.archived_at),
                ":deleted_at": time(agent.deleted_at),
                ":version": agent.version,
                ":energy": state.energy,
                ":integrity": state.integrity,
                ":entropy": state.entropy,
                ":void_integral": state.void_integral,
                ":coherence": state.measured_coherence,
                ":lambda1": state.lambda1,
                ":elapsed": state.elapsed,
                ":risk_score": agent.risk_score,
                ":void_active": agent.void_active,
                ":update_count": state.update_count,
                ":total_updates": agent.total_updates,
                ":last_decision": agent.last_decision.map(Action::as_str),
                ":tags": Json(agent.tags),
                ":notes": agent.notes,
                ":recent_void": bytes(&state.recent_void),
            })?;
        Ok(())
    }
}

/// In the order of the SELECT.
fn loaded(row: &Row<'_>) -> rusqlite::Result<Loaded> {
    let process = match row.get::<_, Option<Parsed<_>>>(14)? {
        Some(state) => Some(OwnRow { state: state.0, parent_gone: row.get(15)? }),
        None => None,
    };
    Ok(Loaded { settings: settings::from_row(row)?, process, agent: loaded_agent(row, 16)? })
}

/// `first`: the first of its columns.
fn loaded_agent(row: &Row<'_>, first: usize) -> rusqlite::Result<LoadedAgent> {
    let state = match row.get::<_, Option<Parsed<_>>>(first)? {
        Some(lifecycle_status) => Some(agent_state(row, lifecycle_status.0, first + 1)?),
        None => None,
    };
    let lock = match row.get(first + 15)? {
        Some(process_id) => Some(locks::row(process_id, row, first + 16)?),
        None => None,
    };
    Ok(LoadedAgent { state, lock, keyed: None })
}

fn agent_state(row: &Row<'_>, lifecycle_status: Lifecycle, first: usize) -> rusqlite::Result<AgentState> {
    Ok(AgentState {
        lifecycle_status,
        state: State {
            energy: row.get(first)?,
            integrity: row.get(first + 1)?,
            entropy: row.get(first + 2)?,
            void_integral: row.get(first + 3)?,
            measured_coherence: row.get(first + 4)?,
            lambda1: row.get(first + 5)?,
            pi_integral: row.get(first + 6)?,
            elapsed: row.get(first + 7)?,
            update_count: row.get(first + 8)?,
            parameters: row.get::<_, Option<Numbers>>(first + 9)?.map(|numbers| {
                let mut parameters = numbers.0;
                parameters.resize(governance::PARAMETER_COUNT, 0.0);
                parameters
            }),
            recent_void: row.get::<_, Numbers>(first + 10)?.0,
        },
        risk_score: row.get(first + 11)?,
        void_active: row.get(first + 12)?,
        total_updates: row.get(first + 13)?,
    })
}

/// The update that was made under the key, if one is asked for and was.
fn keyed(conn: &Connection, agent_id: &str, key: Option<&str>) -> TxResult<Option<Box<KeyedUpdate>>> {
    let Some(key) = key else { return Ok(None) };
    Ok(history::update_by_key(conn, agent_id, key)?.map(Box::new))
}

/// Clients send a handful of numbers and the vector is padded to 128; the padding need not be stored.
fn without_trailing_zeros(parameters: &[f64]) -> &[f64] {
    let used = parameters.iter().rposition(|p| *p != 0.0).map_or(0, |last| last + 1);
    &parameters[..used]
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let time = |column| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<Parsed<_>>>(column)?.map(|parsed| parsed.0))
    };
    Ok(Agent {
        agent_id: row.get("agent_id")?,
        lifecycle_status: row.get::<_, Parsed<_>>("lifecycle_status")?.0,
        health_status: row.get::<_, Parsed<_>>("health_status")?.0,
        created_at: row.get::<_, Parsed<_>>("created_at")?.0,
        last_update_at: time("last_update_at")?,
        paused_at: time("paused_at")?,
        archived_at: time("archived_at")?,
        deleted_at: time("deleted_at")?,
        lifecycle_actor: row.get::<_, Option<Parsed<_>>>("lifecycle_actor")?.map(|parsed| parsed.0),
        version: row.get("version")?,
        energy: row.get("energy")?,
        integrity: row.get("integrity")?,
        entropy: row.get("entropy")?,
        void_integral: row.get("void_integral")?,
        coherence: row.get("coherence")?,
        lambda1: row.get("lambda1")?,
        pi_integral: row.get("pi_integral")?,
        elapsed: row.get("elapsed")?,
        risk_score: row.get("risk_score")?,
        void_active: row.get("void_active")?,
        update_count: row.get("update_count")?,
        total_updates: row.get("total_updates")?,
        last_decision: row.get::<_, Option<Parsed<_>>>("last_decision")?.map(|parsed| parsed.0),
        last_decision_reason: row.get("last_decision_reason")?,
        tags: row.get::<_, Json<_>>("tags")?.0,
        notes: row.get("notes")?,
        attributes: row.get::<_, Json<_>>("attributes")?.0,
    })
}
