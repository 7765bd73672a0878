//! CSV as RFC 4180 has it, but for the line ends: `\n` alone, as tools on unix want it.

use std::fmt::Display;
use std::io;

use govstore::HistoryRow;

const HISTORY_HEADER: [&str; 22] = [
    "update_no",
    "applied_at",
    "E",
    "I",
    "S",
    "V",
    "coherence",
    "lambda1",
    "risk_score",
    "void_active",
    "elapsed",
    "decision",
    "decision_reason",
    "health_status",
    "complexity",
    "text_length",
    "patterns",
    "length_part",
    "complexity_part",
    "coherence_part",
    "pattern_part",
    "key",
];

/// An agent's history: a header, then a row for each update. What is not known is empty.
pub fn history(rows: &[HistoryRow]) -> io::Result<String> {
    let mut csv =
        ::csv::WriterBuilder::new().terminator(::csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    csv.write_record(HISTORY_HEADER)?;
    for row in rows {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:?}"));
        let (basis, parts) = (row.risk_basis, row.risk_parts());
        csv.write_record([
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
            text(row.decision_reason.as_ref()),
            row.health_status.to_string(),
            number(basis.map(|basis| basis.complexity)),
            text(basis.map(|basis| basis.text_length)),
            text(basis.map(|basis| basis.patterns.iter().collect::<Vec<_>>().join(", "))),
            number(parts.map(|parts| parts.length)),
            number(parts.map(|parts| parts.complexity)),
            number(parts.map(|parts| parts.coherence)),
            number(parts.map(|parts| parts.patterns)),
            text(row.key.as_ref()),
        ])?;
    }
    let bytes = csv.into_inner().map_err(|e| io::Error::from(e.error().kind()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn text(value: Option<impl Display>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}
