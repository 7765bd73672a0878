//! `reap`: clears away processes that are dead, and never a living one.

use std::time::Duration;

use govstore::{Judgement, Outcome as What, Process, ReapAction, ReapEvent, ReapPlan, SecondLook, Verdict};
use serde::Serialize;

use crate::client;

use super::figures::count;
use super::output::complain;
use super::visible::visible;
use super::{Exit, Outcome, Session, paint};

/// Clear away dead processes
///
/// Forgets registered processes that are gone, and ends those that are stale, orphaned or surplus (`govstore ps
/// --help` says what that means): SIGTERM first, SIGKILL to those that have not gone after `terminate_grace_ms`. Only a
/// process that was identified beyond doubt is signalled: boot, namespaces, PID and start time all match, and it has
/// this database open. What was done is kept in the table `reap_events`; `govstore events` shows it.
///
/// Nobody is ended at first sight. What speaks against a process has to be found unmoved one `heartbeat_interval_s`
/// later, while it could have been written; `reap` waits for that, unless told otherwise.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
When most processes fall silent at once, as after a long sleep or freeze, the second look comes two intervals
later.

Examples:
  govstore reap --dry-run
  sqlite3 FILE 'SELECT recorded_at, pid, name, verdict, signals, outcome FROM reap_events'

Exit codes:
  0  done; nobody needed to go, or all went who had to
  1  a process could not be ended; it is tried again later")]
pub struct Args {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Don't wait for a second look: only note what speaks against a process
    #[arg(long, conflicts_with = "dry_run")]
    no_wait: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    success: bool,
    /// Who could not be ended, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    dry_run: bool,
    events: &'a [ReapEvent],
    judgements: &'a [Judgement],
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let (events, plan) = if args.dry_run {
        (Vec::new(), store.reap_plan()?)
    } else {
        let report = if args.no_wait { store.reap()? } else { store.reap_with_second_look(say_wait)? };
        (report.events, report.plan)
    };
    let error = not_ended(&events);
    let success = error.is_none();
    if let Some(sentence) = &error {
        complain(sentence);
    }

    if session.out.json() {
        session.out.document(&Report {
            success,
            error,
            dry_run: args.dry_run,
            events: &events,
            judgements: &plan.judgements,
        })?;
    } else if args.dry_run {
        let idle = say_plan(&plan.judgements, session)?;
        if idle {
            session.out.say(nothing_to_do(&plan.judgements))?;
        }
    } else if events.iter().all(|event| event.outcome == What::Postponed && !args.no_wait) {
        session.out.say(nothing_to_do(&plan.judgements))?;
    } else {
        // What was put off is of no interest any more once it is done.
        let put_off = |event: &&ReapEvent| event.outcome == What::Postponed && !args.no_wait;
        for event in events.iter().filter(|event| !put_off(event)) {
            session.out.say(told(event))?;
        }
    }
    Ok(if success { Exit::DONE } else { Exit::FAILED })
}

/// Says, where it disturbs no reader of the output, what is waited for and for how long.
fn say_wait(wait: Duration, at: SecondLook<'_>) {
    let what = match at {
        SecondLook::At(plan) => doubted(plan),
        SecondLook::AtHolder(Some(holder)) => {
            format!("{holder}, which is stopped while it holds the write lock,")
        }
        _ => "the process that is stopped while it holds the write lock".to_owned(),
    };
    let wait_s = wait.as_secs_f64();
    complain(&format!(
        "looking at {} again in {wait_s:.1} s; --no-wait leaves it at the first look",
        visible(&what)
    ));
}

/// The processes whose judgement was put off.
fn doubted(plan: &ReapPlan) -> String {
    let doubted = plan.judgements.iter().filter(|judgement| judgement.action == ReapAction::Postpone);
    let named = doubted.map(|judgement| {
        format!("PID {} ({}, {})", judgement.process.pid, judgement.process.name, judgement.verdict)
    });
    named.collect::<Vec<_>>().join(", ")
}

/// Who could not be ended, and why.
fn not_ended(events: &[ReapEvent]) -> Option<String> {
    let remained = events.iter().filter(|event| matches!(event.outcome, What::Survived | What::Denied));
    let sentences: Vec<String> = remained
        .map(|event| format!("{} could not be ended: {}", client::victim(event), event.evidence))
        .collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

/// Says what would be done; whether that is nothing.
fn say_plan(judgements: &[Judgement], session: &mut Session) -> std::io::Result<bool> {
    let mut idle = true;
    for judgement in judgements {
        let would = match judgement.action {
            ReapAction::Leave => continue,
            ReapAction::Forget => "would be forgotten",
            ReapAction::Postpone => "would be judged again later",
            ReapAction::Release => "would lose its locks on agents",
            ReapAction::End => "would be ended",
            other => other.as_str(),
        };
        idle = false;
        session.out.say(format!("{}; it {would}", explained(judgement)))?;
    }
    Ok(idle)
}

fn nothing_to_do(judgements: &[Judgement]) -> String {
    let alive = judgements.iter().filter(|judgement| judgement.verdict == Verdict::Alive).count();
    format!("nothing to do; {} alive", count(alive as u64, "process"))
}

/// One thing that was done, in a line.
pub fn told(event: &ReapEvent) -> String {
    let verdict = paint::verdict(event.verdict);
    let victim = client::victim(event);
    format!("{} was {verdict}: {}; {}", visible(&victim), visible(&event.evidence), did(event))
}

/// What was done, in a few words.
pub fn did(event: &ReapEvent) -> String {
    let did = match event.outcome {
        What::Terminated => "ended at SIGTERM",
        What::Killed => "killed",
        What::Gone => "ended by itself",
        What::Forgotten => "forgotten",
        What::Postponed => "left for now",
        What::Continued => "woken by SIGCONT",
        What::Released => "left alone, its locks on agents released",
        What::Survived => "still there after SIGKILL",
        What::Denied => "not signalled",
        other => other.as_str(),
    };
    let took = event.took_ms.map(|ms| format!(" within {ms} ms")).unwrap_or_default();
    format!("{did}{took}")
}

/// Why a process was judged so.
pub fn explained(judgement: &Judgement) -> String {
    let verdict = paint::verdict(judgement.verdict);
    format!("{} is {verdict}: {}", named(&judgement.process), visible(&judgement.evidence))
}

/// A process as people speak of it.
pub fn named(process: &Process) -> String {
    visible(&client::server(process)).into_owned()
}
