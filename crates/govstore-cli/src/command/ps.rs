//! `ps`: the registered processes, and what a reaper would think of them.

use std::io;

use govstore::{EndedProcess, Judgement, Process, ProcessState, Timestamp, ToolCalls, Usage, Verdict};
use serde::Serialize;

use crate::{calls, client};

use super::figures::{NONE, age, count, megabytes, span};
use super::occupancy::Occupancy;
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Outcome, Session, paint, reap};

/// How many processes that have ended are listed at most; about so many are remembered.
const ENDED_SHOWN: u32 = 1_000;

/// List the registered processes
///
/// Oldest first. `HEARTBEAT` and `ACTIVITY` say how long ago a process last said that it lives, and how long
/// ago its client last used it; `CPU` is the share of one processor since it started. `CLIENT` is the program that a
/// server serves, as that introduced itself, and the version of the protocol that they speak. The verdict is that of
/// now: what `govstore reap` would go by. A process that is not `alive`, or is stopped, is explained below the table.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Verdicts:
  alive         it lives, or nothing speaks against it
  exited        it is gone; `reap` forgets it
  suspect       its heartbeat is too old; it is looked at again before anything is done
  stale         it is suspect, and its heartbeat has not moved an interval later; `reap` ends it
  orphaned      its client is gone and nobody uses it; `reap` ends it
  surplus       it is over max_processes and unused, and limit_policy lets it go; `reap` ends it
  remote        it runs on another machine; it is never signalled
  unverifiable  it is in another namespace or another user's, or cannot be looked at; it is never signalled

A process that is `stopped`, as by Ctrl-Z, does nothing until it is woken; how is said below the table.

Examples:
  govstore ps --all
  govstore --json ps | jq -r '.processes[] | select(.verdict != \"alive\" or .stopped) | .pid'")]
pub struct Args {
    /// Also those that have ended, the latest first: when, how, and what a reaper had to do with it
    #[arg(long)]
    all: bool,
    /// Also what the tools of servers under `govstore run` were called for in the last 24 hours
    ///
    /// A call counts once it is answered, and as an error also if its result calls itself one. `95 %` is a time within which
    /// 95 of 100 calls were answered, as a power of ten.
    #[arg(long)]
    calls: bool,
}

#[derive(Serialize)]
struct Listing {
    processes: Vec<Row>,
    #[serde(flatten)]
    limit: Occupancy,
    /// Only if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Vec<EndedProcess>>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<ToolCalls>>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    judgement: Judgement,
    /// Null if it can't be told.
    usage: Option<Usage>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let plan = store.reap_plan()?;
    let limit = Occupancy::of(&plan, &store.settings()?);
    let ended = if args.all { Some(store.ended_processes(ENDED_SHOWN)?) } else { None };
    let calls = if args.calls { Some(store.calls(Some(calls::OVER))?) } else { None };
    let rows =
        plan.judgements.into_iter().map(|judgement| Row { usage: judgement.process.usage(), judgement });
    let processes: Vec<Row> = rows.collect();
    if session.out.json() {
        session.out.success(&Listing { processes, limit, ended, calls })?;
        return Ok(Exit::DONE);
    }
    if processes.is_empty() {
        session.out.say("no processes are registered")?;
    } else {
        say_registered(&processes, limit, session)?;
    }
    if let Some(ended) = ended.filter(|ended| !ended.is_empty()) {
        session.out.say(format!("\n{}", listing_of_ended(&ended)))?;
    }
    if let Some(calls) = calls {
        session.out.say(format!("\n{}", listing_of_calls(&calls)))?;
    }
    Ok(Exit::DONE)
}

fn say_registered(processes: &[Row], limit: Occupancy, session: &mut Session) -> io::Result<()> {
    session.out.say(listing(processes))?;
    session.out.say(format!("\n{}", count(processes.len() as u64, "process")))?;
    if let Some(sentence) = limit.passed() {
        session.out.say(sentence)?;
    }
    for Row { judgement, .. } in processes {
        if judgement.verdict != Verdict::Alive {
            session.out.say(reap::explained(judgement))?;
        }
        if judgement.stopped {
            let process = &judgement.process;
            session.out.say(format!(
                "{} is stopped; `kill -CONT {}` wakes it",
                reap::named(process),
                process.pid
            ))?;
        }
    }
    Ok(())
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
        Column::Wrapped("CLIENT"),
    ];
    let rows = processes.iter().map(|Row { judgement, usage }| {
        let process = &judgement.process;
        let ago = |age_s: Option<f64>| age_s.map_or(NONE.into(), span);
        [
            process.pid.to_string(),
            visible(&process.name).into_owned(),
            version(process),
            age(process.registered_at, now),
            ago(process.heartbeat_age_s),
            ago(process.activity_age_s),
            usage.map_or(NONE.into(), |usage| format!("{:.1}%", usage.cpu_percent)),
            usage.map_or(NONE.into(), |usage| megabytes(usage.memory_bytes)),
            verdict(judgement),
            client::of(process).map_or(NONE.into(), |client| visible(&client).into_owned()),
        ]
    });
    table(columns, rows)
}

/// A wrapped server's version is not known.
fn version(process: &Process) -> String {
    if process.version.is_empty() { NONE.into() } else { visible(&process.version).into_owned() }
}

/// The verdict on a process, and whether it is stopped.
fn verdict(judgement: &Judgement) -> String {
    let verdict = paint::verdict(judgement.verdict);
    if judgement.stopped { format!("{verdict}, {}", paint::bad("stopped")) } else { verdict }
}

fn listing_of_ended(processes: &[EndedProcess]) -> String {
    let now = Timestamp::now();
    let columns = [
        Column::Figure("PID"),
        Column::Wrapped("NAME"),
        Column::Wrapped("VERSION"),
        Column::Figure("RAN"),
        Column::Figure("ENDED"),
        Column::Text("STATE"),
        Column::Wrapped("WHY"),
    ];
    let rows = processes.iter().map(|ended| {
        let process = &ended.process;
        [
            process.pid.to_string(),
            visible(&process.name).into_owned(),
            version(process),
            age(process.registered_at, ended.ended_at),
            age(ended.ended_at, now),
            process.state.to_string(),
            why_ended(ended),
        ]
    });
    table(columns, rows)
}

fn listing_of_calls(calls: &[ToolCalls]) -> String {
    if calls.is_empty() {
        return "no calls of tools in the last 24 hours; those of servers under `govstore run` are counted"
            .to_owned();
    }
    let [server, tool, calls_made, errors, mean, most, slowest] = calls::TITLES;
    let columns = [
        Column::Wrapped(server),
        Column::Wrapped(tool),
        Column::Figure(calls_made),
        Column::Figure(errors),
        Column::Figure(mean),
        Column::Figure(most),
        Column::Figure(slowest),
    ];
    let rows = calls.iter().map(|calls| calls::row(calls).map(|text| visible(&text).into_owned()));
    table(columns, rows)
}

/// What is known of the end of a process.
fn why_ended(ended: &EndedProcess) -> String {
    if let Some(event) = &ended.reaped {
        let (verdict, evidence) = (paint::verdict(event.verdict), visible(&event.evidence));
        return format!("{verdict}: {evidence}; {}, by PID {}", reap::did(event), event.reaper_pid);
    }
    match ended.process.state {
        ProcessState::Ended => "it deregistered",
        ProcessState::Exited => "it was found to be gone",
        ProcessState::Terminated | ProcessState::Killed => "a reaper ended it; its ledger no longer says why",
        ProcessState::Forgotten => "nobody could tell what became of it",
        _ => NONE, // the others have not ended
    }
    .to_owned()
}
