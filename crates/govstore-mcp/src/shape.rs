//! Shapes that several tools share.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::argument::AgentId;

use govstore::Agent;
use govstore::health::{self, Health, HealthThresholds};

/// What is said of an agent without a measured state, where v1.0.3 said that it was not loaded.
pub const NOTHING_IS_KNOWN: &str =
    "no update since its start or last reset, so its coherence, risk and health are not known";

/// The arguments of a tool that takes an agent and nothing else.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct AgentArguments {
    /// The agent.
    pub agent_id: AgentId,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars", inline)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    Summary,
    Full,
}

/// An agent's current figures.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of v1.0.3")]
pub struct Snapshot {
    lambda1: f64,
    /// `None` before anything is measured, as the risk.
    coherence: Option<f64>,
    void_active: bool,
    E: f64,
    I: f64,
    S: f64,
    V: f64,
    risk_score: Option<f64>,
}

impl Snapshot {
    pub fn of(agent: &Agent) -> Self {
        Self {
            lambda1: agent.lambda1,
            coherence: agent.coherence,
            void_active: agent.void_active,
            E: agent.energy,
            I: agent.integrity,
            S: agent.entropy,
            V: agent.void_integral,
            risk_score: agent.risk_score,
        }
    }
}

/// Whether an update has measured the agent's state since its start or last reset.
pub const fn is_measured(agent: &Agent) -> bool {
    agent.coherence.is_some() || agent.risk_score.is_some()
}

/// An agent's health, status and message by the same thresholds.
pub fn health_of(agent: &Agent, thresholds: &HealthThresholds) -> Health {
    health::classify(agent.risk_score, agent.coherence, agent.void_active, thresholds)
}
