//! Figures in sentences for people: what a figure was compared with, and what came of it.
//!
//! JSON keeps the words of v1.0.3 ([`Decision::reason`](crate::Decision::reason),
//! [`Health::message`](crate::Health::message)), in which one figure has two words: an update of 15.36 % is of low risk
//! for the decision and of medium risk for the health. Here a figure is given once, with its boundary.

use crate::governance::{APPROVE_BELOW, COHERENCE_CRITICAL, REVISE_BELOW};
use crate::health::{Finding, HealthStatus, HealthThresholds};

/// Why a response was approved, is to be revised, or was rejected.
///
/// ```
/// use govstore::explain;
///
/// assert_eq!(explain::decision(0.1536, 1.0, false), "risk 15.4 % is below 30 %");
/// assert_eq!(explain::decision(0.1, 0.43, false), "coherence 0.43 is below 0.6");
/// ```
#[must_use]
pub fn decision(risk_score: f64, coherence: f64, void_active: bool) -> String {
    if void_active {
        VOID.to_owned()
    } else if coherence < COHERENCE_CRITICAL {
        format!("coherence {}", against(Scale::Share, coherence, None, Some(COHERENCE_CRITICAL)))
    } else {
        let (from, below) = bounds(risk_score, APPROVE_BELOW, REVISE_BELOW);
        format!("risk {}", against(Scale::Percent, risk_score, from, below))
    }
}

/// Why an agent's health is what [`classify`](crate::health::classify) says.
///
/// ```
/// use govstore::{HealthThresholds, explain};
///
/// let thresholds = HealthThresholds::default();
/// let why = explain::health(Some(0.1536), Some(1.0), false, &thresholds);
/// assert_eq!(why, "risk 15.4 % is from 15 % up, below 30 %");
/// ```
#[must_use]
pub fn health(
    risk_score: Option<f64>,
    coherence: Option<f64>,
    void_active: bool,
    thresholds: &HealthThresholds,
) -> String {
    match Finding::of(risk_score, coherence, void_active, thresholds) {
        Finding::Void => VOID.to_owned(),
        Finding::Unknown => "nothing is known of it yet".to_owned(),
        Finding::Risk(_, risk) => {
            let (from, below) = bounds(risk, thresholds.risk_healthy_max, thresholds.risk_degraded_max);
            format!("risk {}", against(Scale::Percent, risk, from, below))
        }
        Finding::Coherence(status, coherence) => {
            let (from, below) = match status {
                HealthStatus::Healthy => (Some(thresholds.coherence_healthy_min), None),
                HealthStatus::Degraded => {
                    (Some(thresholds.coherence_degraded_min), Some(thresholds.coherence_healthy_min))
                }
                HealthStatus::Critical => (None, Some(thresholds.coherence_degraded_min)),
            };
            format!("coherence {}", against(Scale::Share, coherence, from, below))
        }
    }
}

/// A risk, or a part of one, as a percentage: `15.4 %`. It has as many decimals as tell it from every boundary that
/// decisions and these thresholds have, so that no sentence beside it seems wrong.
///
/// ```
/// use govstore::{HealthThresholds, explain};
///
/// let thresholds = HealthThresholds::default();
/// assert_eq!(explain::risk(0.1536, &thresholds), "15.4 %");
/// assert_eq!(explain::risk(0.29996, &thresholds), "29.996 %");
/// ```
#[must_use]
pub fn risk(risk: f64, thresholds: &HealthThresholds) -> String {
    let limits = [APPROVE_BELOW, REVISE_BELOW, thresholds.risk_healthy_max, thresholds.risk_degraded_max];
    Scale::Percent.figure(risk, &limits)
}

const VOID: &str = "the void state is active: E and I are out of balance";

/// Between which of two boundaries a figure lies: from the first of these on, below the second.
fn bounds(figure: f64, lower: f64, upper: f64) -> (Option<f64>, Option<f64>) {
    if figure < lower {
        (None, Some(lower))
    } else if figure < upper {
        (Some(lower), Some(upper))
    } else {
        (Some(upper), None)
    }
}

fn against(scale: Scale, figure: f64, from: Option<f64>, below: Option<f64>) -> String {
    let limits: Vec<f64> = from.into_iter().chain(below).collect();
    let shown = scale.figure(figure, &limits);
    match (from, below) {
        (None, Some(below)) => format!("{shown} is below {}", scale.limit(below)),
        (Some(from), Some(below)) => {
            format!("{shown} is from {} up, below {}", scale.limit(from), scale.limit(below))
        }
        (Some(from), None) => format!("{shown} is {} or more", scale.limit(from)),
        (None, None) => shown,
    }
}

/// How a share from 0 to 1 is written.
#[derive(Clone, Copy)]
enum Scale {
    /// `15.4 %`.
    Percent,
    /// `0.85`.
    Share,
}

/// No figure needs more decimals to be told from a boundary than a float has digits.
const DECIMALS_MAX: usize = 17;

impl Scale {
    /// With as few decimals as leave it on its side of each limit.
    fn figure(self, share: f64, limits: &[f64]) -> String {
        let (value, least) = match self {
            Self::Percent => (share * 100.0, 1),
            Self::Share => (share, 2),
        };
        let is_true = |decimals: &usize| {
            let shown: f64 = format!("{value:.decimals$}").parse().unwrap_or(value);
            limits.iter().all(|limit| {
                let shown_limit: f64 = self.bare_limit(*limit).parse().unwrap_or(*limit);
                (shown < shown_limit) == (share < *limit)
            })
        };
        let decimals = (least..DECIMALS_MAX).find(is_true).unwrap_or(DECIMALS_MAX);
        format!("{value:.decimals$}{}", self.unit())
    }

    /// A boundary, without digits that say nothing.
    fn limit(self, limit: f64) -> String {
        self.bare_limit(limit) + self.unit()
    }

    fn bare_limit(self, limit: f64) -> String {
        let text = match self {
            Self::Percent => format!("{:.10}", limit * 100.0),
            Self::Share => format!("{limit:.12}"),
        };
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Percent => " %",
            Self::Share => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_a_boundary_is_told_from_it() {
        assert_eq!(decision(0.299_999_9, 1.0, false), "risk 29.99999 % is below 30 %");
        assert_eq!(decision(0.3, 1.0, false), "risk 30.0 % is from 30 % up, below 70 %");
        assert_eq!(decision(0.7, 1.0, false), "risk 70.0 % is 70 % or more");
        assert_eq!(decision(0.1, 0.599_9, false), "coherence 0.5999 is below 0.6");
        assert!(decision(0.1, 1.0, true).starts_with("the void state is active"));
    }

    #[test]
    fn health_names_what_decided() {
        let strict = HealthThresholds { coherence_overrides_risk: true, ..HealthThresholds::default() };
        assert_eq!(health(Some(0.1), Some(0.41), false, &strict), "coherence 0.41 is below 0.6");
        let usual = HealthThresholds { risk_healthy_max: 0.125, ..HealthThresholds::default() };
        assert_eq!(health(Some(0.13), Some(0.1), false, &usual), "risk 13.0 % is from 12.5 % up, below 30 %");
        assert_eq!(health(None, Some(0.9), false, &usual), "coherence 0.90 is 0.85 or more");
        assert_eq!(health(None, Some(0.7), false, &usual), "coherence 0.70 is from 0.6 up, below 0.85");
        assert_eq!(health(None, None, false, &usual), "nothing is known of it yet");
    }
}
