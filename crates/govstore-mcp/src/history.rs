//! An agent's history in the two shapes of v1.0.3, which prompts and spreadsheets know.
//!
//! v1.0.3 kept E, I, S and λ₁ of the newest update alone. Here every row has them; what was imported from
//! v1.0.3 without them has `null`, or an empty cell.

use std::io;

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::rounded;
use govstore::Action;
use govstore::{Agent, HistoryRow};

/// How a history is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars", inline)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Csv,
}

impl Format {
    /// The ending of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// Whom a history is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Short: figures of six places, and JSON without line breaks.
    Model,
    /// Figures as they are, and JSON with line breaks, as v1.0.3 writes it.
    Program,
}

/// One list for each figure, oldest update first.
#[derive(Serialize)]
struct Export<'a> {
    agent_id: &'a str,
    #[serde(rename = "E_history")]
    energy: Vec<Option<f64>>,
    #[serde(rename = "I_history")]
    integrity: Vec<Option<f64>>,
    #[serde(rename = "S_history")]
    entropy: Vec<Option<f64>>,
    #[serde(rename = "V_history")]
    void_integral: Vec<f64>,
    coherence_history: Vec<f64>,
    risk_history: Vec<f64>,
    decision_history: Vec<Action>,
    lambda1_final: f64,
    total_updates: i64,
    total_time: f64,
}

/// Writes `rows`, updates of an agent, in `format`.
pub fn write(agent: &Agent, rows: &[HistoryRow], format: Format, reader: Reader) -> String {
    let figure: fn(f64) -> f64 = match reader {
        Reader::Model => rounded,
        Reader::Program => |figure| figure,
    };
    match format {
        Format::Json => json(agent, rows, figure, reader),
        Format::Csv => csv(agent, rows, figure).expect("writing to a string can't fail"),
    }
}

/// λ₁, lifetime updates and simulated time as of the newest row. `agent` was read a moment before the rows.
fn totals(agent: &Agent, rows: &[HistoryRow]) -> (f64, i64, f64) {
    let last = rows.last();
    (
        last.and_then(|row| row.lambda1).unwrap_or(agent.lambda1),
        last.map_or(agent.total_updates, |row| row.update_no),
        last.and_then(|row| row.elapsed).unwrap_or(agent.elapsed),
    )
}

fn json(agent: &Agent, rows: &[HistoryRow], figure: fn(f64) -> f64, reader: Reader) -> String {
    let (lambda1_final, total_updates, total_time) = totals(agent, rows);
    let export = Export {
        agent_id: &agent.agent_id,
        energy: rows.iter().map(|row| row.energy.map(figure)).collect(),
        integrity: rows.iter().map(|row| row.integrity.map(figure)).collect(),
        entropy: rows.iter().map(|row| row.entropy.map(figure)).collect(),
        void_integral: rows.iter().map(|row| figure(row.void_integral)).collect(),
        coherence_history: rows.iter().map(|row| figure(row.coherence)).collect(),
        risk_history: rows.iter().map(|row| figure(row.risk_score)).collect(),
        decision_history: rows.iter().map(|row| row.decision).collect(),
        lambda1_final: figure(lambda1_final),
        total_updates,
        total_time: figure(total_time),
    };
    let text = match reader {
        Reader::Model => serde_json::to_string(&export),
        Reader::Program => serde_json::to_string_pretty(&export),
    };
    text.expect("an export has no map but of strings")
}

/// Rows, an empty line, and a summary; lines end as RFC 4180 says.
fn csv(agent: &Agent, rows: &[HistoryRow], figure: fn(f64) -> f64) -> csv::Result<String> {
    let (lambda1_final, total_updates, total_time) = totals(agent, rows);
    let text_of = |number: f64| format!("{:?}", figure(number));
    let cell = |number: Option<f64>| number.map(text_of).unwrap_or_default();
    let mut table = writer();
    table.write_record(["update", "E", "I", "S", "V", "coherence", "risk", "decision", "lambda1"])?;
    for row in rows {
        table.write_record([
            row.update_no.to_string(),
            cell(row.energy),
            cell(row.integrity),
            cell(row.entropy),
            cell(Some(row.void_integral)),
            cell(Some(row.coherence)),
            cell(Some(row.risk_score)),
            row.decision.to_string(),
            cell(row.lambda1),
        ])?;
    }
    let mut summary = writer();
    for (name, value) in [
        ("Summary", String::new()),
        ("agent_id", agent.agent_id.clone()),
        ("total_updates", total_updates.to_string()),
        ("total_time", text_of(total_time)),
        ("lambda1_final", text_of(lambda1_final)),
    ] {
        summary.write_record([name, &value, "", "", "", "", "", "", ""])?;
    }
    Ok(text(table)? + "\r\n" + &text(summary)?)
}

fn writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

fn text(writer: csv::Writer<Vec<u8>>) -> csv::Result<String> {
    let bytes = writer.into_inner().map_err(|e| io::Error::from(e.error().kind()))?;
    Ok(String::from_utf8(bytes).map_err(io::Error::other)?)
}
