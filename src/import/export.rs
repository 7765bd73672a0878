//! One history export of v1.0.3: the figures of one agent's updates, and the state they end with.

use serde::Deserialize;

use super::metadata::COUNT_MAX;
use crate::governance::{self, Action, State, VOID_WINDOW};

/// The file as v1.0.3 writes it. E, I and S have only their last value.
#[derive(Deserialize)]
struct ExportFile {
    agent_id: String,
    #[serde(rename = "E_history")]
    energy: Vec<f64>,
    #[serde(rename = "I_history")]
    integrity: Vec<f64>,
    #[serde(rename = "S_history")]
    entropy: Vec<f64>,
    #[serde(rename = "V_history")]
    void_integral: Vec<f64>,
    #[serde(rename = "coherence_history")]
    coherence: Vec<f64>,
    #[serde(rename = "risk_history")]
    risk_score: Vec<f64>,
    #[serde(rename = "decision_history")]
    decision: Vec<Action>,
    lambda1_final: f64,
    total_time: f64,
    /// More than there are values, if the server had dropped the oldest from its memory.
    total_updates: Option<i64>,
}

/// A history that can be used.
pub(crate) struct Export {
    pub agent_id: String,
    /// Oldest first, at least one.
    pub updates: Vec<ExportedUpdate>,
    /// The agent's state after the last of them.
    pub state: State,
}

/// One update. v1.0.3 did not keep when it was made, λ₁ and the reason of the decision.
pub(crate) struct ExportedUpdate {
    pub energy: Option<f64>,
    pub integrity: Option<f64>,
    pub entropy: Option<f64>,
    pub void_integral: f64,
    pub coherence: f64,
    pub risk_score: f64,
    pub decision: Action,
    pub void_active: bool,
}

/// Parses and checks a whole file, by the rules that the schema has for the same figures.
pub(crate) fn parse(json: &[u8]) -> Result<Export, String> {
    let file: ExportFile =
        serde_json::from_slice(json).map_err(|e| format!("it is no history export of v1.0.3: {e}"))?;
    let updates = file.void_integral.len();
    for (name, values) in [
        ("coherence_history", file.coherence.len()),
        ("risk_history", file.risk_score.len()),
        ("decision_history", file.decision.len()),
    ] {
        if values != updates {
            return Err(format!("{name} has {values} values and V_history {updates}"));
        }
    }
    check_range("V_history", &file.void_integral, -1.0, 1.0)?;
    check_range("coherence_history", &file.coherence, 0.0, 1.0)?;
    check_range("risk_history", &file.risk_score, 0.0, 1.0)?;
    check_range("lambda1_final", &[file.lambda1_final], 0.0, 1.0)?;
    check_range("total_time", &[file.total_time], 0.0, 1e300)?;
    let (Some(&void_integral), Some(&coherence)) = (file.void_integral.last(), file.coherence.last()) else {
        return Err("it has no updates".to_owned());
    };
    let state = State {
        energy: check_state("E_history", &file.energy, updates)?,
        integrity: check_state("I_history", &file.integrity, updates)?,
        entropy: check_state("S_history", &file.entropy, updates)?,
        void_integral,
        measured_coherence: Some(coherence),
        lambda1: file.lambda1_final,
        elapsed: file.total_time,
        update_count: check_count(file.total_updates, updates)?,
        recent_void: window(&file.void_integral, updates - 1).to_vec(),
        ..State::default() // neither the parameters nor the controller's integral was exported
    };
    let updates = (0..updates)
        .map(|n| ExportedUpdate {
            energy: aligned(&file.energy, n, updates),
            integrity: aligned(&file.integrity, n, updates),
            entropy: aligned(&file.entropy, n, updates),
            void_integral: file.void_integral[n],
            coherence: file.coherence[n],
            risk_score: file.risk_score[n],
            decision: file.decision[n],
            void_active: governance::void_active(window(&file.void_integral, n)),
        })
        .collect();
    Ok(Export { agent_id: file.agent_id, updates, state })
}

fn check_range(name: &str, values: &[f64], min: f64, max: f64) -> Result<(), String> {
    match values.iter().position(|value| !(min..=max).contains(value)) {
        None => Ok(()),
        Some(n) => Err(format!("{name}: {} does not lie between {min} and {max}", values[n])),
    }
}

/// The last of the values, which may be fewer than there are updates.
fn check_state(name: &str, values: &[f64], updates: usize) -> Result<f64, String> {
    check_range(name, values, 0.0, 1.0)?;
    match values.last() {
        Some(last) if values.len() <= updates => Ok(*last),
        _ => Err(format!("{name} has {} values for {updates} updates", values.len())),
    }
}

/// Updates since the start or the last reset.
fn check_count(total_updates: Option<i64>, updates: usize) -> Result<i64, String> {
    let exported = i64::try_from(updates).unwrap_or(COUNT_MAX);
    match total_updates {
        Some(total) if !(exported..=COUNT_MAX).contains(&total) => {
            Err(format!("total_updates: {total} does not lie between {updates} and {COUNT_MAX}"))
        }
        total => Ok(total.unwrap_or(exported)),
    }
}

/// The value of update `n` in a list that ends with the last of `updates`.
fn aligned(values: &[f64], n: usize, updates: usize) -> Option<f64> {
    values.get((n + values.len()).checked_sub(updates)?).copied()
}

/// What the void threshold looked at after update `n`.
fn window(void_integral: &[f64], n: usize) -> &[f64] {
    &void_integral[(n + 1).saturating_sub(VOID_WINDOW)..=n]
}
