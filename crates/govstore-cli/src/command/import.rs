//! `import`: the data folder of a v1.0.3 server.

use std::path::PathBuf;

use clap::ValueHint;
use govstore::{ImportOptions, ImportReport};

use super::figures::{NONE, count};
use super::table::{Column, table};
use super::visible::visible;
use super::zone::Zone;
use super::{Exit, Failure, Outcome, Session, paint};

/// Import the data folder of UNITARES Governance Monitor v1.0.3
///
/// The folder is only read. Each agent's history is taken from the export (JSON or CSV) that has most of it. Agents
/// that the database has already are left as they are, so importing again is harmless. What can't be used, or had to
/// be interpreted, is listed with its reason. It is all or nothing: if it fails, no new database is left behind.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore import ~/unitares/data --time-zone Europe/Berlin
  govstore --json import data --time-zone=-05:00 | jq .remarks")]
pub struct Args {
    /// The folder, which has `agent_metadata.json` in it
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,

    /// The time zone of the machine that v1.0.3 ran on: a name such as Europe/Berlin, or an offset such as +02:00
    ///
    /// Its times are local and name no zone. Where clocks were set back, a time that came twice is taken as the
    /// first; where they were set forward, one that never came is taken as what a clock would show that had not been.
    /// Both are remarked on.
    #[arg(long, value_name = "ZONE", default_value = "UTC", allow_hyphen_values = true)]
    time_zone: Zone,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    std::fs::read_dir(&args.folder)
        .map_err(|e| Failure::Input { what: args.folder.display().to_string(), reason: e.to_string() })?;
    // Before the database is opened: to open one of an older version changes it.
    let found = ImportOptions::new().time_zone(args.time_zone.clone()).read(&args.folder)?;
    let report = session.fill_or_create(|store| store.import_v1_folder(&found))?;
    if session.out.json() {
        session.out.success(&report)?;
    } else {
        session.out.say(for_people(&report, &args.time_zone))?;
    }
    Ok(Exit::DONE)
}

fn for_people(report: &ImportReport, zone: &Zone) -> String {
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
    summary.push(format!("times without a zone were taken as {zone}"));
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
