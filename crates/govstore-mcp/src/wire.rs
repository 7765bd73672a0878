//! The wire format: the library's types under the names that v1.0.3 gave them.
//!
//! The library's own types have the names that a reader of Rust expects. What a client sees is here: [`UpdateReport`]
//! and [`HistoryRow`] with their parts.

use govstore::Timestamp;
use serde::Serialize;

/// What one update did: the result of v1.0.3's `process_agent_update`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct UpdateReport {
    /// The agent.
    pub agent_id: String,
    /// The status word of v1.0.3. For health, see [`Metrics::health_status`].
    pub status: govstore::LegacyStatus,
    /// What to do with the response.
    pub decision: Decision,
    /// The agent's state after the update.
    pub metrics: Metrics,
    /// How the agent should sample its next response.
    pub sampling_params: SamplingParams,
    /// When the update was made.
    pub timestamp: Timestamp,
    /// The key of the update, if it was given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Set if this is the report of an earlier update with the same key: nothing was written now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// Set for the agent `default_agent`, which clients share by mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<&'static str>,
}

/// What to do with a response, and why.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// What to do.
    pub action: govstore::Action,
    /// Why, in words.
    pub reason: String,
    /// Whether a person should look: true for every rejection.
    pub require_human: bool,
}

/// An agent's figures after an update.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// E, 0 to 1.
    #[serde(rename = "E")]
    pub energy: f64,
    /// I, information integrity, 0 to 1.
    #[serde(rename = "I")]
    pub integrity: f64,
    /// S, 0 to 1.
    #[serde(rename = "S")]
    pub entropy: f64,
    /// V, the integrated imbalance of E and I, −1 to 1.
    #[serde(rename = "V")]
    pub void_integral: f64,
    /// Coherence of these parameters with those before, 0 to 1.
    pub coherence: f64,
    /// λ₁, the ethical coupling.
    pub lambda1: f64,
    /// Risk of the response, 0 to 1.
    pub risk_score: f64,
    /// The four parts that add up to the risk.
    pub risk_parts: RiskParts,
    /// Which risky phrases occurred in the response.
    pub patterns: Vec<&'static str>,
    /// Whether |V| is over its threshold.
    pub void_active: bool,
    /// Simulated time since the start or the last reset.
    pub time: f64,
    /// Updates since the start or the last reset.
    pub updates: i64,
    /// Updates in the agent's lifetime: the `update_no` of this one.
    pub total_updates: i64,
    /// How the agent is doing.
    pub health_status: govstore::HealthStatus,
    /// Why, in words.
    pub health_message: String,
}

/// What a risk is made of.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct RiskParts {
    /// From the length of the response.
    pub length: f64,
    /// From its complexity.
    pub complexity: f64,
    /// From what the parameters lack in coherence.
    pub coherence: f64,
    /// From risky phrases in the response.
    pub patterns: f64,
}

/// How the agent should sample its next response: λ₁ opens or narrows it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct SamplingParams {
    /// Sampling temperature, 0.5 to 1.2.
    pub temperature: f64,
    /// Nucleus sampling share, 0.85 to 0.95.
    pub top_p: f64,
    /// Tokens to allow, 100 to 500.
    pub max_tokens: i64,
    /// The λ₁ they were computed from.
    pub lambda1: f64,
}

/// One update as it was committed.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct HistoryRow {
    /// 1, 2, 3, … in the agent's lifetime.
    pub update_no: i64,
    /// When it was committed; `None` if it was imported.
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
    pub decision: govstore::Action,
    /// Why, in words.
    pub decision_reason: Option<String>,
    /// How the agent was doing, judged by the settings of then.
    pub health_status: govstore::HealthStatus,
    /// The four parts that add up to the risk; `None` where they were not kept.
    pub risk_parts: Option<RiskParts>,
    /// The complexity as it counted, 0 to 1.
    pub complexity: Option<f64>,
    /// Characters of the response.
    pub text_length: Option<u64>,
    /// Which risky phrases occurred in the response.
    pub patterns: Option<Vec<&'static str>>,
    /// The key of the update, if it was given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl From<govstore::RiskParts> for RiskParts {
    fn from(parts: govstore::RiskParts) -> Self {
        Self {
            length: parts.length,
            complexity: parts.complexity,
            coherence: parts.coherence,
            patterns: parts.patterns,
        }
    }
}

impl From<govstore::UpdateReport> for UpdateReport {
    fn from(report: govstore::UpdateReport) -> Self {
        Self {
            agent_id: report.agent_id,
            status: report.status,
            decision: report.decision.into(),
            metrics: report.metrics.into(),
            sampling_params: report.sampling_params.into(),
            timestamp: report.timestamp,
            key: report.key,
            repeated: report.repeated,
            warning: report.warning,
        }
    }
}

impl From<govstore::Decision> for Decision {
    fn from(decision: govstore::Decision) -> Self {
        Self { action: decision.action, reason: decision.reason, require_human: decision.require_human }
    }
}

impl From<govstore::Metrics> for Metrics {
    fn from(metrics: govstore::Metrics) -> Self {
        Self {
            energy: metrics.energy,
            integrity: metrics.integrity,
            entropy: metrics.entropy,
            void_integral: metrics.void_integral,
            coherence: metrics.coherence,
            lambda1: metrics.lambda1,
            risk_score: metrics.risk_score,
            risk_parts: metrics.risk_parts.into(),
            patterns: metrics.risk_basis.patterns.iter().collect(),
            void_active: metrics.void_active,
            time: metrics.time,
            updates: metrics.updates,
            total_updates: metrics.total_updates,
            health_status: metrics.health_status,
            health_message: metrics.health_message,
        }
    }
}

impl From<govstore::SamplingParams> for SamplingParams {
    fn from(params: govstore::SamplingParams) -> Self {
        Self {
            temperature: params.temperature,
            top_p: params.top_p,
            max_tokens: params.max_tokens,
            lambda1: params.lambda1,
        }
    }
}

impl From<govstore::HistoryRow> for HistoryRow {
    fn from(row: govstore::HistoryRow) -> Self {
        let basis = row.risk_basis;
        Self {
            risk_parts: row.risk_parts().map(Into::into),
            complexity: basis.map(|basis| basis.complexity),
            text_length: basis.map(|basis| basis.text_length),
            patterns: basis.map(|basis| basis.patterns.iter().collect()),
            key: row.key,
            update_no: row.update_no,
            applied_at: row.applied_at,
            energy: row.energy,
            integrity: row.integrity,
            entropy: row.entropy,
            void_integral: row.void_integral,
            coherence: row.coherence,
            lambda1: row.lambda1,
            risk_score: row.risk_score,
            void_active: row.void_active,
            elapsed: row.elapsed,
            decision: row.decision,
            decision_reason: row.decision_reason,
            health_status: row.health_status,
        }
    }
}
