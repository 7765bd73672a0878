//! The history of one agent as an export has it, whichever of v1.0.3's forms the file has.

use crate::governance::{self, Action, State, VOID_WINDOW};

use super::metadata::COUNT_MAX;

/// A history that can be used.
pub(crate) struct Export {
    pub agent_id: String,
    /// Oldest first, at least one.
    pub updates: Vec<ExportedUpdate>,
    /// The agent's state after the last of them.
    pub state: State,
    /// What of it was not used, and why.
    pub remarks: Vec<String>,
}

/// One update. v1.0.3 kept neither when it was made nor the reason of the decision, and most exports have E, I, S
/// and λ₁ for the last update alone.
pub(crate) struct ExportedUpdate {
    pub energy: Option<f64>,
    pub integrity: Option<f64>,
    pub entropy: Option<f64>,
    pub void_integral: f64,
    pub coherence: f64,
    pub risk_score: f64,
    pub decision: Action,
    pub void_active: bool,
    pub lambda1: Option<f64>,
    pub elapsed: Option<f64>,
}

/// What an export says of an agent as a whole.
pub(super) struct FinalState {
    pub energy: f64,
    pub integrity: f64,
    pub entropy: f64,
    pub lambda1: f64,
    pub elapsed: f64,
    /// Updates since the start or the last reset.
    pub update_count: i64,
}

impl Export {
    /// Of checked figures, of which there is at least one update.
    pub(super) fn new(agent_id: String, updates: Vec<ExportedUpdate>, end: &FinalState) -> Self {
        // Updates before the last reset are no longer in the window.
        let counted = usize::try_from(end.update_count).unwrap_or(usize::MAX);
        let recent = &updates[updates.len().saturating_sub(counted.min(VOID_WINDOW))..];
        let newest = updates.last();
        let state = State {
            energy: end.energy,
            integrity: end.integrity,
            entropy: end.entropy,
            void_integral: newest.map_or(0.0, |update| update.void_integral),
            measured_coherence: newest.map(|update| update.coherence),
            lambda1: end.lambda1,
            elapsed: end.elapsed,
            update_count: end.update_count,
            recent_void: recent.iter().map(|update| update.void_integral).collect(),
            ..State::default() // neither the parameters nor the controller's integral was exported
        };
        Self { agent_id, updates, state, remarks: Vec::new() }
    }

    /// How much it tells: first by the number of its updates, then by the number of those that it counts, then by
    /// how many values of E, I, S and λ₁ it has.
    pub fn extent(&self) -> (usize, i64, usize) {
        let figures = |update: &ExportedUpdate| {
            let figures = [update.energy, update.integrity, update.entropy, update.lambda1];
            figures.iter().flatten().count()
        };
        (self.updates.len(), self.state.update_count, self.updates.iter().map(figures).sum())
    }
}

/// Refuses values that the schema would refuse, and names the first.
pub(super) fn check_range(name: &str, values: &[f64], min: f64, max: f64) -> Result<(), String> {
    match values.iter().position(|value| !(min..=max).contains(value)) {
        None => Ok(()),
        Some(n) => Err(format!("{name}: {} does not lie between {min} and {max}", values[n])),
    }
}

/// Updates since the start or the last reset: as many as the file says, which has at least `updates`.
pub(super) fn check_count(total_updates: Option<i64>, updates: usize) -> Result<i64, String> {
    let exported = i64::try_from(updates).unwrap_or(COUNT_MAX);
    match total_updates {
        Some(total) if !(exported..=COUNT_MAX).contains(&total) => {
            Err(format!("total_updates: {total} does not lie between {updates} and {COUNT_MAX}"))
        }
        total => Ok(total.unwrap_or(exported)),
    }
}

/// Whether the void is active after update `n`, by the window that ends with it.
pub(super) fn void_active(void_integral: &[f64], n: usize) -> bool {
    governance::void_active(&void_integral[(n + 1).saturating_sub(VOID_WINDOW)..=n])
}
