//! The governance cycle: pure functions of an agent's state and one update.
//!
//! No clock, no SQL, no I/O. `step` advances a `State`: the dynamics in `dynamics.rs`, then the risk of the
//! response in `risk.rs`, then the decision in `decision.rs`. The formulas are those of UNITARES v1.0.3;
//! `tests/golden.rs` holds them to its own figures.

mod decision;
mod dynamics;
mod risk;
mod update;

pub(crate) use decision::{APPROVE_BELOW, COHERENCE_CRITICAL, REVISE_BELOW};
pub use decision::{Action, Decision, LegacyStatus, SamplingParams};
pub use dynamics::{LAMBDA1_RANGE, PARAMETER_COUNT, VOID_THRESHOLD_RANGE, VOID_WINDOW};
pub use risk::{Patterns, RiskBasis, RiskParts};
pub use update::Update;

pub(crate) use dynamics::{DT, State, void_active};

/// What one step of the governance cycle says about an agent, beside its new [`State`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    pub risk_score: f64,
    pub risk_parts: RiskParts,
    pub risk_basis: RiskBasis,
    pub void_active: bool,
    pub decision: Decision,
    pub status: LegacyStatus,
    pub sampling_params: SamplingParams,
}

/// Advances `state` by one update and judges the response.
pub(crate) fn step(state: &mut State, update: &Update) -> Assessment {
    let void_active = dynamics::advance(state, update.parameters.as_deref());
    let coherence = state.coherence();
    let risk_basis = RiskBasis::of(&update.response_text, update.complexity);
    let risk_parts = RiskParts::of(&risk_basis, coherence);
    let risk_score = risk_parts.score();
    Assessment {
        risk_score,
        risk_parts,
        risk_basis,
        void_active,
        decision: Decision::of(risk_score, coherence, void_active),
        status: LegacyStatus::of(risk_score, coherence, void_active),
        sampling_params: SamplingParams::for_lambda1(state.lambda1),
    }
}
