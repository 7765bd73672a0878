//! The main job: one governance update.
//!
//! Read, compute and write happen inside one write transaction, so of two updates of one agent the second
//! always starts from what the first one left. An update with a key that is in the agent's history already is a retry:
//! it is answered from its row, and writes nothing.

use super::event;
use super::lifecycle::{PIONEER_TAG, refuse_update};
use crate::backend::statements::{Receipt, Transaction, TxResult};
use crate::crash_point;
use crate::error::{Error, Result};
use crate::explain;
use crate::governance::{
    self, Action, Assessment, Decision, LegacyStatus, RiskBasis, RiskParts, SamplingParams, State, Update,
};
use crate::health::{self, Finding, Health};
use crate::model::{
    Actor, AgentId, AgentState, EventKind, HistoryRow, KeyedUpdate, Lifecycle, Metrics, Settings, Timestamp,
    UpdateReport,
};

/// Longer keys are refused, here and by the schema.
const KEY_MAX_CHARS: usize = 200;

/// The agent of clients that name none. It gets the tag `pioneer`, so that it can't be deleted.
const DEFAULT_AGENT: &str = "default_agent";
const DEFAULT_AGENT_WARNING: &str =
    "default_agent is shared by every client that names no agent; give each agent an id of its own";

/// Refuses a key that no update can have.
pub(crate) fn check_key(update: &Update) -> Result<()> {
    let Some(key) = &update.key else { return Ok(()) };
    let reason = if key.is_empty() {
        "it is empty; leave it out for an update without a key"
    } else if key.chars().count() > KEY_MAX_CHARS {
        "it is longer than 200 characters"
    } else if key.contains('\0') {
        "it has a NUL in it"
    } else {
        return Ok(());
    };
    Err(Error::InvalidKey { reason })
}

/// The report of the update that was made under this key, if there was one. Comes before all other rules: a retry is
/// answered whatever has become of the agent since.
pub(crate) fn repeated(
    keyed: Option<&KeyedUpdate>,
    id: AgentId<'_>,
    update: &Update,
    settings: &Settings,
) -> TxResult<Option<UpdateReport>> {
    let (Some(key), Some(KeyedUpdate { row, digest, update_count })) = (&update.key, keyed) else {
        return Ok(None);
    };
    if *digest != update.digest() {
        let (agent_id, key) = (id.as_str().to_owned(), key.clone());
        return Err(Error::KeyReused { agent_id, key, update_no: row.update_no }.into());
    }
    Ok(Some(repeated_report(id, row, *update_count, settings)?))
}

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
    by: &Actor,
) -> TxResult<UpdateReport> {
    let AgentState { mut state, risk_score, void_active, total_updates, .. } = match agent {
        Some(agent) => agent,
        None => create(tx, id, by)?,
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
    let receipt = update.key.as_deref().map(|key| Receipt { key, digest: update.digest() });
    tx.append_update(id.as_str(), &state, &assessment, &health, update_no, receipt.as_ref())?;
    if status_before != Some(health.status) {
        let why = explain::health(
            Some(assessment.risk_score),
            state.measured_coherence,
            assessment.void_active,
            &thresholds,
        );
        event::record_health(tx, id, status_before, health.status, &why, by)?;
    }
    Ok(report(tx.at(), id, update, &state, assessment, health, update_no))
}

/// Makes a new agent, active and in its initial state.
fn create(tx: &dyn Transaction, id: AgentId<'_>, by: &Actor) -> TxResult<AgentState> {
    let tags: &[&str] = if id.as_str() == DEFAULT_AGENT { &[PIONEER_TAG] } else { &[] };
    tx.insert_agent(id.as_str(), tags)?;
    event::record(tx, id, EventKind::Created, None, by)?;
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
    update: &Update,
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
            risk_parts: assessment.risk_parts,
            risk_basis: assessment.risk_basis,
            void_active: assessment.void_active,
            time: state.elapsed,
            updates: state.update_count,
            total_updates,
            health_status: health.status,
            health_message: health.message,
        },
        sampling_params: assessment.sampling_params,
        timestamp: at,
        key: update.key.clone(),
        repeated: false,
        warning: warning(id),
    }
}

/// The report of an update, made again from its row. Health is judged by the settings of now.
fn repeated_report(
    id: AgentId<'_>,
    row: &HistoryRow,
    update_count: i64,
    settings: &Settings,
) -> Result<UpdateReport> {
    let missing = |what: &str| Error::Unreadable {
        what: format!("update {} of agent {:?}", row.update_no, id.as_str()),
        reason: format!("it was made under a key, and has no {what}"),
    };
    let number = |number: Option<f64>, what| number.ok_or_else(|| missing(what));
    let basis: RiskBasis = row.risk_basis.ok_or_else(|| missing("complexity"))?;
    let lambda1 = number(row.lambda1, "lambda1")?;
    let health = health::classify(
        Some(row.risk_score),
        Some(row.coherence),
        row.void_active,
        &settings.health_thresholds(),
    );
    Ok(UpdateReport {
        agent_id: id.as_str().to_owned(),
        status: LegacyStatus::of(row.risk_score, row.coherence, row.void_active),
        metrics: Metrics {
            energy: number(row.energy, "energy")?,
            integrity: number(row.integrity, "integrity")?,
            entropy: number(row.entropy, "entropy")?,
            void_integral: row.void_integral,
            coherence: row.coherence,
            lambda1,
            risk_score: row.risk_score,
            risk_parts: RiskParts::of(&basis, row.coherence),
            risk_basis: basis,
            void_active: row.void_active,
            time: number(row.elapsed, "elapsed")?,
            updates: update_count,
            total_updates: row.update_no,
            health_status: health.status,
            health_message: health.message,
        },
        sampling_params: SamplingParams::for_lambda1(lambda1),
        timestamp: row.applied_at.ok_or_else(|| missing("applied_at"))?,
        decision: Decision {
            action: row.decision,
            reason: row.decision_reason.clone().unwrap_or_default(),
            require_human: row.decision == Action::Reject,
        },
        key: row.key.clone(),
        repeated: true,
        warning: warning(id),
    })
}

fn warning(id: AgentId<'_>) -> Option<&'static str> {
    (id.as_str() == DEFAULT_AGENT).then_some(DEFAULT_AGENT_WARNING)
}
