//! An agent's history: one row an update.

use rusqlite::{Connection, Row, named_params};
use serde::Serialize;

use super::record::{self, AgentId};
use crate::error::Result;
use crate::governance::Action;
use crate::health::HealthStatus;
use crate::store::column::Parsed;
use crate::store::{Store, TxResult};
use crate::timestamp::Timestamp;

/// How many of the newest updates [`Store::window_statistics`] looks at.
pub(super) const STATISTICS_WINDOW: i64 = 1000;

/// |V| over which an update counts as void in the statistics, whatever the threshold was then.
const VOID_LIMIT: f64 = 0.15;

/// One update as it was committed. What v1.0.3 did not keep is `None` in imported rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryRow {
    /// 1, 2, 3, … in the agent's lifetime.
    pub update_no: i64,
    /// When it was committed.
    pub applied_at: Option<Timestamp>,
    /// E, 0 to 1.
    #[serde(rename = "E")]
    pub energy: Option<f64>,
    /// I, 0 to 1.
    #[serde(rename = "I")]
    pub integrity: Option<f64>,
    /// S, 0 to 1.
    #[serde(rename = "S")]
    pub entropy: Option<f64>,
    /// V, −1 to 1.
    #[serde(rename = "V")]
    pub void_integral: f64,
    /// Coherence with the parameters before, 0 to 1.
    pub coherence: f64,
    /// λ₁ after the update.
    pub lambda1: Option<f64>,
    /// Risk, 0 to 1.
    pub risk_score: f64,
    /// Whether |V| was over its threshold.
    pub void_active: bool,
    /// Simulated time since the start or the last reset.
    pub elapsed: Option<f64>,
    /// What was decided.
    pub decision: Action,
    /// Why, in words.
    pub decision_reason: Option<String>,
    /// How the agent was doing, judged by the settings of then.
    pub health_status: HealthStatus,
}

/// Figures over an agent's last 1000 updates since its start or last reset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowStatistics {
    /// How many updates were looked at.
    pub history_size: u64,
    /// Mean risk, 0 to 1; 0 without updates.
    pub mean_risk: f64,
    /// Share of updates with |V| over 0.15; 0 without updates.
    pub void_frequency: f64,
    /// How many were approved.
    pub approve: u64,
    /// How many were to be revised.
    pub revise: u64,
    /// How many were rejected.
    pub reject: u64,
}

impl Store {
    /// An agent's newest `last` updates, oldest of them first; all with `None`.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn history(&self, agent_id: &str, last: Option<u32>) -> Result<Vec<HistoryRow>> {
        let id = AgentId::parse(agent_id)?;
        self.read(|conn| {
            record::find(conn, id)?.ok_or_else(|| id.not_found())?;
            newest(conn, id, last)
        })
    }

    /// Figures over an agent's last 1000 updates since its start or last reset.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn window_statistics(&self, agent_id: &str) -> Result<WindowStatistics> {
        let id = AgentId::parse(agent_id)?;
        self.read(|conn| {
            record::find(conn, id)?.ok_or_else(|| id.not_found())?;
            statistics(conn, id)
        })
    }
}

fn newest(conn: &Connection, id: AgentId<'_>, last: Option<u32>) -> TxResult<Vec<HistoryRow>> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM (
           SELECT update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                  risk_score, void_active, elapsed, decision, decision_reason, health_status
           FROM agent_updates
           WHERE agent_id = :agent_id
           ORDER BY update_no DESC
           LIMIT :last
         )
         ORDER BY update_no",
    )?;
    let last = last.map_or(-1, i64::from); // SQLite: negative is no limit
    let rows = statement.query_map(named_params! { ":agent_id": id.as_str(), ":last": last }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn statistics(conn: &Connection, id: AgentId<'_>) -> TxResult<WindowStatistics> {
    let mut statement = conn.prepare_cached(
        "SELECT
           count(*) AS history_size,
           coalesce(avg(u.risk_score), 0.0) AS mean_risk,
           coalesce(avg(abs(u.void_integral) > :void_limit), 0.0) AS void_frequency,
           count(*) FILTER (WHERE u.decision = 'approve') AS approve,
           count(*) FILTER (WHERE u.decision = 'revise') AS revise,
           count(*) FILTER (WHERE u.decision = 'reject') AS reject
         FROM agents AS a
         JOIN agent_updates AS u
           ON u.agent_id = a.agent_id AND u.update_no > a.total_updates - min(a.update_count, :window)
         WHERE a.agent_id = :agent_id",
    )?;
    let parameters = named_params! {
        ":agent_id": id.as_str(),
        ":void_limit": VOID_LIMIT,
        ":window": STATISTICS_WINDOW,
    };
    Ok(statement.query_row(parameters, |row| {
        Ok(WindowStatistics {
            history_size: row.get("history_size")?,
            mean_risk: row.get("mean_risk")?,
            void_frequency: row.get("void_frequency")?,
            approve: row.get("approve")?,
            revise: row.get("revise")?,
            reject: row.get("reject")?,
        })
    })?)
}

/// By position, in the order of the SELECT: finding columns by name costs a tenth of reading a long history.
fn from_row(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    Ok(HistoryRow {
        update_no: row.get(0)?,
        applied_at: row.get::<_, Option<Parsed<_>>>(1)?.map(|parsed| parsed.0),
        energy: row.get(2)?,
        integrity: row.get(3)?,
        entropy: row.get(4)?,
        void_integral: row.get(5)?,
        coherence: row.get(6)?,
        lambda1: row.get(7)?,
        risk_score: row.get(8)?,
        void_active: row.get(9)?,
        elapsed: row.get(10)?,
        decision: row.get::<_, Parsed<_>>(11)?.0,
        decision_reason: row.get(12)?,
        health_status: row.get::<_, Parsed<_>>(13)?.0,
    })
}
