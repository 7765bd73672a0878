//! `copy`: everything from a file to a server, or back.

use std::path::PathBuf;

use clap::ValueHint;
use govstore::CopyReport;

use super::figures::count;
use super::progress::bar;
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Outcome, Session};

/// Move everything from a file to a PostgreSQL server, back, or from server to server
///
/// FROM is only read. TO is a file that is not there yet, or an empty database on a server; others can open it once
/// it is whole, which is when all rows were read again on both sides and found equal. A copy that was broken off is
/// gone on with by the same command, and whatever has changed in FROM since is brought over too.
///
/// Copied are agents, history with its keys, events, the tokens of locks, the calls of tools, the processes that have
/// ended, what the reaper did, and the settings. Registered processes and the locks that they hold stay where they
/// are: end them first, and start them again with the new address.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore copy governance.db postgres://govstore@db.example.com/governance
  govstore copy postgres://govstore@db.example.com/governance governance.db")]
pub struct Args {
    /// The database to copy: a file, or an address
    #[arg(value_name = "FROM", value_hint = ValueHint::FilePath)]
    from: PathBuf,

    /// The copy to make, likewise
    #[arg(value_name = "TO", value_hint = ValueHint::FilePath)]
    to: PathBuf,

    /// Copy what is there now, though processes use FROM: what they write meanwhile is not in the copy
    #[arg(long)]
    while_in_use: bool,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let from = session.options().create(false).open(&args.from)?;
    let bar = bar("{wide_bar} {pos} of {len} rows, {msg}, {eta} left");
    let copied = from
        .copy()
        .while_in_use(args.while_in_use)
        .on_progress(|progress| {
            let doing = if progress.verifies { "comparing" } else { "copying" };
            bar.set_message(format!("{doing} {}", progress.table));
            bar.set_length(progress.total_rows);
            bar.set_position(progress.rows);
        })
        .to(&args.to);
    bar.finish_and_clear();
    let report = copied?;
    if session.out.json() {
        session.out.success(&report)?;
    } else {
        session.out.say(for_people(&report))?;
    }
    Ok(Exit::DONE)
}

fn for_people(report: &CopyReport) -> String {
    let columns =
        [Column::Text("TABLE"), Column::Figure("ROWS"), Column::Figure("WRITTEN"), Column::Text("DIGEST")];
    let rows = report.tables.iter().map(|copied| {
        [copied.table.to_owned(), copied.rows.to_string(), copied.written.to_string(), copied.digest.clone()]
    });
    let rows_of =
        |name| report.tables.iter().find(|copied| copied.table == name).map_or(0, |copied| copied.rows);
    let (from, to) = (report.from.display().to_string(), report.to.display().to_string());
    format!(
        "{}\n\n{} with {} copied from {} to {}; all rows are equal",
        table(columns, rows),
        count(rows_of("agents"), "agent"),
        count(rows_of("agent_updates"), "update"),
        visible(&from),
        visible(&to),
    )
}
