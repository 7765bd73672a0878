//! What one update did.

use serde::Serialize;

use super::timestamp::Timestamp;
use crate::governance::{Decision, LegacyStatus, RiskBasis, RiskParts, SamplingParams};
use crate::health::HealthStatus;

/// What one update did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpdateReport {
    /// The agent.
    pub agent_id: String,
    /// The status word of v1.0.3. For health, see [`Metrics::health_status`].
    pub status: LegacyStatus,
    /// What to do with the response.
    pub decision: Decision,
    /// The agent's state after the update.
    pub metrics: Metrics,
    /// How the agent should sample its next response.
    pub sampling_params: SamplingParams,
    /// When the update was made.
    pub timestamp: Timestamp,
    /// The key that it was made under, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether this is the report of an earlier update with the same key: nothing was written now.
    #[serde(skip_serializing_if = "is_false")]
    pub repeated: bool,
    /// Set for the agent `default_agent`, which clients share by mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// An agent's figures after an update.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// E, 0 to 1.
    pub energy: f64,
    /// I, information integrity, 0 to 1.
    pub integrity: f64,
    /// S, 0 to 1.
    pub entropy: f64,
    /// V, the integrated imbalance of E and I, −1 to 1.
    pub void_integral: f64,
    /// Coherence of these parameters with those before, 0 to 1.
    pub coherence: f64,
    /// λ₁, the ethical coupling.
    pub lambda1: f64,
    /// Risk of the response, 0 to 1.
    pub risk_score: f64,
    /// The four parts that add up to the risk.
    pub risk_parts: RiskParts,
    /// What they were computed from, beside the coherence.
    pub risk_basis: RiskBasis,
    /// Whether |V| is over its threshold.
    pub void_active: bool,
    /// Simulated time since the start or the last reset.
    pub time: f64,
    /// Updates since the start or the last reset.
    pub updates: i64,
    /// Updates in the agent's lifetime: the `update_no` of this one.
    pub total_updates: i64,
    /// How the agent is doing.
    pub health_status: HealthStatus,
    /// Why, in words.
    pub health_message: String,
}
