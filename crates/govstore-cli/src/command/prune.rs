//! `prune`: old history goes.

use std::fs;

use govstore::PruneReport;
use serde::Serialize;

use super::figures::{count, megabytes};
use super::{Exit, Outcome, Session};

/// Remove old updates from the history, by the setting `history_limit`
///
/// Each agent keeps its newest `history_limit` updates, and never less than its last 1000 since its start or last
/// reset: figures are made from those. Totals stay. Servers may run meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore config set history_limit 10000
  govstore prune --dry-run
  govstore prune --vacuum")]
pub struct Args {
    /// Say what would be removed, and remove nothing
    #[arg(long, conflicts_with = "vacuum")]
    dry_run: bool,

    /// Give the room back to the file system
    ///
    /// Without it, the room that is freed is used for new updates. Writers wait while the file is rewritten.
    #[arg(long)]
    vacuum: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    #[serde(flatten)]
    pruned: PruneReport,
    /// Bytes given back to the file system; null if that was not asked for.
    freed_bytes: Option<u64>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let pruned = if args.dry_run { store.prune_plan()? } else { store.prune()? };
    let mut freed_bytes = None;
    if args.vacuum {
        let size = || fs::metadata(store.path()).map_or(0, |found| found.len());
        let before = size();
        store.vacuum()?;
        freed_bytes = Some(before.saturating_sub(size()));
    }
    if session.out.json() {
        session.out.success(&Report { dry_run: args.dry_run, pruned, freed_bytes })?;
        return Ok(Exit::DONE);
    }
    let updates = count(pruned.updates, "update");
    let agents = count(pruned.agents, "agent");
    session.out.say(match (pruned.history_limit, pruned.updates) {
        (None, _) => "history_limit is none: every update is kept".to_owned(),
        (Some(limit), 0) => format!("history_limit is {limit}: there is nothing to remove"),
        (Some(_), _) if args.dry_run => format!("{updates} of {agents} would be removed"),
        (Some(_), _) => format!("{updates} of {agents} removed"),
    })?;
    if let Some(freed_bytes) = freed_bytes {
        session.out.say(format!("{} given back", megabytes(freed_bytes)))?;
    }
    Ok(Exit::DONE)
}
