//! `prune`: old history goes.

use std::fs;

use govstore::PruneReport;
use serde::Serialize;

use super::figures::{count, megabytes};
use super::{Exit, Outcome, Session};

/// Remove what is past, by the settings `history_limit` and `history_max_age_days`
///
/// Updates, events of agents, the reaper's ledger and the calls of tools go by number and by age. What explains the present stays: of each
/// agent the newest update, the newest event, and the newest event of its lifecycle. By number, also its last 1000 updates
/// since its start or last reset: figures are made from those. Totals stay. Servers may run meanwhile. With the setting
/// `prune_automatically` servers do this themselves, once a day.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore config set history_limit 10000
  govstore config set history_max_age_days 90
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
    session.out.say(for_people(&pruned, args.dry_run))?;
    if let Some(freed_bytes) = freed_bytes {
        session.out.say(format!("{} given back", megabytes(freed_bytes)))?;
    }
    Ok(Exit::DONE)
}

fn for_people(pruned: &PruneReport, dry_run: bool) -> String {
    if pruned.history_limit.is_none() && pruned.history_max_age_days.is_none() {
        return "history_limit and history_max_age_days are none: everything is kept".to_owned();
    }
    let gone = [
        (pruned.updates, "update"),
        (pruned.events, "event"),
        (pruned.reap_events, "entry of the reaper's ledger"),
        (pruned.tool_calls, "hour of a tool's calls"),
    ];
    let gone: Vec<String> = gone
        .into_iter()
        .filter(|(rows, _)| *rows > 0)
        .map(|(rows, what)| match (what.strip_prefix("entry"), what.strip_prefix("hour")) {
            (Some(rest), _) if rows > 1 => format!("{rows} entries{rest}"),
            (_, Some(rest)) if rows > 1 => format!("{rows} hours{rest}"),
            (None, None) => count(rows, what),
            _ => format!("{rows} {what}"),
        })
        .collect();
    let of = match pruned.agents {
        0 => String::new(), // nothing of an agent's
        agents => format!(", of {}", count(agents, "agent")),
    };
    let said = match (gone.is_empty(), dry_run) {
        (true, _) => "there is nothing to remove".to_owned(),
        (false, true) => format!("{} would be removed{of}", gone.join(", ")),
        (false, false) => format!("{} removed{of}", gone.join(", ")),
    };
    if let (Some(limit), 1..) = (pruned.history_limit, pruned.kept_for_statistics) {
        let stay = count(pruned.kept_for_statistics, "update");
        return format!(
            "{said}\n{stay} over history_limit {limit} stay: figures are made of each agent's newest 1000 since its last \
             reset"
        );
    }
    said
}
