//! Shapes that several tools and resources share.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire;

use govstore::Timestamp;
use govstore::health::{self, Health, HealthStatus, HealthThresholds};
use govstore::{Agent, Lifecycle};

/// The arguments of a tool that takes an agent and nothing else.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct AgentArguments {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    pub agent_id: String,
}

/// An agent in a list.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct AgentListing {
    /// The agent.
    pub agent_id: String,
    /// Whether it takes updates.
    #[schemars(with = "wire::Lifecycle")]
    pub lifecycle_status: Lifecycle,
    /// How it is doing.
    #[schemars(with = "wire::HealthStatus")]
    pub health_status: HealthStatus,
    /// Why, in words.
    pub health_message: String,
    /// First seen.
    #[schemars(with = "wire::Timestamp")]
    pub created: Timestamp,
    /// Newest update; null before the first.
    #[schemars(with = "Option<wire::Timestamp>")]
    pub last_update: Option<Timestamp>,
    /// Updates since the start or the last reset.
    pub update_count: i64,
    /// Updates in its lifetime.
    pub total_updates: i64,
    /// Version label.
    pub version: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Free text.
    pub notes: String,
    /// Its current figures.
    pub metrics: Snapshot,
}

impl AgentListing {
    pub fn of(agent: Agent, thresholds: &HealthThresholds) -> Self {
        let health = health_of(&agent, thresholds);
        Self {
            lifecycle_status: agent.lifecycle_status,
            health_status: health.status,
            health_message: health.message,
            created: agent.created_at,
            last_update: agent.last_update_at,
            update_count: agent.update_count,
            total_updates: agent.total_updates,
            metrics: Snapshot::of(&agent),
            agent_id: agent.agent_id,
            version: agent.version,
            tags: agent.tags,
            notes: agent.notes,
        }
    }
}

/// An agent's current figures.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[expect(non_snake_case, reason = "the names of v1.0.3")]
pub struct Snapshot {
    /// Ethical coupling.
    lambda1: f64,
    /// Coherence of the newest parameters with those before, 0 to 1.
    coherence: f64,
    /// Whether V is over its threshold.
    void_active: bool,
    /// Energy, 0 to 1.
    E: f64,
    /// Information integrity, 0 to 1.
    I: f64,
    /// Entropy, 0 to 1.
    S: f64,
    /// Void integral, the integrated imbalance of E and I, -1 to 1.
    V: f64,
    /// Risk of the newest update, 0 to 1; null before the first.
    risk_score: Option<f64>,
}

impl Snapshot {
    pub fn of(agent: &Agent) -> Self {
        Self {
            lambda1: agent.lambda1,
            coherence: coherence_of(agent),
            void_active: agent.void_active,
            E: agent.energy,
            I: agent.integrity,
            S: agent.entropy,
            V: agent.void_integral,
            risk_score: agent.risk_score,
        }
    }
}

/// An agent's health, status and message by the same thresholds.
pub fn health_of(agent: &Agent, thresholds: &HealthThresholds) -> Health {
    health::classify(agent.risk_score, agent.coherence, agent.void_active, thresholds)
}

/// Coherence as v1.0.3 shows it: before anything is measured it is 1.
pub fn coherence_of(agent: &Agent) -> f64 {
    agent.coherence.unwrap_or(1.0)
}
