//! CSV as RFC 4180 has it, but for the line ends: `\n` alone, as tools on unix want it.

use std::fmt::{Display, Write};

use govstore::HistoryRow;

const HISTORY_HEADER: &str = "update_no,applied_at,E,I,S,V,coherence,lambda1,risk_score,void_active,elapsed,\
                              decision,decision_reason,health_status\n";

/// An agent's history: a header, then a row for each update. What is not known is empty.
pub fn history(rows: &[HistoryRow]) -> String {
    let mut csv = HISTORY_HEADER.to_owned();
    for row in rows {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:?}"));
        let fields = [
            row.update_no.to_string(),
            text(row.applied_at),
            number(row.energy),
            number(row.integrity),
            number(row.entropy),
            number(Some(row.void_integral)),
            number(Some(row.coherence)),
            number(row.lambda1),
            number(Some(row.risk_score)),
            row.void_active.to_string(),
            number(row.elapsed),
            row.decision.to_string(),
            quoted(&text(row.decision_reason.as_ref())),
            row.health_status.to_string(),
        ];
        let _ = writeln!(csv, "{}", fields.join(",")); // into a String
    }
    csv
}

fn text(value: Option<impl Display>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// A field in quotes, where it needs them.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_quotes_has_them() {
        assert_eq!(quoted("Low risk (0.15)"), "Low risk (0.15)");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"no\"\r\n"), "\"say \"\"no\"\"\r\n\"");
    }
}
