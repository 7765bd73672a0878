//! The main job: one governance update, made durable.
//!
//! Read, compute and write happen inside one write transaction, so of two updates of one agent the second
//! always starts from what the first one left.

use rusqlite::{OptionalExtension, named_params, params};
use serde::Serialize;

use super::Lifecycle;
use super::event::{self, EventKind};
use super::lifecycle::PIONEER_TAG;
use super::lock::{self, LockRow};
use super::record::AgentId;
use crate::crash_point;
use crate::error::{Error, Result};
use crate::governance::{self, Decision, LegacyStatus, SamplingParams, State, Update, Verdict};
use crate::health::{self, Finding, Health, HealthStatus};
use crate::store::column::{Json, Numbers, Parsed, bytes};
use crate::store::{Settings, Store, TxResult, WriteTx};
use crate::timestamp::Timestamp;

/// The agent of clients that name none. It gets the tag `pioneer`, so that it can't be deleted.
const DEFAULT_AGENT: &str = "default_agent";
const DEFAULT_AGENT_WARNING: &str =
    "default_agent is shared by every client that names no agent; give each agent an id of its own";

/// What one update did. In JSON it has the fields of v1.0.3's `process_agent_update`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "mcp", derive(rmcp::schemars::JsonSchema), schemars(crate = "rmcp::schemars"))]
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
    /// Set for the agent `default_agent`, which clients share by mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<&'static str>,
}

/// An agent's figures after an update.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "mcp", derive(rmcp::schemars::JsonSchema), schemars(crate = "rmcp::schemars"))]
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

impl Store {
    /// Applies one update to an agent, creating the agent if it is new. When this returns `Ok`, the update
    /// is committed, and with it a heartbeat and the activity of this process, if it is registered.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] unless the agent is active, [`Error::InvalidAgentId`],
    /// [`Error::AgentLocked`], [`Error::Fenced`], [`Error::LockTimeout`], [`Error::DiskFull`],
    /// [`Error::Displaced`], [`Error::DeviceFailed`]: nothing was written. [`Error::CommitInDoubt`]: the update may
    /// have been kept or not; look before you make it again. After that [`Error::RefusedAfterDoubt`], until the
    /// store is opened again.
    pub fn process_update(&self, agent_id: &str, update: &Update) -> Result<UpdateReport> {
        let id = AgentId::parse(agent_id)?;
        self.scan_in_background();
        self.once_unlocked(id, |wait| {
            self.write_as_member_by(wait, |tx, settings| apply(self, tx, id, update, settings))
        })
    }
}

/// What an update needs to know of an agent's row.
struct Before {
    state: State,
    risk_score: Option<f64>,
    void_active: bool,
    total_updates: i64,
}

/// One update. `None`: another process has the agent locked.
fn apply(
    store: &Store,
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    update: &Update,
    settings: &Settings,
) -> TxResult<Option<UpdateReport>> {
    let Before { mut state, risk_score, void_active, total_updates } = match load(tx, id)? {
        Some((before, lock)) if lock::admits(store, tx, id, lock)? => before,
        Some(_) => return Ok(None),
        None => create(tx, id)?,
    };
    crash_point::reach("after the read");
    let update_no = total_updates.checked_add(1).ok_or_else(|| Error::Constraint {
        rule: format!("total_updates of agent {:?} is as large as a number can be", id.as_str()),
    })?;
    let thresholds = settings.health_thresholds();
    let status_before = (state.update_count > 0)
        .then(|| Finding::of(risk_score, state.measured_coherence, void_active, &thresholds).status());

    let verdict = governance::step(&mut state, update);
    let health = health::classify(
        Some(verdict.risk_score),
        state.measured_coherence,
        verdict.void_active,
        &thresholds,
    );
    save_state(tx, id, &state, &verdict, update_no)?;
    append_history(tx, id, &state, &verdict, &health, update_no)?;
    if status_before != Some(health.status) {
        event::record_health(tx, id, status_before, &health)?;
    }
    Ok(Some(report(tx.at, id, &state, verdict, health, update_no)))
}

/// The agent's state and who has it locked, if it is known. Refuses one that takes no updates.
fn load(tx: &WriteTx<'_>, id: AgentId<'_>) -> TxResult<Option<(Before, LockRow)>> {
    let mut statement = tx.prepare_cached(
        "SELECT a.lifecycle_status, a.energy, a.integrity, a.entropy, a.void_integral, a.coherence, a.lambda1,
                a.pi_integral, a.elapsed, a.update_count, a.parameters, a.recent_void, a.risk_score,
                a.void_active, a.total_updates, l.process_id, l.token
         FROM agents AS a
         LEFT JOIN agent_locks AS l ON l.agent_id = a.agent_id
         WHERE a.agent_id = :agent_id",
    )?;
    // In the order of the SELECT: finding columns by name would cost a tenth of an update.
    let row = statement
        .query_row(named_params! { ":agent_id": id.as_str() }, |row| {
            let lifecycle: Lifecycle = row.get::<_, Parsed<_>>(0)?.0;
            let before = Before {
                state: State {
                    energy: row.get(1)?,
                    integrity: row.get(2)?,
                    entropy: row.get(3)?,
                    void_integral: row.get(4)?,
                    measured_coherence: row.get(5)?,
                    lambda1: row.get(6)?,
                    pi_integral: row.get(7)?,
                    elapsed: row.get(8)?,
                    update_count: row.get(9)?,
                    parameters: row.get::<_, Option<Numbers>>(10)?.map(|numbers| {
                        let mut parameters = numbers.0;
                        parameters.resize(governance::PARAMETER_COUNT, 0.0);
                        parameters
                    }),
                    recent_void: row.get::<_, Numbers>(11)?.0,
                },
                risk_score: row.get(12)?,
                void_active: row.get(13)?,
                total_updates: row.get(14)?,
            };
            let lock = match row.get(15)? {
                Some(process_id) => Some((process_id, row.get(16)?)),
                None => None,
            };
            Ok((lifecycle, before, lock))
        })
        .optional()?;
    match row {
        None => Ok(None),
        Some((Lifecycle::Active, before, lock)) => Ok(Some((before, lock))),
        Some((status, ..)) => {
            let agent_id = id.as_str().to_owned();
            Err(Error::WrongLifecycle { agent_id, status, action: "updated" }.into())
        }
    }
}

/// Makes a new agent, active and in its initial state.
fn create(tx: &WriteTx<'_>, id: AgentId<'_>) -> TxResult<Before> {
    let tags: &[&str] = if id.as_str() == DEFAULT_AGENT { &[PIONEER_TAG] } else { &[] };
    tx.prepare_cached(
        "INSERT INTO agents (agent_id, created_at, tags) VALUES (:agent_id, :created_at, :tags)",
    )?
    .execute(named_params! {
        ":agent_id": id.as_str(),
        ":created_at": tx.at_text,
        ":tags": Json(tags),
    })?;
    event::record(tx, id, EventKind::Created, None)?;
    Ok(Before { state: State::default(), risk_score: None, void_active: false, total_updates: 0 })
}

/// Values are bound in the order in which their names first appear: looking names up costs 5 % of an update.
fn save_state(
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    state: &State,
    verdict: &Verdict,
    total_updates: i64,
) -> TxResult<()> {
    tx.prepare_cached(
        "UPDATE agents SET
           last_update_at = :last_update_at,
           energy = :energy, integrity = :integrity, entropy = :entropy, void_integral = :void_integral,
           coherence = :coherence, lambda1 = :lambda1, pi_integral = :pi_integral, elapsed = :elapsed,
           risk_score = :risk_score, void_active = :void_active,
           update_count = :update_count, total_updates = :total_updates,
           last_decision = :last_decision, last_decision_reason = :last_decision_reason,
           parameters = :parameters, recent_void = :recent_void
         WHERE agent_id = :agent_id",
    )?
    .execute(params![
        tx.at_text,
        state.energy,
        state.integrity,
        state.entropy,
        state.void_integral,
        state.measured_coherence,
        state.lambda1,
        state.pi_integral,
        state.elapsed,
        verdict.risk_score,
        verdict.void_active,
        state.update_count,
        total_updates,
        verdict.decision.action.as_str(),
        verdict.decision.reason,
        state.parameters.as_deref().map(|p| bytes(without_trailing_zeros(p))),
        bytes(&state.recent_void),
        id.as_str(),
    ])?;
    Ok(())
}

/// Clients send a handful of numbers and the vector is padded to 128; the padding need not be stored.
fn without_trailing_zeros(parameters: &[f64]) -> &[f64] {
    let used = parameters.iter().rposition(|p| *p != 0.0).map_or(0, |last| last + 1);
    &parameters[..used]
}

/// Bound like [`save_state`].
fn append_history(
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    state: &State,
    verdict: &Verdict,
    health: &Health,
    update_no: i64,
) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO agent_updates (
           agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
           risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id
         ) VALUES (
           :agent_id, :update_no, :applied_at, :energy, :integrity, :entropy, :void_integral, :coherence,
           :lambda1, :risk_score, :void_active, :elapsed, :decision, :decision_reason, :health_status,
           :process_id
         )",
    )?
    .execute(params![
        id.as_str(),
        update_no,
        tx.at_text,
        state.energy,
        state.integrity,
        state.entropy,
        state.void_integral,
        state.measured_coherence,
        state.lambda1,
        verdict.risk_score,
        verdict.void_active,
        state.elapsed,
        verdict.decision.action.as_str(),
        verdict.decision.reason,
        health.status.as_str(),
        tx.process_id(),
    ])?;
    Ok(())
}

fn report(
    at: Timestamp,
    id: AgentId<'_>,
    state: &State,
    verdict: Verdict,
    health: Health,
    total_updates: i64,
) -> UpdateReport {
    UpdateReport {
        agent_id: id.as_str().to_owned(),
        status: verdict.status,
        decision: verdict.decision,
        metrics: Metrics {
            energy: state.energy,
            integrity: state.integrity,
            entropy: state.entropy,
            void_integral: state.void_integral,
            coherence: state.coherence(),
            lambda1: state.lambda1,
            risk_score: verdict.risk_score,
            void_active: verdict.void_active,
            time: state.elapsed,
            updates: state.update_count,
            total_updates,
            health_status: health.status,
            health_message: health.message,
        },
        sampling_params: verdict.sampling_params,
        timestamp: at,
        warning: (id.as_str() == DEFAULT_AGENT).then_some(DEFAULT_AGENT_WARNING),
    }
}
