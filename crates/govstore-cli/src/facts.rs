//! Labels and what they label, in two columns.

use std::fmt;

/// Blanks before a label.
const INDENT: usize = 2;

/// A list of labelled texts. A text of several lines stays in its column.
#[derive(Default)]
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    pub fn add(&mut self, label: &'static str, text: impl Into<String>) -> &mut Self {
        self.0.push((label, text.into()));
        self
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.0.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
        let mut separator = "";
        for (label, text) in &self.0 {
            let mut label = *label;
            for line in text.split('\n') {
                write!(f, "{separator}{:INDENT$}{label:widest$}  {line}", "")?;
                (separator, label) = ("\n", "");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_begin_in_one_column() {
        let mut facts = Facts::default();
        facts.add("λ₁", "0.15").add("notes", "one\ntwo");
        assert_eq!(facts.to_string(), "  λ₁     0.15\n  notes  one\n         two");
    }
}
