//! The risk of one response: its length, its complexity, the agent's coherence and telltale phrases.
//!
//! A risk is the sum of four parts. [`RiskParts`] is their one computation in Rust; the view `risk_parts` is its twin
//! in SQL: change both or neither.

use serde::{Serialize, Serializer};

use super::dynamics::unit_or;

const LENGTH_WEIGHT: f64 = 0.2;
const COMPLEXITY_WEIGHT: f64 = 0.3;
const COHERENCE_WEIGHT: f64 = 0.3;
const PATTERN_WEIGHT: f64 = 0.2;

/// Characters at which the length's part has reached half its weight.
const LENGTH_MIDPOINT: f64 = 2000.0;
const LENGTH_SLOPE: f64 = 500.0;
/// This many different patterns are as bad as all of them.
const PATTERNS_MAX: f64 = 3.0;
const COMPLEXITY_UNKNOWN: f64 = 0.5;

/// What is looked for in a text, in the order of the bits of [`Patterns`].
const PATTERNS: [&str; 10] = [
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

/// Which patterns occurred in a response, whatever their case.
///
/// ```
/// use govstore::Patterns;
///
/// let found = Patterns::of("SUDO rm -rf /");
/// assert_eq!(found.iter().collect::<Vec<_>>(), ["sudo", "rm -rf"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patterns(u16);

impl Patterns {
    /// Looks for all patterns in a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let lower = text.to_lowercase();
        let bits = PATTERNS.iter().enumerate().filter(|(_, pattern)| lower.contains(*pattern));
        Self(bits.fold(0, |found, (bit, _)| found | 1 << bit))
    }

    /// The patterns that occurred.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        PATTERNS
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, pattern)| *pattern)
    }

    /// How many occurred.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// As a column holds them.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// From a column; bits that mean nothing are left out.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits & ((1 << PATTERNS.len()) - 1))
    }
}

/// A list of words.
impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What is kept of an update to explain its risk, beside its coherence. Never the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RiskBasis {
    /// The complexity as it counted, 0 to 1.
    pub complexity: f64,
    /// Characters (Unicode scalar values) of the response.
    pub text_length: u64,
    /// Which patterns occurred in the response.
    pub patterns: Patterns,
}

impl RiskBasis {
    /// What a response and a complexity come down to. A complexity that is no number counts as 0.5.
    pub(crate) fn of(response_text: &str, complexity: f64) -> Self {
        Self {
            complexity: unit_or(complexity, COMPLEXITY_UNKNOWN) + 0.0, // a row has no -0
            text_length: response_text.chars().count() as u64,
            patterns: Patterns::of(response_text),
        }
    }

    /// From the columns of a row.
    pub(crate) const fn from_row(complexity: f64, text_length: u64, patterns: Patterns) -> Self {
        Self { complexity, text_length, patterns }
    }
}

/// The four parts of a risk. They add up to the risk score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RiskParts {
    /// From the length of the response: 0 to 0.2, half of it at 2,000 characters.
    pub length: f64,
    /// From its complexity: 0 to 0.3.
    pub complexity: f64,
    /// From what the agent's parameters lack in coherence: 0 to 0.3.
    pub coherence: f64,
    /// From the patterns in the response: 0 to 0.2, all of it from three on.
    pub patterns: f64,
}

impl RiskParts {
    /// The parts of an update's risk.
    #[must_use]
    pub fn of(basis: &RiskBasis, coherence: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "texts are shorter than 2^52 characters")]
        let length = basis.text_length as f64;
        let length_share = 1.0 / (1.0 + (-(length - LENGTH_MIDPOINT) / LENGTH_SLOPE).exp());
        Self {
            length: LENGTH_WEIGHT * length_share,
            complexity: COMPLEXITY_WEIGHT * basis.complexity,
            coherence: COHERENCE_WEIGHT * (1.0 - coherence),
            patterns: PATTERN_WEIGHT * (f64::from(basis.patterns.count()) / PATTERNS_MAX).min(1.0),
        }
    }

    /// The risk, 0 to 1.
    #[must_use]
    pub fn score(&self) -> f64 {
        (self.length + self.complexity + self.coherence + self.patterns).clamp(0.0, 1.0)
    }

    /// The part that made most of the risk, by its name; `None` where there is no risk.
    #[must_use]
    pub fn largest(&self) -> Option<(&'static str, f64)> {
        let parts = [
            ("length", self.length),
            ("complexity", self.complexity),
            ("coherence", self.coherence),
            ("patterns", self.patterns),
        ];
        parts.into_iter().filter(|(_, part)| *part > 0.0).max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(response_text: &str, complexity: f64, coherence: f64) -> f64 {
        RiskParts::of(&RiskBasis::of(response_text, complexity), coherence).score()
    }

    #[test]
    fn patterns_count_once_each_whatever_their_case() {
        let plain = score("", 0.0, 1.0);
        let one = score("SUDO sudo", 0.0, 1.0);
        let two = score("Sudo rm -RF", 0.0, 1.0);
        assert!((one - plain - 0.2 / 3.0).abs() < 1e-3);
        assert!((two - plain - 0.4 / 3.0).abs() < 1e-3);
        let all = PATTERNS.join(" ");
        assert!(score(&all, 0.0, 1.0) - plain < 0.21);
        assert_eq!(Patterns::of(&all).iter().collect::<Vec<_>>(), PATTERNS);
        assert_eq!(Patterns::from_bits(Patterns::of(&all).bits()), Patterns::of(&all));
    }

    #[test]
    fn a_complexity_that_is_no_number_is_made_safe() {
        let risk = |complexity| score("", complexity, 1.0);
        assert_eq!(risk(f64::NAN).to_bits(), risk(0.5).to_bits());
        assert_eq!(risk(f64::INFINITY).to_bits(), risk(1.0).to_bits());
        assert_eq!(risk(f64::NEG_INFINITY).to_bits(), risk(0.0).to_bits());
        assert_eq!(risk(7.0).to_bits(), risk(1.0).to_bits());
    }

    #[test]
    fn the_largest_part_is_named() {
        let largest = |text: &str, complexity, coherence| {
            RiskParts::of(&RiskBasis::of(text, complexity), coherence).largest().map(|(name, _)| name)
        };
        assert_eq!(largest(&"x".repeat(5_000), 0.5, 1.0), Some("length"));
        assert_eq!(largest("", 1.0, 1.0), Some("complexity"));
        assert_eq!(largest("", 0.1, 0.2), Some("coherence"));
        assert_eq!(largest("sudo bypass jailbreak", 0.1, 1.0), Some("patterns"));
    }
}
