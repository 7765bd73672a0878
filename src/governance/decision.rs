//! What an agent should do next: the decision, its sampling parameters and the status word of v1.0.3.

use serde::{Deserialize, Serialize};

use crate::text_enum::text_enum;

/// Coherence below this is rejected, whatever the risk.
pub(crate) const COHERENCE_CRITICAL: f64 = 0.60;
pub(crate) const APPROVE_BELOW: f64 = 0.30;
pub(crate) const REVISE_BELOW: f64 = 0.70;

text_enum! {
    /// What to do with a response.
    pub enum Action {
        /// Let it pass.
        Approve => "approve",
        /// Improve it first.
        Revise => "revise",
        /// Stop; a person should look.
        Reject => "reject",
    }
}

text_enum! {
    /// The status word of v1.0.3, older than its health and not the same.
    pub enum LegacyStatus {
        /// Neither of the others.
        Healthy => "healthy",
        /// Risk over 0.70.
        Degraded => "degraded",
        /// Void state, or coherence below 0.60.
        Critical => "critical",
    }
}

/// A decision on one response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why, in words.
    pub reason: String,
    /// Whether a person should look: true for every rejection.
    pub require_human: bool,
}

impl Decision {
    pub(super) fn of(risk: f64, coherence: f64, void_active: bool) -> Self {
        let (action, reason) = if void_active {
            (Action::Reject, "System in void state (E-I imbalance)".to_owned())
        } else if coherence < COHERENCE_CRITICAL {
            (Action::Reject, format!("Coherence critically low ({coherence:.2} < {COHERENCE_CRITICAL})"))
        } else if risk < APPROVE_BELOW {
            (Action::Approve, format!("Low risk ({risk:.2})"))
        } else if risk < REVISE_BELOW {
            (Action::Revise, format!("Medium risk ({risk:.2}) - suggest improvements"))
        } else {
            (Action::Reject, format!("High risk ({risk:.2})"))
        };
        Self { action, reason, require_human: action == Action::Reject }
    }
}

impl LegacyStatus {
    pub(crate) fn of(risk: f64, coherence: f64, void_active: bool) -> Self {
        if void_active || coherence < COHERENCE_CRITICAL {
            Self::Critical
        } else if risk > REVISE_BELOW {
            Self::Degraded
        } else {
            Self::Healthy
        }
    }
}

/// How the agent should sample its next response: λ₁ opens or narrows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SamplingParams {
    /// Sampling temperature, 0.5 to 1.2.
    pub temperature: f64,
    /// Nucleus sampling share, 0.85 to 0.95.
    pub top_p: f64,
    /// Tokens to allow, 100 to 500.
    pub max_tokens: i64,
    /// The λ₁ they were computed from.
    pub lambda1: f64,
}

impl SamplingParams {
    /// The parameters that go with λ₁.
    #[must_use]
    pub fn for_lambda1(lambda1: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "λ₁ lies between 0 and 1")]
        let max_tokens = (100.0 + 400.0 * lambda1).floor() as i64;
        Self { temperature: 0.5 + 0.7 * lambda1, top_p: 0.85 + 0.10 * lambda1, max_tokens, lambda1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_void_coherence_risk() {
        let decide = |risk, coherence, void| {
            let d = Decision::of(risk, coherence, void);
            (d.action.as_str(), d.reason, d.require_human)
        };
        let void = "System in void state (E-I imbalance)".to_owned();
        assert_eq!(decide(0.0, 0.0, true), ("reject", void, true));
        let low = "Coherence critically low (0.59 < 0.6)".to_owned();
        assert_eq!(decide(0.0, 0.59, false), ("reject", low, true));
        assert_eq!(decide(0.29, 0.6, false), ("approve", "Low risk (0.29)".to_owned(), false));
        let medium = "Medium risk (0.30) - suggest improvements".to_owned();
        assert_eq!(decide(0.30, 1.0, false), ("revise", medium, false));
        // v1.0.3 words this one so; its golden data never gets there.
        assert_eq!(decide(0.70, 1.0, false), ("reject", "High risk (0.70)".to_owned(), true));
    }

    #[test]
    fn the_legacy_status_needs_more_than_the_revise_limit() {
        assert_eq!(LegacyStatus::of(0.70, 1.0, false), LegacyStatus::Healthy);
        assert_eq!(LegacyStatus::of(0.71, 1.0, false), LegacyStatus::Degraded);
        assert_eq!(LegacyStatus::of(0.0, 0.59, false), LegacyStatus::Critical);
        assert_eq!(LegacyStatus::of(0.0, 1.0, true), LegacyStatus::Critical);
    }
}
