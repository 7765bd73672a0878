//! One agent's row, and the queries that read it.

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Lifecycle;
use crate::error::{Error, Result};
use crate::governance::Action;
use crate::health::HealthStatus;
use crate::store::column::{Json, Parsed};
use crate::store::{Store, TxResult};
use crate::timestamp::Timestamp;

/// Longest agent id, in characters.
const ID_MAX_CHARS: usize = 128;

/// A name that an agent may have: 1 to 128 characters, none of them a control character, and no white space
/// at either end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentId<'a>(&'a str);

impl<'a> AgentId<'a> {
    pub fn parse(agent_id: &'a str) -> Result<Self> {
        let reason = if agent_id.is_empty() {
            "is empty; give the agent a name"
        } else if agent_id.chars().count() > ID_MAX_CHARS {
            "is longer than 128 characters"
        } else if agent_id.chars().any(char::is_control) {
            "has control characters in it"
        } else if agent_id.trim() != agent_id {
            "begins or ends with white space"
        } else {
            return Ok(Self(agent_id));
        };
        let shown = agent_id.chars().take(40).collect();
        Err(Error::InvalidAgentId { agent_id: shown, reason })
    }

    pub const fn as_str(self) -> &'a str {
        self.0
    }

    pub fn not_found(self) -> Error {
        Error::AgentNotFound { agent_id: self.0.to_owned() }
    }
}

/// One agent: its current state and what people say about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agent {
    /// The name its clients call it by.
    pub agent_id: String,
    /// Whether it takes updates.
    pub lifecycle_status: Lifecycle,
    /// How it is doing, judged by the settings of now.
    pub health_status: HealthStatus,
    /// First seen.
    pub created_at: Timestamp,
    /// Newest update; an administrator's edit leaves it alone.
    pub last_update_at: Option<Timestamp>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// Since when it is archived.
    pub archived_at: Option<Timestamp>,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// Version label that v1.0.3 clients read.
    pub version: String,
    /// E, 0 to 1.
    pub energy: f64,
    /// I, information integrity, 0 to 1.
    pub integrity: f64,
    /// S, 0 to 1.
    pub entropy: f64,
    /// V, the integrated imbalance of E and I, −1 to 1.
    pub void_integral: f64,
    /// Coherence of the newest parameters with those before, 0 to 1; `None` before the first update.
    pub coherence: Option<f64>,
    /// λ₁, the ethical coupling.
    pub lambda1: f64,
    /// Integral term of the λ₁ controller.
    pub pi_integral: f64,
    /// Simulated time since the start or the last reset, 0.1 an update.
    pub elapsed: f64,
    /// Risk of the newest update, 0 to 1; `None` before the first.
    pub risk_score: Option<f64>,
    /// Whether |V| is over its threshold.
    pub void_active: bool,
    /// Updates since the start or the last reset.
    pub update_count: i64,
    /// Updates in its lifetime; never falls.
    pub total_updates: i64,
    /// Decision on the newest update.
    pub last_decision: Option<Action>,
    /// Why, in words.
    pub last_decision_reason: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Free text.
    pub notes: String,
    /// The linking server's own.
    pub attributes: Map<String, Value>,
}

/// Which agents to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentFilter {
    /// Only those with this lifecycle status.
    pub lifecycle_status: Option<Lifecycle>,
    /// Only those with this health.
    pub health_status: Option<HealthStatus>,
    /// Only those whose id has this text in it, upper and lower case of ASCII letters being the same.
    pub id_contains: Option<String>,
    /// Only those after this id: the last one of the page before.
    pub after: Option<String>,
    /// At most this many.
    pub limit: Option<u32>,
}

impl Store {
    /// One agent.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`]; [`Error::InvalidAgentId`] for a name that no agent can have.
    pub fn agent(&self, agent_id: &str) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.read(|conn| find(conn, id)?.ok_or_else(|| id.not_found().into()))
    }

    /// Agents in the order of their ids, all unless `filter` says otherwise.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{AgentFilter, Lifecycle};
    ///
    /// store.process_update("writer", &govstore::Update::default())?;
    /// let page = AgentFilter { limit: Some(50), ..AgentFilter::default() };
    /// assert_eq!(store.agents(&page)?[0].agent_id, "writer");
    /// let paused = AgentFilter { lifecycle_status: Some(Lifecycle::Paused), ..AgentFilter::default() };
    /// assert!(store.agents(&paused)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn agents(&self, filter: &AgentFilter) -> Result<Vec<Agent>> {
        self.read(|conn| list(conn, filter))
    }
}

/// The agent's row, if it has one.
pub(crate) fn find(conn: &Connection, id: AgentId<'_>) -> TxResult<Option<Agent>> {
    let mut statement = conn.prepare_cached(
        "SELECT a.*, h.health_status
         FROM agents AS a
         JOIN agent_health AS h ON h.agent_id = a.agent_id
         WHERE a.agent_id = :agent_id",
    )?;
    Ok(statement.query_row(named_params! { ":agent_id": id.as_str() }, from_row).optional()?)
}

fn list(conn: &Connection, filter: &AgentFilter) -> TxResult<Vec<Agent>> {
    let mut statement = conn.prepare_cached(
        "SELECT a.*, h.health_status
         FROM agents AS a
         JOIN agent_health AS h ON h.agent_id = a.agent_id
         WHERE a.agent_id > :after
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
            ":lifecycle_status": filter.lifecycle_status.map(Lifecycle::as_str),
            ":health_status": filter.health_status.map(HealthStatus::as_str),
            ":limit": filter.limit.map_or(-1, i64::from), // SQLite: negative is no limit
        },
        from_row,
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Agent> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_visible_text() {
        let longest = "é".repeat(128);
        for good in ["a", "claude_opus_4.1", "été 2", "👩‍🚀", &longest] {
            assert!(AgentId::parse(good).is_ok(), "{good:?}");
        }
        let too_long = "x".repeat(129);
        for bad in ["", " ", "a ", "\ta", "a\nb", "a\0b", "a\u{7f}", "a\u{9b}2J", &too_long] {
            assert!(AgentId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
