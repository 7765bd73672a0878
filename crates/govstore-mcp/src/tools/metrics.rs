//! An agent's current state and what its newest updates come to.

use serde::Serialize;

use crate::argument::AgentId;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::{AgentArguments, NOTHING_IS_KNOWN, health_of, is_measured};
use crate::tool::{Effect, Field, Tool};
use crate::wire;
use govstore::{HealthStatus, LegacyStatus};

pub struct GetGovernanceMetrics;

#[derive(Serialize)]
pub struct GovernanceMetrics {
    agent_id: String,
    state: State,
    /// Critical in a void state, else healthy: the status word of v1.0.3.
    status: LegacyStatus,
    health_status: HealthStatus,
    health_message: String,
    sampling_params: wire::SamplingParams,
    /// How many updates the figures below are of: the newest 1000 since the start or the last reset.
    history_size: u64,
    mean_risk: f64,
    void_frequency: f64,
    decision_statistics: DecisionStatistics,
    /// Of the newest update.
    risk_parts: Option<wire::RiskParts>,
    /// Set while nothing is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// The state that the governance cycle advances.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of v1.0.3")]
struct State {
    E: f64,
    I: f64,
    S: f64,
    V: f64,
    coherence: Option<f64>,
    lambda1: f64,
    void_active: bool,
    time: f64,
    update_count: i64,
}

/// How the responses were decided on.
#[derive(Serialize)]
struct DecisionStatistics {
    approve: u64,
    revise: u64,
    reject: u64,
    total: u64,
}

impl Tool for GetGovernanceMetrics {
    const NAME: &'static str = "get_governance_metrics";
    const TITLE: &'static str = "Get an agent's metrics";
    const DESCRIPTION: &'static str = "Look at an agent's state without changing it, when there is no \
        response to judge. health_message says how the agent is doing; mean_risk, void_frequency (V off \
        balance) and decision_statistics are of its newest history_size updates; risk_parts add up to the \
        newest risk; note says if nothing is known yet.";
    const EFFECT: Effect = Effect::Reads;
    const RESULT: &'static [Field] = &[("state", "object"), ("health_status", "string")];
    type Arguments = AgentArguments;
    type Outcome = GovernanceMetrics;

    fn call(session: &Session, arguments: AgentArguments) -> Result<Self::Outcome, Refusal> {
        let AgentId(agent_id) = arguments.agent_id;
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
                coherence: agent.coherence,
                lambda1: agent.lambda1,
                void_active: agent.void_active,
                time: agent.elapsed,
                update_count: agent.update_count,
            },
            status: if agent.void_active { LegacyStatus::Critical } else { LegacyStatus::Healthy },
            health_status: health.status,
            health_message: health.message,
            sampling_params: govstore::SamplingParams::for_lambda1(agent.lambda1).into(),
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
            note: (!is_measured(&agent)).then_some(NOTHING_IS_KNOWN),
        })
    }
}
