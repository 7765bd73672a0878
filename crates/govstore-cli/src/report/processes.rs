//! The parts of the page about processes, what they have locked, and the reaper.

use govstore::{AgentLockInfo, Judgement, ReapEvent, Timestamp, ToolCalls, Verdict};
use maud::{Markup, html};

use crate::{calls, client};

use super::figures::{NONE, age, span, time};
use super::snapshot::{LEDGER_SHOWN, Snapshot};
use super::table::{Called, table};
use super::text::Name;

/// What is said of each tool.
const FIGURES: [&str; 5] = ["Calls", "Errors", "Mean", "95 % within", "Slowest"];

pub fn section(snapshot: &Snapshot) -> Markup {
    html! {
        section aria-labelledby="processes" {
            h2 id="processes" { "Processes" }
            @if snapshot.processes.is_empty() {
                p.pale { "No processes are registered." }
            } @else {
                (registry(&snapshot.processes, snapshot.read_at))
            }
        }
        @if !snapshot.calls.is_empty() {
            section aria-labelledby="tools" {
                h2 id="tools" { "Tools of wrapped servers, last 24 hours" }
                (tools(&snapshot.calls))
            }
        }
        @if !snapshot.locks.is_empty() {
            section aria-labelledby="locks" {
                h2 id="locks" { "Locked agents" }
                (locks(&snapshot.locks, snapshot.read_at))
            }
        }
        section aria-labelledby="ledger" {
            h2 id="ledger" { "Reaper’s ledger" }
            @if snapshot.ledger.is_empty() {
                p.pale { "The reaper has done nothing yet." }
            } @else {
                (ledger(&snapshot.ledger))
            }
        }
    }
}

fn registry(processes: &[Judgement], now: Timestamp) -> Markup {
    let ago = |age_s: Option<f64>| age_s.map_or(NONE.into(), span);
    let titles = html! {
        th scope="col" { "Name" }
        @for title in ["PID", "Uptime", "Heartbeat", "Activity"] { th.figure scope="col" { (title) } }
        @for title in ["Version", "Client", "Verdict", "Evidence"] { th scope="col" { (title) } }
    };
    let rows = html! {
        @for Judgement { process, verdict, evidence, stopped, .. } in processes {
            tr {
                th.text scope="row" { (Name(&process.name)) }
                td.figure data-label="PID" { (process.pid) }
                td.figure data-label="Uptime" { (age(process.registered_at, now)) }
                td.figure data-label="Heartbeat" { (ago(process.heartbeat_age_s)) }
                td.figure data-label="Activity" { (ago(process.activity_age_s)) }
                td.text data-label="Version" { (Name(&process.version)) }
                td.text data-label="Client" { (Name(client::of(process).as_deref().unwrap_or(NONE))) }
                td data-label="Verdict" {
                    span.(tone(*verdict)) { (verdict.as_str()) }
                    @if *stopped { ", " span.bad { "stopped" } }
                }
                td.text data-label="Evidence" { (Name(evidence)) }
            }
        }
    };
    table(&Called::AsHeading("processes"), &titles, &rows)
}

fn tools(of_tools: &[ToolCalls]) -> Markup {
    let titles = html! {
        th scope="col" { "Server" }
        th scope="col" { "Tool" }
        @for title in FIGURES { th.figure scope="col" { (title) } }
    };
    let rows = html! {
        @for calls in of_tools {
            @let [server, tool, figures @ ..] = calls::row(calls);
            tr {
                th.text scope="row" { (Name(&server)) }
                td.text data-label="Tool" { (Name(&tool)) }
                @for (title, figure) in FIGURES.into_iter().zip(figures) {
                    td.figure data-label=(title) { (figure) }
                }
            }
        }
    };
    table(&Called::AsHeading("tools"), &titles, &rows)
}

fn locks(locks: &[AgentLockInfo], now: Timestamp) -> Markup {
    let titles = html! {
        th scope="col" { "Agent" }
        @for title in ["PID", "Held", "Renewed", "Token"] { th.figure scope="col" { (title) } }
        @for title in ["Holder", "State", "Reason"] { th scope="col" { (title) } }
    };
    let rows = html! {
        @for lock in locks {
            tr {
                th.text scope="row" { (Name(&lock.agent_id)) }
                td.figure data-label="PID" { (lock.pid.map_or(NONE.into(), |pid| pid.to_string())) }
                td.figure data-label="Held" { (age(lock.acquired_at, now)) }
                td.figure data-label="Renewed" { (age(lock.renewed_at, now)) }
                td.figure data-label="Token" { (lock.token) }
                td.text data-label="Holder" { (Name(lock.name.as_deref().unwrap_or(NONE))) }
                td data-label="State" { (lock.state.to_string()) }
                td.text data-label="Reason" { (Name(lock.reason.as_deref().unwrap_or(NONE))) }
            }
        }
    };
    table(&Called::AsHeading("locks"), &titles, &rows)
}

fn ledger(events: &[ReapEvent]) -> Markup {
    let titles = html! {
        th scope="col" { "Time (UTC)" }
        th.figure scope="col" { "PID" }
        @for title in ["Name", "Client", "Verdict", "Outcome", "Signals"] { th scope="col" { (title) } }
        th.figure scope="col" { "Took" }
        th scope="col" { "Evidence" }
    };
    let rows = html! {
        @for event in events {
            tr {
                td.time data-label="Time (UTC)" { (time(event.recorded_at)) }
                td.figure data-label="PID" { (event.pid) }
                th.text scope="row" { (Name(&event.name)) }
                td.text data-label="Client" { (Name(event.client_name.as_deref().unwrap_or(NONE))) }
                td data-label="Verdict" { span.(tone(event.verdict)) { (event.verdict.as_str()) } }
                td data-label="Outcome" { (event.outcome.as_str()) }
                td data-label="Signals" { (Name(&event.signals)) }
                td.figure data-label="Took" { @if let Some(ms) = event.took_ms { (ms) " ms" } @else { (NONE) } }
                td.text data-label="Evidence" { (Name(&event.evidence)) }
            }
        }
    };
    html! {
        (table(&Called::AsHeading("ledger"), &titles, &rows))
        @if events.len() == LEDGER_SHOWN as usize { p.pale { "The newest " (LEDGER_SHOWN) " entries are shown." } }
    }
}

fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Alive => "good",
        Verdict::Exited | Verdict::Surplus => "pale",
        Verdict::Stale | Verdict::Orphaned => "bad",
        _ => "doubtful",
    }
}
