//! `import`: the data folder of a v1.0.3 server.

use std::path::PathBuf;

use clap::ValueHint;
use govstore::ImportReport;

use super::figures::{NONE, count};
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, paint};

/// Import the data folder of UNITARES Governance Monitor v1.0.3
///
/// The folder is only read. Agents that the database has already are left as they are, so importing again is
/// harmless. Times without a zone are taken as UTC.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder, which has `agent_metadata.json` in it
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    // First, so that a mistyped name creates no database.
    std::fs::read_dir(&args.folder)
        .map_err(|e| Failure::Input { what: args.folder.display().to_string(), reason: e.to_string() })?;
    let report = session.open_or_create()?.import_v1(&args.folder)?;
    if session.out.json() {
        session.out.success(&report)?;
    } else {
        session.out.say(for_people(&report))?;
    }
    Ok(Exit::DONE)
}

fn for_people(report: &ImportReport) -> String {
    let mut parts = Vec::new();
    if !report.imported.is_empty() {
        parts.push(imported(report));
    }
    if !report.remarks.is_empty() {
        let remarks = report
            .remarks
            .iter()
            .map(|remark| format!("\n  {}: {}", visible(&remark.subject), visible(&remark.reason)));
        parts.push(format!("{}{}", paint::strong("remarks"), remarks.collect::<String>()));
    }
    let mut summary = vec![format!("{} imported", count(report.imported.len(), "agent"))];
    if !report.unchanged.is_empty() {
        summary.push(format!("{} here already and left as they are", report.unchanged.len()));
    }
    summary.push("times without a zone were taken as UTC".to_owned());
    parts.push(summary.join("; "));
    parts.join("\n\n")
}

fn imported(report: &ImportReport) -> String {
    let columns = [
        Column::Wrapped("AGENT"),
        Column::Text("STATUS"),
        Column::Figure("UPDATES"),
        Column::Figure("EVENTS"),
        Column::Figure("HISTORY"),
        Column::Wrapped("HISTORY FROM"),
    ];
    let rows = report.imported.iter().map(|agent| {
        [
            visible(&agent.agent_id).into_owned(),
            paint::lifecycle(agent.lifecycle_status),
            agent.total_updates.to_string(),
            agent.events.to_string(),
            agent.history_rows.to_string(),
            agent.history_file.as_deref().map_or(NONE.into(), |file| visible(file).into_owned()),
        ]
    });
    table(columns, rows)
}
