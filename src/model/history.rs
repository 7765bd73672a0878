//! An agent's history: one row an update.

use serde::Serialize;

use super::timestamp::Timestamp;
use crate::governance::{Action, RiskBasis, RiskParts};
use crate::health::HealthStatus;

/// One update as it was committed. What v1.0.3 did not keep is `None` in imported rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HistoryRow {
    /// 1, 2, 3, … in the agent's lifetime.
    pub update_no: i64,
    /// When it was committed.
    pub applied_at: Option<Timestamp>,
    /// E, 0 to 1.
    pub energy: Option<f64>,
    /// I, 0 to 1.
    pub integrity: Option<f64>,
    /// S, 0 to 1.
    pub entropy: Option<f64>,
    /// V, −1 to 1.
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
    /// What the risk was made of, beside the coherence; `None` for imported updates and those of older versions.
    pub risk_basis: Option<RiskBasis>,
    /// The caller's name for this update, if it gave one.
    pub key: Option<String>,
}

impl HistoryRow {
    /// The four parts that add up to the risk, if they are known.
    #[must_use]
    pub fn risk_parts(&self) -> Option<RiskParts> {
        self.risk_basis.map(|basis| RiskParts::of(&basis, self.coherence))
    }
}

/// An update that was made under a key, as a retry finds it.
pub(crate) struct KeyedUpdate {
    pub row: HistoryRow,
    /// What stands for its input.
    pub digest: u64,
    /// The agent's updates since its start or last reset, after it.
    pub update_count: i64,
}

/// Figures over an agent's last 1000 updates since its start or last reset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
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

/// What pruning removed, or would remove. [`Store::prune`](crate::Store::prune) says what always stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// `history_limit` as it is set; `None` removes nothing by number.
    pub history_limit: Option<u64>,
    /// `history_max_age_days` as it is set; `None` removes nothing by age.
    pub history_max_age_days: Option<f64>,
    /// Agents with updates or events that go.
    pub agents: u64,
    /// Updates removed.
    pub updates: u64,
    /// Events of agents removed.
    pub events: u64,
    /// Entries of the reaper's ledger removed.
    pub reap_events: u64,
    /// Hours of the calls of tools removed, one for each tool.
    pub tool_calls: u64,
    /// Updates over `history_limit` that stay, since the figures of their agents are made of their newest 1000 updates
    /// since their start or last reset.
    pub kept_for_statistics: u64,
}

/// What of an agent's past goes.
pub(crate) struct SurplusHistory {
    pub agent_id: String,
    /// Updates up to this number, and how many they are.
    pub updates_up_to: i64,
    pub updates: i64,
    /// Updates over the limit by number that stay all the same.
    pub kept_for_statistics: i64,
    /// Events up to this number but for one, and how many they are.
    pub events_up_to: i64,
    pub kept_event: i64,
    pub events: i64,
}
