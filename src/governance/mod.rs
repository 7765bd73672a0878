//! The governance cycle: pure functions of an agent's state and one update.
//!
//! No clock, no SQL, no I/O. `step` advances a `State`: the dynamics in `dynamics.rs`, then the risk of the
//! response in `risk.rs`, then the decision in `decision.rs`. The formulas are those of UNITARES v1.0.3;
//! `tests/golden.rs` holds them to its own figures.

mod decision;
mod dynamics;
mod risk;
mod update;

pub use decision::{Action, Decision, LegacyStatus, SamplingParams};
pub use dynamics::{LAMBDA1_RANGE, PARAMETER_COUNT, VOID_THRESHOLD_RANGE, VOID_WINDOW};
pub use update::Update;

pub(crate) use dynamics::{State, void_active};

/// What one step of the governance cycle says about an agent, beside its new [`State`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    pub risk_score: f64,
    pub void_active: bool,
    pub decision: Decision,
    pub status: LegacyStatus,
    pub sampling_params: SamplingParams,
}

/// Advances `state` by one update and judges the response.
pub(crate) fn step(state: &mut State, update: &Update) -> Assessment {
    let void_active = dynamics::advance(state, &update.parameters);
    let coherence = state.coherence();
    let risk_score = risk::score(&update.response_text, update.complexity, coherence);
    Assessment {
        risk_score,
        void_active,
        decision: Decision::of(risk_score, coherence, void_active),
        status: LegacyStatus::of(risk_score, coherence, void_active),
        sampling_params: SamplingParams::for_lambda1(state.lambda1),
    }
}
