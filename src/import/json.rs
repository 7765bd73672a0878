//! A history export of v1.0.3 as JSON: lists of figures, and the state that they end with.

use serde::Deserialize;

use super::export::{Export, ExportedUpdate, FinalState, check_count, check_range, void_active};
use crate::governance::Action;

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
    if updates == 0 {
        return Err("it has no updates".to_owned());
    }
    let end = FinalState {
        energy: last("E_history", &file.energy, updates)?,
        integrity: last("I_history", &file.integrity, updates)?,
        entropy: last("S_history", &file.entropy, updates)?,
        lambda1: file.lambda1_final,
        elapsed: file.total_time,
        update_count: check_count(file.total_updates, updates)?,
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
            void_active: void_active(&file.void_integral, n),
            lambda1: (n + 1 == updates).then_some(file.lambda1_final),
            elapsed: (n + 1 == updates).then_some(file.total_time),
        })
        .collect();
    Ok(Export::new(file.agent_id, updates, &end))
}

/// The last of the values, which may be fewer than there are updates.
fn last(name: &str, values: &[f64], updates: usize) -> Result<f64, String> {
    check_range(name, values, 0.0, 1.0)?;
    match values.last() {
        Some(last) if values.len() <= updates => Ok(*last),
        _ => Err(format!("{name} has {} values for {updates} updates", values.len())),
    }
}

/// The value of update `n` in a list that ends with the last of `updates`.
fn aligned(values: &[f64], n: usize, updates: usize) -> Option<f64> {
    values.get((n + values.len()).checked_sub(updates)?).copied()
}
