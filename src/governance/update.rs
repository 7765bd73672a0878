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
/// let update = Update::new().response_text("done").complexity(0.3);
/// let same: Update = serde_json::from_str(r#"{"response_text": "done", "complexity": 0.3}"#)?;
/// assert_eq!(update, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Update {
    /// The agent's parameter vector: cut or padded with zeros to [`PARAMETER_COUNT`], non-finite numbers
    /// become 0.
    ///
    /// [`PARAMETER_COUNT`]: crate::governance::PARAMETER_COUNT
    #[serde(deserialize_with = "numbers")]
    pub parameters: Vec<f64>,
    /// Kept for clients of v1.0.3; has no effect.
    #[serde(deserialize_with = "numbers")]
    pub ethical_drift: Vec<f64>,
    /// What the agent said. It is measured, not stored.
    #[serde(deserialize_with = "text")]
    pub response_text: String,
    /// How complex the task was, 0 to 1; NaN counts as 0.5, anything else is clamped.
    #[serde(deserialize_with = "number")]
    pub complexity: f64,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            parameters: Vec::new(),
            ethical_drift: Vec::new(),
            response_text: String::new(),
            complexity: 0.5,
        }
    }
}

/// What is not given is as [`Update::new`] has it.
impl Update {
    /// An update without parameters or text, of complexity 0.5.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent's parameter vector.
    #[must_use]
    pub fn parameters(mut self, parameters: impl Into<Vec<f64>>) -> Self {
        self.parameters = parameters.into();
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
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers: Option<Vec<Option<f64>>> = Option::deserialize(deserializer)?;
    Ok(numbers.unwrap_or_default().into_iter().map(|n| n.unwrap_or(f64::NAN)).collect())
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
        assert_eq!(update.parameters.len(), 2);
        assert!(update.parameters[1].is_nan());
        assert!(update.complexity.is_nan());
        assert_eq!(update.response_text, "");
        Ok(())
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_by_name() {
        let refused = serde_json::from_str::<Update>(r#"{"complexty": 0.1}"#);
        assert!(refused.is_err_and(|e| e.to_string().contains("complexty")));
    }
}
