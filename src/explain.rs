//! Figures in sentences for people: what a figure was compared with, and what came of it.
//!
//! JSON keeps the words of v1.0.3 ([`Decision::reason`](crate::Decision::reason),
//! [`Health::message`](crate::Health::message)), in which one figure has two words: an update of 15.36 % is of low risk
//! for the decision and of medium risk for the health. Here a figure is given once, with its boundary.

use crate::governance::{APPROVE_BELOW, COHERENCE_CRITICAL, REVISE_BELOW};
use crate::health::{Finding, HealthStatus, HealthThresholds};

/// Why a response was approved, is to be revised, or was rejected. The thresholds of the health decide nothing here: with
/// them a figure is written as [`health`] writes it.
///
/// ```
/// use govstore::{HealthThresholds, explain};
///
/// let thresholds = HealthThresholds::default();
/// assert_eq!(explain::decision(0.1536, 1.0, false, &thresholds), "risk 15.4 % is below 30 %");
/// assert_eq!(explain::decision(0.1, 0.43, false, &thresholds), "coherence 0.43 is below 0.60");
/// ```
#[must_use]
pub fn decision(risk_score: f64, coherence: f64, void_active: bool, thresholds: &HealthThresholds) -> String {
    if void_active {
        VOID.to_owned()
    } else if coherence < COHERENCE_CRITICAL {
        coherence_against(coherence, None, Some(COHERENCE_CRITICAL), thresholds)
    } else {
        let (from, below) = bounds(risk_score, APPROVE_BELOW, REVISE_BELOW);
        risk_against(risk_score, from, below, thresholds)
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
            risk_against(risk, from, below, thresholds)
        }
        Finding::Coherence(status, coherence) => {
            let (from, below) = match status {
                HealthStatus::Healthy => (Some(thresholds.coherence_healthy_min), None),
                HealthStatus::Degraded => {
                    (Some(thresholds.coherence_degraded_min), Some(thresholds.coherence_healthy_min))
                }
                HealthStatus::Critical => (None, Some(thresholds.coherence_degraded_min)),
            };
            coherence_against(coherence, from, below, thresholds)
        }
    }
}

/// A risk as a percentage: `15.4 %`. It has `decimals`, and more where it takes more to tell it from a boundary that
/// decisions or these thresholds have: no figure seems to be on the other side of a boundary, whichever it stands beside.
///
/// ```
/// use govstore::{HealthThresholds, explain};
///
/// let thresholds = HealthThresholds::default();
/// assert_eq!(explain::risk(0.1536, 1, &thresholds), "15.4 %");
/// assert_eq!(explain::risk(0.29996, 1, &thresholds), "29.996 %");
/// ```
#[must_use]
pub fn risk(risk: f64, decimals: usize, thresholds: &HealthThresholds) -> String {
    let limits = [APPROVE_BELOW, REVISE_BELOW, thresholds.risk_healthy_max, thresholds.risk_degraded_max];
    // A percentage has two decimals fewer than its share.
    Scale::Percent.written(&told_apart(risk, decimals + 2, &limits))
}

/// A coherence: `0.43`, with more decimals where it takes more, as with [`risk`].
///
/// ```
/// use govstore::{HealthThresholds, explain};
///
/// let thresholds = HealthThresholds::default();
/// assert_eq!(explain::coherence(0.43, 2, &thresholds), "0.43");
/// assert_eq!(explain::coherence(0.5999, 2, &thresholds), "0.5999");
/// ```
#[must_use]
pub fn coherence(coherence: f64, decimals: usize, thresholds: &HealthThresholds) -> String {
    let limits = [COHERENCE_CRITICAL, thresholds.coherence_healthy_min, thresholds.coherence_degraded_min];
    Scale::Share.written(&told_apart(coherence, decimals, &limits))
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

fn risk_against(figure: f64, from: Option<f64>, below: Option<f64>, thresholds: &HealthThresholds) -> String {
    format!("risk {}", against(&risk(figure, 1, thresholds), Scale::Percent, from, below))
}

fn coherence_against(
    figure: f64,
    from: Option<f64>,
    below: Option<f64>,
    thresholds: &HealthThresholds,
) -> String {
    format!("coherence {}", against(&coherence(figure, 2, thresholds), Scale::Share, from, below))
}

fn against(shown: &str, scale: Scale, from: Option<f64>, below: Option<f64>) -> String {
    match (from, below) {
        (None, Some(below)) => format!("{shown} is below {}", scale.limit(below)),
        (Some(from), Some(below)) => {
            format!("{shown} is from {} up, below {}", scale.limit(from), scale.limit(below))
        }
        (Some(from), None) => format!("{shown} is {} or more", scale.limit(from)),
        (None, None) => shown.to_owned(),
    }
}

/// With more decimals than this, the shortest text that means just this number says more.
const DECIMALS_MAX: usize = 17;

/// A share with as few decimals, from these on, as leave it on its side of each limit.
fn told_apart(share: f64, decimals: usize, limits: &[f64]) -> String {
    let share = share + 0.0; // -0 is written 0
    let is_true = |text: &String| {
        let shown: f64 = text.parse().unwrap_or(share);
        limits.iter().all(|limit| (shown < *limit) == (share < *limit))
    };
    let mut texts = (decimals..=DECIMALS_MAX).map(|decimals| format!("{share:.decimals$}"));
    texts.find(is_true).unwrap_or_else(|| share.to_string())
}

/// How a share from 0 to 1 is written.
#[derive(Clone, Copy)]
enum Scale {
    /// `15.4 %`.
    Percent,
    /// `0.85`.
    Share,
}

impl Scale {
    /// The decimals of a share, on this scale. The point moves in the text, since a product would be rounded: the number
    /// just below 0.3, times 100, can be 30.
    fn written(self, share: &str) -> String {
        match (self, share.split_once('.')) {
            (Self::Percent, Some((whole, decimals))) => {
                let (hundredths, rest) = decimals.split_at_checked(2).unwrap_or((decimals, ""));
                let digits = format!("{whole}{hundredths:0<2}");
                let digits = digits.trim_start_matches('0');
                let digits = if digits.is_empty() { "0" } else { digits };
                let point = if rest.is_empty() { "" } else { "." };
                format!("{digits}{point}{rest} %")
            }
            (Self::Percent, None) if share.parse() == Ok(1_u8) => "100 %".to_owned(),
            (Self::Percent, None) => format!("{share} %"),
            (Self::Share, _) => share.to_owned(),
        }
    }

    /// A boundary, without digits that say nothing.
    fn limit(self, limit: f64) -> String {
        let shortest = limit.to_string();
        match self {
            Self::Share if shortest.len() < "0.60".len() => format!("{limit:.2}"),
            _ => self.written(&shortest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_a_boundary_is_told_from_it() {
        let usual = HealthThresholds::default();
        let decision = |risk, coherence| decision(risk, coherence, false, &usual);
        assert_eq!(decision(0.299_999_9, 1.0), "risk 29.99999 % is below 30 %");
        assert_eq!(decision(0.3, 1.0), "risk 30.0 % is from 30 % up, below 70 %");
        assert_eq!(decision(0.7, 1.0), "risk 70.0 % is 70 % or more");
        assert_eq!(decision(1.0, 1.0), "risk 100.0 % is 70 % or more");
        assert_eq!(decision(0.0, 1.0), "risk 0.0 % is below 30 %");
        assert_eq!(decision(0.1, 0.599_9), "coherence 0.5999 is below 0.60");
        assert!(super::decision(0.1, 1.0, true, &usual).starts_with("the void state is active"));
    }

    #[test]
    fn health_names_what_decided() {
        let strict = HealthThresholds { coherence_overrides_risk: true, ..HealthThresholds::default() };
        assert_eq!(health(Some(0.1), Some(0.41), false, &strict), "coherence 0.41 is below 0.60");
        let usual = HealthThresholds { risk_healthy_max: 0.125, ..HealthThresholds::default() };
        assert_eq!(health(Some(0.13), Some(0.1), false, &usual), "risk 13.0 % is from 12.5 % up, below 30 %");
        assert_eq!(health(None, Some(0.9), false, &usual), "coherence 0.90 is 0.85 or more");
        assert_eq!(health(None, Some(0.7), false, &usual), "coherence 0.70 is from 0.60 up, below 0.85");
        assert_eq!(health(None, None, false, &usual), "nothing is known of it yet");
        let all = HealthThresholds { risk_degraded_max: 1.0, ..usual };
        assert_eq!(health(Some(0.5), None, false, &all), "risk 50.0 % is from 12.5 % up, below 100 %");
    }

    #[test]
    fn decision_and_health_write_a_figure_alike() {
        let usual = HealthThresholds::default();
        assert_eq!(decision(0.1496, 1.0, false, &usual), "risk 14.96 % is below 30 %");
        assert_eq!(health(Some(0.1496), Some(1.0), false, &usual), "risk 14.96 % is below 15 %");
        assert_eq!(risk(0.1496, 1, &usual), "14.96 %");
    }

    /// At a boundary, at the two numbers beside it, and a little further off.
    fn near(boundary: f64) -> impl Iterator<Item = f64> {
        let off = [-1e-3, -4e-5, -1e-12, 0.0, 1e-12, 4e-5, 1e-3].map(|off| boundary + off);
        off.into_iter().chain([boundary.next_down(), boundary.next_up()]).map(|figure| figure.max(0.0))
    }

    fn number(written: &str) -> f64 {
        written.trim_end_matches(" %").parse().expect("a number")
    }

    #[test]
    fn no_figure_is_written_on_the_other_side_of_a_boundary() {
        for set in [0.07, 0.15, 0.29, 0.285_714_285_714, 0.57, 1e-9] {
            let thresholds =
                HealthThresholds { risk_healthy_max: set, coherence_degraded_min: set, ..Default::default() };
            for decimals in 1..4 {
                for limit in [set, thresholds.risk_degraded_max, APPROVE_BELOW, REVISE_BELOW] {
                    let shown_limit = number(&Scale::Percent.limit(limit));
                    for figure in near(limit) {
                        let written = risk(figure, decimals, &thresholds);
                        assert_eq!(number(&written) < shown_limit, figure < limit, "{written} at {limit}");
                    }
                }
                for limit in [set, thresholds.coherence_healthy_min, COHERENCE_CRITICAL] {
                    for figure in near(limit) {
                        let written = coherence(figure, decimals, &thresholds);
                        assert_eq!(number(&written) < limit, figure < limit, "{written} at {limit}");
                    }
                }
            }
        }
    }
}
