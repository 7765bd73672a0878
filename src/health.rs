//! What health means: the twin of the `agent_health` view.
//!
//! The view and [`classify`] give the same status for every row, and both read their thresholds from the
//! `settings` row. Change both or neither; `tests/health.rs` compares them on thousands of rows.

use std::fmt;

use crate::text_enum::text_enum;

text_enum! {
    /// How an agent is doing.
    #[derive(PartialOrd, Ord)]
    pub enum HealthStatus {
        /// All is well.
        Healthy => "healthy",
        /// Worth watching, or not known.
        Degraded => "degraded",
        /// Needs somebody's attention: [`Health::should_alert`] is true.
        Critical => "critical",
    }
}

/// Where the boundaries between the statuses lie. Risk and coherence are shares from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthThresholds {
    /// Risk below this is healthy.
    pub risk_healthy_max: f64,
    /// Risk below this is degraded; from it on, critical.
    pub risk_degraded_max: f64,
    /// Without a risk, coherence from this on is healthy.
    pub coherence_healthy_min: f64,
    /// Without a risk, coherence from this on is degraded; below it, critical.
    pub coherence_degraded_min: f64,
    /// Coherence below `coherence_degraded_min` is critical, whatever the risk.
    pub coherence_overrides_risk: bool,
}

impl Default for HealthThresholds {
    fn default() -> Self {
        Self {
            risk_healthy_max: 0.15,
            risk_degraded_max: 0.30,
            coherence_healthy_min: 0.85,
            coherence_degraded_min: 0.60,
            coherence_overrides_risk: false,
        }
    }
}

/// A status and the sentence that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How the agent is doing.
    pub status: HealthStatus,
    /// Why, in words.
    pub message: String,
}

impl Health {
    /// Whether somebody should be told: the status is critical.
    #[must_use]
    pub fn should_alert(&self) -> bool {
        self.status == HealthStatus::Critical
    }
}

/// Judges an agent by its risk, or by its coherence where there is no risk.
///
/// A void state is critical before anything else. With neither figure the status is degraded: nothing is
/// known to be wrong, and nothing is known to be right.
///
/// ```
/// use govstore::health::{HealthStatus, HealthThresholds, classify};
///
/// let health = classify(Some(0.154), Some(1.0), false, &HealthThresholds::default());
/// assert_eq!(health.status, HealthStatus::Degraded);
/// assert_eq!(health.message, "Medium risk (15.40%) - monitoring closely");
/// ```
#[must_use]
pub fn classify(
    risk_score: Option<f64>,
    coherence: Option<f64>,
    void_active: bool,
    thresholds: &HealthThresholds,
) -> Health {
    let finding = Finding::of(risk_score, coherence, void_active, thresholds);
    Health { status: finding.status(), message: finding.to_string() }
}

/// What decided. An update asks for the status alone, and needs no sentence.
pub(crate) enum Finding {
    Void,
    Risk(HealthStatus, f64),
    Coherence(HealthStatus, f64),
    Unknown,
}

impl Finding {
    pub fn of(
        risk_score: Option<f64>,
        coherence: Option<f64>,
        void_active: bool,
        thresholds: &HealthThresholds,
    ) -> Self {
        use HealthStatus::{Critical, Degraded, Healthy};

        match (risk_score, coherence) {
            _ if void_active => Self::Void,
            (_, Some(c)) if thresholds.coherence_overrides_risk && c < thresholds.coherence_degraded_min => {
                Self::Coherence(Critical, c)
            }
            (Some(risk), _) if risk < thresholds.risk_healthy_max => Self::Risk(Healthy, risk),
            (Some(risk), _) if risk < thresholds.risk_degraded_max => Self::Risk(Degraded, risk),
            (Some(risk), _) => Self::Risk(Critical, risk),
            (None, Some(c)) if c >= thresholds.coherence_healthy_min => Self::Coherence(Healthy, c),
            (None, Some(c)) if c >= thresholds.coherence_degraded_min => Self::Coherence(Degraded, c),
            (None, Some(c)) => Self::Coherence(Critical, c),
            (None, None) => Self::Unknown,
        }
    }

    pub const fn status(&self) -> HealthStatus {
        match *self {
            Self::Void => HealthStatus::Critical,
            Self::Risk(status, _) | Self::Coherence(status, _) => status,
            Self::Unknown => HealthStatus::Degraded,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use HealthStatus::{Critical, Degraded, Healthy};

        let percent = |risk: &f64| risk * 100.0;
        match self {
            Self::Void => write!(f, "Void state active - system instability detected"),
            Self::Risk(Healthy, risk) => write!(f, "Low risk ({:.2}%)", percent(risk)),
            Self::Risk(Degraded, risk) => {
                write!(f, "Medium risk ({:.2}%) - monitoring closely", percent(risk))
            }
            Self::Risk(Critical, risk) => {
                write!(f, "High risk ({:.2}%) - intervention may be needed", percent(risk))
            }
            Self::Coherence(Healthy, c) => write!(f, "High coherence ({c:.2})"),
            Self::Coherence(Degraded, c) => write!(f, "Moderate coherence ({c:.2}) - monitoring"),
            Self::Coherence(Critical, c) => write!(f, "Low coherence ({c:.2}) - system degradation"),
            Self::Unknown => write!(f, "Health status unknown - metrics unavailable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_status_and_its_sentence() {
        let usual = HealthThresholds::default();
        let strict = HealthThresholds { coherence_overrides_risk: true, ..usual };
        #[rustfmt::skip]
        let cases = [
            (Some(0.1234), Some(1.0), false, &usual, "healthy", "Low risk (12.34%)"),
            (Some(0.1499), Some(1.0), false, &usual, "healthy", "Low risk (14.99%)"),
            (Some(0.15), Some(1.0), false, &usual, "degraded", "Medium risk (15.00%) - monitoring closely"),
            (Some(0.154), Some(1.0), false, &usual, "degraded", "Medium risk (15.40%) - monitoring closely"),
            (Some(0.18), Some(1.0), false, &usual, "degraded", "Medium risk (18.00%) - monitoring closely"),
            (Some(0.30), Some(1.0), false, &usual, "critical", "High risk (30.00%) - intervention may be needed"),
            (Some(0.35), Some(1.0), false, &usual, "critical", "High risk (35.00%) - intervention may be needed"),
            (Some(0.10), Some(0.20), false, &usual, "healthy", "Low risk (10.00%)"),
            (Some(0.10), Some(0.20), false, &strict, "critical", "Low coherence (0.20) - system degradation"),
            (Some(0.10), Some(0.60), false, &strict, "healthy", "Low risk (10.00%)"),
            (Some(0.0), Some(1.0), true, &usual, "critical", "Void state active - system instability detected"),
            (None, Some(0.2), true, &strict, "critical", "Void state active - system instability detected"),
            (None, Some(0.90), false, &usual, "healthy", "High coherence (0.90)"),
            (None, Some(0.85), false, &usual, "healthy", "High coherence (0.85)"),
            (None, Some(0.70), false, &usual, "degraded", "Moderate coherence (0.70) - monitoring"),
            (None, Some(0.60), false, &usual, "degraded", "Moderate coherence (0.60) - monitoring"),
            (None, Some(0.50), false, &usual, "critical", "Low coherence (0.50) - system degradation"),
            (None, None, false, &usual, "degraded", "Health status unknown - metrics unavailable"),
        ];
        for (risk, coherence, void_active, thresholds, status, message) in cases {
            let health = classify(risk, coherence, void_active, thresholds);
            assert_eq!(health.status.as_str(), status, "risk {risk:?}, coherence {coherence:?}");
            assert_eq!(health.message, message);
            assert_eq!(health.should_alert(), status == "critical");
        }
    }
}
