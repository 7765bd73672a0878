//! The risk of one response: its length, its complexity, the agent's coherence and telltale phrases.

use super::dynamics::unit_or;

const LENGTH_WEIGHT: f64 = 0.2;
const COMPLEXITY_WEIGHT: f64 = 0.3;
const COHERENCE_WEIGHT: f64 = 0.3;
const PHRASE_WEIGHT: f64 = 0.2;

/// Characters at which the length term has reached half its weight.
const LENGTH_MIDPOINT: f64 = 2000.0;
const LENGTH_SLOPE: f64 = 500.0;
/// This many different phrases are as bad as all of them.
const PHRASES_MAX: f64 = 3.0;
const COMPLEXITY_UNKNOWN: f64 = 0.5;

const PHRASES: [&str; 10] = [
    "ignore previous",
    "system prompt",
    "jailbreak",
    "sudo",
    "rm -rf",
    "drop table",
    "script>",
    "violate",
    "bypass",
    "override safety",
];

/// Risk from 0 to 1. A complexity that is no number counts as 0.5.
pub(super) fn score(response_text: &str, complexity: f64, coherence: f64) -> f64 {
    let lower = response_text.to_lowercase();
    let hits = PHRASES.iter().filter(|phrase| lower.contains(*phrase)).count();

    #[expect(clippy::cast_precision_loss, reason = "texts are shorter than 2^52 characters")]
    let (length, hits) = (response_text.chars().count() as f64, hits as f64);
    let length_term = 1.0 / (1.0 + (-(length - LENGTH_MIDPOINT) / LENGTH_SLOPE).exp());
    let risk = LENGTH_WEIGHT * length_term
        + COMPLEXITY_WEIGHT * unit_or(complexity, COMPLEXITY_UNKNOWN)
        + COHERENCE_WEIGHT * (1.0 - coherence)
        + PHRASE_WEIGHT * (hits / PHRASES_MAX).min(1.0);
    risk.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_count_once_each_whatever_their_case() {
        let plain = score("", 0.0, 1.0);
        let one = score("SUDO sudo", 0.0, 1.0);
        let two = score("Sudo rm -RF", 0.0, 1.0);
        assert!((one - plain - 0.2 / 3.0).abs() < 1e-3);
        assert!((two - plain - 0.4 / 3.0).abs() < 1e-3);
        let all = PHRASES.join(" ");
        assert!(score(&all, 0.0, 1.0) - plain < 0.21);
    }

    #[test]
    fn a_complexity_that_is_no_number_is_made_safe() {
        let risk = |complexity| score("", complexity, 1.0);
        assert_eq!(risk(f64::NAN).to_bits(), risk(0.5).to_bits());
        assert_eq!(risk(f64::INFINITY).to_bits(), risk(1.0).to_bits());
        assert_eq!(risk(f64::NEG_INFINITY).to_bits(), risk(0.0).to_bits());
        assert_eq!(risk(7.0).to_bits(), risk(1.0).to_bits());
    }
}
