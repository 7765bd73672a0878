//! `ps`: the registered processes, and what a reaper would think of them.

use govstore::{Judgement, Process, Timestamp, Usage, Verdict};
use serde::Serialize;

use super::figures::{NONE, age, count, megabytes, span};
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Outcome, Session, paint};

/// List the registered processes
///
/// Oldest first. `HEARTBEAT` and `ACTIVITY` say how long ago a process last said that it lives, and how long
/// ago its client last used it; `CPU` is the share of one processor since it started. The verdict is that of
/// now: what `govstore reap` would go by. A process that is not `alive` is explained below the table.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Verdicts:
  alive         it lives
  exited        it is gone; `reap` forgets it
  stale         it has stopped beating; `reap` ends it
  orphaned      its client is gone and nobody uses it; `reap` ends it
  surplus       it is over max_processes, and missed least; `reap` ends it
  foreign       it is in another PID namespace or another user's; it is never signalled
  unverifiable  it cannot be looked at; it is never signalled

Examples:
  govstore ps
  govstore --json ps | jq -r '.processes[] | select(.verdict != \"alive\") | .pid'")]
pub struct Args {}

#[derive(Serialize)]
struct Processes {
    processes: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    judgement: Judgement,
    /// Null if it can't be told.
    usage: Option<Usage>,
}

pub fn run(_args: &Args, session: &mut Session) -> Outcome {
    let plan = session.open()?.reap_plan()?;
    let rows =
        plan.judgements.into_iter().map(|judgement| Row { usage: judgement.process.usage(), judgement });
    let processes: Vec<Row> = rows.collect();
    if session.out.json() {
        session.out.success(&Processes { processes })?;
        return Ok(Exit::DONE);
    }
    if processes.is_empty() {
        session.out.say("no processes are registered")?;
        return Ok(Exit::DONE);
    }
    session.out.say(listing(&processes))?;
    session.out.say(format!("\n{}", count(processes.len() as u64, "process")))?;
    for Row { judgement, .. } in processes.iter().filter(|row| row.judgement.verdict != Verdict::Alive) {
        session.out.say(explained(judgement))?;
    }
    Ok(Exit::DONE)
}

/// Why a process was judged so.
pub fn explained(judgement: &Judgement) -> String {
    let verdict = paint::verdict(judgement.verdict);
    format!("{} is {verdict}: {}", named(&judgement.process), visible(&judgement.evidence))
}

/// A process as people speak of it.
fn named(process: &Process) -> String {
    format!("PID {} ({})", process.pid, visible(&process.name))
}

fn listing(processes: &[Row]) -> String {
    let now = Timestamp::now();
    let columns = [
        Column::Figure("PID"),
        Column::Wrapped("NAME"),
        Column::Wrapped("VERSION"),
        Column::Figure("UPTIME"),
        Column::Figure("HEARTBEAT"),
        Column::Figure("ACTIVITY"),
        Column::Figure("CPU"),
        Column::Figure("MEMORY"),
        Column::Text("VERDICT"),
    ];
    let rows = processes.iter().map(|Row { judgement, usage }| {
        let process = &judgement.process;
        let ago = |age_s: Option<f64>| age_s.map_or(NONE.into(), span);
        [
            process.pid.to_string(),
            visible(&process.name).into_owned(),
            visible(&process.version).into_owned(),
            age(process.registered_at, now),
            ago(process.heartbeat_age_s),
            ago(process.activity_age_s),
            usage.map_or(NONE.into(), |usage| format!("{:.1}%", usage.cpu_percent)),
            usage.map_or(NONE.into(), |usage| megabytes(usage.memory_bytes)),
            paint::verdict(judgement.verdict),
        ]
    });
    table(columns, rows)
}
