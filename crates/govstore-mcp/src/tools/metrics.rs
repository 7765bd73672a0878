//! An agent's current state and what its newest updates come to.

use rmcp::schemars::JsonSchema;
use serde::Serialize;

use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::{AgentArguments, coherence_of, health_of};
use crate::tool::{Effect, Tool};
use crate::wire;
use govstore::HealthStatus;
use govstore::{LegacyStatus, SamplingParams};

pub struct GetGovernanceMetrics;

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct GovernanceMetrics {
    /// The agent.
    agent_id: String,
    state: State,
    /// critical in a void state, else healthy: the status word of v1.0.3. See `health_status`.
    #[schemars(with = "wire::LegacyStatus")]
    status: LegacyStatus,
    /// How the agent is doing.
    #[schemars(with = "wire::HealthStatus")]
    health_status: HealthStatus,
    /// Why, in words.
    health_message: String,
    #[schemars(with = "wire::SamplingParams")]
    sampling_params: SamplingParams,
    /// How many updates the figures below are of: the newest 1000 since the start or the last reset.
    history_size: u64,
    /// Mean risk of these updates, 0 to 1.
    mean_risk: f64,
    /// Share of these updates with V further than 0.15 from 0.
    void_frequency: f64,
    decision_statistics: DecisionStatistics,
    /// The four parts that add up to the risk of the newest update; null where they are not known.
    risk_parts: Option<wire::RiskParts>,
}

/// The state that the governance cycle advances.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[expect(non_snake_case, reason = "the names of v1.0.3")]
struct State {
    /// Energy, 0 to 1.
    E: f64,
    /// Information integrity, 0 to 1.
    I: f64,
    /// Entropy, 0 to 1.
    S: f64,
    /// Void integral, the integrated imbalance of E and I, -1 to 1.
    V: f64,
    /// Coherence of the newest parameters with those before, 0 to 1.
    coherence: f64,
    /// Ethical coupling.
    lambda1: f64,
    /// Whether V is over its threshold.
    void_active: bool,
    /// Simulated time since the start or the last reset.
    time: f64,
    /// Updates since the start or the last reset.
    update_count: i64,
}

/// How the responses were decided on.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct DecisionStatistics {
    approve: u64,
    revise: u64,
    reject: u64,
    total: u64,
}

impl Tool for GetGovernanceMetrics {
    const NAME: &'static str = "get_governance_metrics";
    const TITLE: &'static str = "Get an agent's metrics";
    const DESCRIPTION: &'static str = "Get an agent's current state, health, sampling parameters and figures \
        over its newest 1000 updates, without changing anything.";
    const EFFECT: Effect = Effect::Reads;
    type Arguments = AgentArguments;
    type Outcome = GovernanceMetrics;

    fn call(
        session: &Session,
        AgentArguments { agent_id }: AgentArguments,
    ) -> Result<Self::Outcome, Refusal> {
        let agent = session.store().agent(&agent_id)?;
        let window = session.store().window_statistics(&agent_id)?;
        let newest = session.store().history(&agent_id, Some(1))?.pop().filter(|_| agent.update_count > 0);
        let health = health_of(&agent, &session.store().settings()?.health_thresholds());
        Ok(GovernanceMetrics {
            agent_id,
            state: State {
                E: agent.energy,
                I: agent.integrity,
                S: agent.entropy,
                V: agent.void_integral,
                coherence: coherence_of(&agent),
                lambda1: agent.lambda1,
                void_active: agent.void_active,
                time: agent.elapsed,
                update_count: agent.update_count,
            },
            status: if agent.void_active { LegacyStatus::Critical } else { LegacyStatus::Healthy },
            health_status: health.status,
            health_message: health.message,
            sampling_params: SamplingParams::for_lambda1(agent.lambda1),
            history_size: window.history_size,
            mean_risk: window.mean_risk,
            void_frequency: window.void_frequency,
            decision_statistics: DecisionStatistics {
                approve: window.approve,
                revise: window.revise,
                reject: window.reject,
                total: window.approve + window.revise + window.reject,
            },
            risk_parts: newest.and_then(|row| row.risk_parts()).map(Into::into),
        })
    }
}
