//! `history`: one agent's updates, one a row.

use clap::ValueEnum;
use govstore::{HealthThresholds, HistoryRow, RiskParts, explain};
use govstore_mcp::wire;
use serde::Serialize;

use super::figures::{self, NONE, percent, time};
use super::table::{Column, table};
use super::visible::visible_lines;
use super::{Exit, Failure, Outcome, Session, csv, paint};

/// Show an agent's updates, oldest first
///
/// A figure that version 1.0.3 did not keep is missing in imported rows: `–` in a table, null in JSON, empty
/// in CSV. Tables are rounded; JSON and CSV have every digit.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore history writer --last 20
  govstore history writer --parts
  govstore history writer --format csv > writer.csv")]
pub struct Args {
    /// The agent's id
    agent: String,

    /// How to print them
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// What each risk was made of, in place of the agent's state
    #[arg(long)]
    parts: bool,

    /// Only the newest ones, this many
    #[arg(long, value_name = "NUMBER")]
    last: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One document, as with --json
    Json,
    /// A header row, then a row for each update (RFC 4180, UTF-8)
    Csv,
}

#[derive(Serialize)]
struct History<'a> {
    agent_id: &'a str,
    history: Vec<wire::HistoryRow>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let format = match (session.out.json(), args.format) {
        (true, None | Some(Format::Json)) => Format::Json,
        (true, Some(_)) => {
            return Err(Failure::Usage(
                "--json is one format and --format another; say one of them".to_owned(),
            ));
        }
        (false, format) => format.unwrap_or(Format::Table),
    };
    let store = session.open()?;
    let history = store.history(&args.agent, args.last)?;
    match format {
        Format::Json => session.out.success(&History {
            agent_id: &args.agent,
            history: history.into_iter().map(wire::HistoryRow::from).collect(),
        })?,
        Format::Csv => {
            let csv = csv::history(&history)?;
            // In a file every byte counts; on a terminal no byte may act.
            let csv = if session.out.is_terminal() { visible_lines(&csv) } else { csv.as_str().into() };
            session.out.exactly(csv.as_bytes())?;
        }
        Format::Table if history.is_empty() => session.out.say("no updates yet")?,
        Format::Table if args.parts => {
            session.out.say(made_of(&history, &store.settings()?.health_thresholds()))?;
        }
        Format::Table => session.out.say(listing(&history, &store.settings()?.health_thresholds()))?,
    }
    Ok(Exit::DONE)
}

/// The parts of each risk: they add up to it. They fit 80 columns, too.
fn made_of(history: &[HistoryRow], thresholds: &HealthThresholds) -> String {
    let columns = [
        Column::Figure("NO"),
        Column::Text("TIME (UTC)"),
        Column::Text("DECIDED"),
        Column::Dense("RISK"),
        Column::Dense("COMPL"),
        Column::Dense("COH"),
        Column::Dense("LENGTH"),
        Column::Dense("PATT"),
        Column::Wrapped("PATTERNS"),
    ];
    let rows = history.iter().map(|row| {
        let part =
            |of: fn(&RiskParts) -> f64| row.risk_parts().map_or(NONE.into(), |parts| percent(of(&parts)));
        let patterns = row.risk_basis.map(|basis| basis.patterns.iter().collect::<Vec<_>>().join(", "));
        [
            row.update_no.to_string(),
            row.applied_at.map_or(NONE.into(), time),
            paint::action(row.decision),
            figures::risk(row.risk_score, thresholds),
            part(|parts| parts.complexity),
            part(|parts| parts.coherence),
            part(|parts| parts.length),
            part(|parts| parts.patterns),
            patterns.unwrap_or_default(),
        ]
    });
    table(columns, rows)
}

fn listing(history: &[HistoryRow], thresholds: &HealthThresholds) -> String {
    // These fit 80 columns up to update 99999, unless a figure is so near a boundary that it takes more decimals.
    let columns = [
        Column::Figure("NO"),
        Column::Text("TIME (UTC)"),
        Column::Text("DECIDED"),
        Column::Text("HEALTH"),
        Column::Dense("RISK"),
        Column::Dense("COH"),
        Column::Dense("E"),
        Column::Dense("I"),
        Column::Dense("S"),
        Column::Figure("V"),
    ];
    let figure = |value: Option<f64>| value.map_or(NONE.into(), |value| format!("{value:.2}"));
    let rows = history.iter().map(|row| {
        let void = if row.void_active { "!" } else { "" };
        [
            row.update_no.to_string(),
            row.applied_at.map_or(NONE.into(), time),
            paint::action(row.decision),
            paint::health(row.health_status),
            figures::risk(row.risk_score, thresholds),
            explain::coherence(row.coherence, 2, thresholds),
            figure(row.energy),
            figure(row.integrity),
            figure(row.entropy),
            format!("{:.2}{void}", row.void_integral),
        ]
    });
    table(columns, rows)
}
