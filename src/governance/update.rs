//! The input of one governance cycle.

use serde::{Deserialize, Deserializer};

/// One update of one agent: what it did and what it said.
///
/// Any number is accepted: the dynamics make NaN, infinities and vectors of a wrong length safe. In JSON,
/// `null` stands for NaN.
///
/// ```
/// use govstore::Update;
///
/// let update = Update::new().response_text("done").complexity(0.3).key("turn-17");
/// let same: Update = serde_json::from_str(r#"{"response_text": "done", "complexity": 0.3, "key": "turn-17"}"#)?;
/// assert_eq!(update, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Update {
    /// The agent's parameter vector: cut or padded with zeros to [`PARAMETER_COUNT`], non-finite numbers
    /// become 0. `None`: as before, so that nothing has moved; an empty vector is one of zeros.
    ///
    /// [`PARAMETER_COUNT`]: crate::governance::PARAMETER_COUNT
    #[serde(deserialize_with = "parameters")]
    pub parameters: Option<Vec<f64>>,
    /// Kept for clients of v1.0.3; has no effect.
    #[serde(deserialize_with = "numbers")]
    pub ethical_drift: Vec<f64>,
    /// What the agent said. It is measured, not stored.
    #[serde(deserialize_with = "text")]
    pub response_text: String,
    /// How complex the task was, 0 to 1; NaN counts as 0.5, anything else is clamped.
    #[serde(deserialize_with = "number")]
    pub complexity: f64,
    /// The caller's name for this update, 1 to 200 characters, so that a retry is not a second one: the same key and
    /// the same input again for the same agent give the first report again.
    pub key: Option<String>,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            parameters: None,
            ethical_drift: Vec::new(),
            response_text: String::new(),
            complexity: 0.5,
            key: None,
        }
    }
}

/// What is not given is as [`Update::new`] has it.
impl Update {
    /// An update with the parameters of before, without text, of complexity 0.5, without a key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent's parameter vector.
    #[must_use]
    pub fn parameters(mut self, parameters: impl Into<Vec<f64>>) -> Self {
        self.parameters = Some(parameters.into());
        self
    }

    /// What clients of v1.0.3 send along; it has no effect.
    #[must_use]
    pub fn ethical_drift(mut self, ethical_drift: impl Into<Vec<f64>>) -> Self {
        self.ethical_drift = ethical_drift.into();
        self
    }

    /// What the agent said.
    #[must_use]
    pub fn response_text(mut self, response_text: impl Into<String>) -> Self {
        self.response_text = response_text.into();
        self
    }

    /// How complex the task was, 0 to 1.
    #[must_use]
    pub fn complexity(mut self, complexity: f64) -> Self {
        self.complexity = complexity;
        self
    }

    /// The caller's name for this update, so that a retry is not a second one.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A number that stands for the input, the key aside: the same for the same input, whoever computes it and when.
    /// It tells a retry from another update under the same key by mistake, and resists no forger (FNV-1a, 64 bits).
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Fnv(0xcbf2_9ce4_8422_2325);
        digest.number(self.complexity);
        digest.text(&self.response_text);
        digest.numbers(&self.ethical_drift);
        if let Some(parameters) = &self.parameters {
            digest.numbers(parameters);
        }
        digest.0
    }
}

/// The NaN that stands for all: [`f64::NAN`] may be another one some day.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>.
struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// All NaNs are one.
    fn number(&mut self, number: f64) {
        let bits = if number.is_nan() { NAN_BITS } else { number.to_bits() };
        self.bytes(&bits.to_le_bytes());
    }

    fn numbers(&mut self, numbers: &[f64]) {
        self.bytes(&(numbers.len() as u64).to_le_bytes());
        for number in numbers {
            self.number(*number);
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f64>>, D::Error> {
    let numbers: Option<Vec<Option<f64>>> = Option::deserialize(deserializer)?;
    Ok(numbers.map(|numbers| numbers.into_iter().map(|n| n.unwrap_or(f64::NAN)).collect()))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    Ok(parameters(deserializer)?.unwrap_or_default())
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_stands_for_nan_and_for_nothing() -> Result<(), serde_json::Error> {
        let update: Update = serde_json::from_str(
            r#"{"parameters": [1, null], "ethical_drift": null, "response_text": null, "complexity": null}"#,
        )?;
        assert!(update.parameters.is_some_and(|numbers| numbers.len() == 2 && numbers[1].is_nan()));
        assert!(update.complexity.is_nan());
        assert_eq!(update.response_text, "");
        Ok(())
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_by_name() {
        let refused = serde_json::from_str::<Update>(r#"{"complexty": 0.1}"#);
        assert!(refused.is_err_and(|e| e.to_string().contains("complexty")));
    }

    #[test]
    fn parameters_that_are_null_are_left_out_and_an_empty_vector_is_not() -> Result<(), serde_json::Error> {
        let given = |json| serde_json::from_str::<Update>(json).map(|update| update.parameters);
        assert_eq!(given("{}")?, None);
        assert_eq!(given(r#"{"parameters": null}"#)?, None);
        assert_eq!(given(r#"{"parameters": []}"#)?, Some(Vec::new()));
        Ok(())
    }

    /// It is in databases: it may never change.
    #[test]
    fn the_digest_of_an_input_is_what_it_was() {
        let update = Update::new().response_text("done").complexity(0.3).parameters([0.5, f64::NAN]);
        assert_eq!(Update::new().digest(), 10_979_097_475_481_202_856);
        assert_eq!(update.digest(), 15_324_525_036_539_321_699);
        let others = [
            update.clone().response_text("done."),
            update.clone().complexity(0.4),
            update.clone().parameters([0.5]),
            update.clone().ethical_drift([0.0]),
            Update { parameters: None, ..update.clone() },
            update.clone().parameters(Vec::new()),
        ];
        assert!(others.iter().all(|other| other.digest() != update.digest()));
        assert_eq!(update.clone().key("k").digest(), update.digest());
    }
}
