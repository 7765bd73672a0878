//! The main job: one governance update.
//!
//! Read, compute and write happen inside one write transaction, so of two updates of one agent the second
//! always starts from what the first one left.

use super::event;
use super::lifecycle::{PIONEER_TAG, refuse_update};
use crate::backend::statements::{Transaction, TxResult};
use crate::crash_point;
use crate::error::Error;
use crate::governance::{self, Assessment, State, Update};
use crate::health::{self, Finding, Health};
use crate::model::{AgentId, AgentState, EventKind, Lifecycle, Metrics, Settings, Timestamp, UpdateReport};

/// The agent of clients that name none. It gets the tag `pioneer`, so that it can't be deleted.
const DEFAULT_AGENT: &str = "default_agent";
const DEFAULT_AGENT_WARNING: &str =
    "default_agent is shared by every client that names no agent; give each agent an id of its own";

/// Refuses an agent that takes no updates.
pub(crate) fn admit(id: AgentId<'_>, agent: Option<&AgentState>) -> TxResult<()> {
    match agent {
        Some(agent) if agent.lifecycle_status != Lifecycle::Active => {
            Err(refuse_update(id, agent.lifecycle_status).into())
        }
        _ => Ok(()),
    }
}

/// Applies one update to the agent as it was loaded by this transaction, or to a new one.
pub(crate) fn apply(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    update: &Update,
    agent: Option<AgentState>,
    settings: &Settings,
) -> TxResult<UpdateReport> {
    let AgentState { mut state, risk_score, void_active, total_updates, .. } = match agent {
        Some(agent) => agent,
        None => create(tx, id)?,
    };
    crash_point::reach("after the read");
    let update_no = total_updates.checked_add(1).ok_or_else(|| Error::Constraint {
        rule: format!("total_updates of agent {:?} is as large as a number can be", id.as_str()),
    })?;
    let thresholds = settings.health_thresholds();
    let status_before = (state.update_count > 0)
        .then(|| Finding::of(risk_score, state.measured_coherence, void_active, &thresholds).status());

    let assessment = governance::step(&mut state, update);
    let health = health::classify(
        Some(assessment.risk_score),
        state.measured_coherence,
        assessment.void_active,
        &thresholds,
    );
    tx.save_state(id.as_str(), &state, &assessment, update_no)?;
    tx.append_update(id.as_str(), &state, &assessment, &health, update_no)?;
    if status_before != Some(health.status) {
        event::record_health(tx, id, status_before, &health)?;
    }
    Ok(report(tx.at(), id, &state, assessment, health, update_no))
}

/// Makes a new agent, active and in its initial state.
fn create(tx: &dyn Transaction, id: AgentId<'_>) -> TxResult<AgentState> {
    let tags: &[&str] = if id.as_str() == DEFAULT_AGENT { &[PIONEER_TAG] } else { &[] };
    tx.insert_agent(id.as_str(), tags)?;
    event::record(tx, id, EventKind::Created, None)?;
    Ok(AgentState {
        lifecycle_status: Lifecycle::Active,
        state: State::default(),
        risk_score: None,
        void_active: false,
        total_updates: 0,
    })
}

fn report(
    at: Timestamp,
    id: AgentId<'_>,
    state: &State,
    assessment: Assessment,
    health: Health,
    total_updates: i64,
) -> UpdateReport {
    UpdateReport {
        agent_id: id.as_str().to_owned(),
        status: assessment.status,
        decision: assessment.decision,
        metrics: Metrics {
            energy: state.energy,
            integrity: state.integrity,
            entropy: state.entropy,
            void_integral: state.void_integral,
            coherence: state.coherence(),
            lambda1: state.lambda1,
            risk_score: assessment.risk_score,
            void_active: assessment.void_active,
            time: state.elapsed,
            updates: state.update_count,
            total_updates,
            health_status: health.status,
            health_message: health.message,
        },
        sampling_params: assessment.sampling_params,
        timestamp: at,
        warning: (id.as_str() == DEFAULT_AGENT).then_some(DEFAULT_AGENT_WARNING),
    }
}
