//! The part of the page about one agent.

use govstore::explain;
use govstore::{Action, Agent, AgentEvent, EventKind, HealthThresholds, HistoryRow, Settings, Timestamp};
use maud::{Markup, html};

use crate::actors;

use super::figures::{count, percent, time};
use super::parts::{badge, facts};
use super::plots::plots;
use super::snapshot::Past;
use super::table::{Called, table};
use super::text::{Lines, Name};

/// How many events are shown.
const EVENTS_SHOWN: usize = 20;
/// How many tags are shown.
const TAGS_SHOWN: usize = 50;

/// One agent: how it is, how it went, what happened to it. `number` is its place in the list.
pub fn section(number: usize, agent: &Agent, past: &Past, settings: &Settings) -> Markup {
    let thresholds = settings.health_thresholds();
    html! {
        article id={ "agent-" (number) } aria-labelledby={ "name-" (number) } {
            header {
                h3 id={ "name-" (number) } { (Name(&agent.agent_id)) }
                p {
                    (badge(agent.health_status.as_str())) " "
                    span.(agent.lifecycle_status.as_str()) { (agent.lifecycle_status.as_str()) }
                    " · " (explain::health(agent.risk_score, agent.coherence, agent.void_active, &thresholds))
                }
            }
            (about(agent, &past.history, &thresholds))
            @if past.history.is_empty() {
                p.pale { "No updates are kept." }
            } @else {
                (plots(&past.history, &thresholds))
            }
            @if !past.events.is_empty() { (events(&past.events)) }
        }
    }
}

fn about(agent: &Agent, history: &[HistoryRow], thresholds: &HealthThresholds) -> Markup {
    let since = |at: Timestamp| html! { (time(at)) " UTC" };
    let status_since = agent.deleted_at.or(agent.archived_at).or(agent.paused_at);
    let mut about: Vec<(&str, Markup)> = Vec::new();
    if let Some(at) = status_since {
        let by = agent.lifecycle_actor.map(|actor| format!(", by {}", actors::named(actor, None)));
        about
            .push((agent.lifecycle_status.as_str(), html! { "since " (since(at)) (by.unwrap_or_default()) }));
    }
    if let Some(action) = agent.last_decision {
        let known = agent.risk_score.zip(agent.coherence);
        let why =
            known.map(|(risk, coherence)| explain::decision(risk, coherence, agent.void_active, thresholds));
        about.push(("decision", html! { (action.as_str()) @if let Some(why) = why { ": " (why) } }));
    }
    if !history.is_empty() {
        about.push(("decisions", decisions(history)));
    }
    about.push(("updates", updates(agent, history)));
    if let Some(at) = agent.last_update_at {
        about.push(("last update", since(at)));
    }
    about.push(("created", since(agent.created_at)));
    if !agent.tags.is_empty() {
        about.push(("tags", tags(&agent.tags)));
    }
    if !agent.notes.is_empty() {
        about.push(("notes", html! { (Lines(&agent.notes)) }));
    }
    facts(&about)
}

fn updates(agent: &Agent, history: &[HistoryRow]) -> Markup {
    let shown = history.len() as u64;
    html! {
        (count(agent.total_updates, "update"))
        @if agent.update_count < agent.total_updates {
            ", " (agent.update_count) " since the last reset"
        }
        @if shown < agent.total_updates.unsigned_abs() && shown > 0 {
            "; the newest " (shown) " are shown"
        }
    }
}

fn tags(tags: &[String]) -> Markup {
    let more = tags.len().saturating_sub(TAGS_SHOWN);
    html! {
        ul.tags { @for tag in tags.iter().take(TAGS_SHOWN) { li { (Name(tag)) } } }
        @if more > 0 { " and " (more) " more" }
    }
}

/// The shares of the decisions, as a bar and in words.
fn decisions(history: &[HistoryRow]) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "a share that is drawn")]
    let share = |part: usize| part as f64 / history.len() as f64;
    let parts = [Action::Approve, Action::Revise, Action::Reject]
        .map(|action| (action, history.iter().filter(|row| row.decision == action).count()));
    let words = parts.map(|(action, part)| format!("{} {part} ({})", action.as_str(), percent(share(part))));
    let mut left = 0;
    html! {
        svg.decisions role="presentation" aria-hidden="true" viewBox={ "0 0 " (history.len()) " 1" }
            preserveAspectRatio="none" {
            @for (action, part) in parts {
                rect.(action.as_str()) x=(left) width=(part) height="1" {}
                @let () = left += part;
            }
        }
        (words.join(", "))
    }
}

fn events(events: &[AgentEvent]) -> Markup {
    let earlier = events.len().saturating_sub(EVENTS_SHOWN);
    let titles =
        html! { @for title in ["Time (UTC)", "Event", "By", "Reason"] { th scope="col" { (title) } } };
    let rows = html! {
        @for event in events.iter().take(EVENTS_SHOWN) {
            tr {
                td.time data-label="Time (UTC)" { (time(event.occurred_at)) }
                td data-label="Event" { (what(event)) }
                td.text data-label="By" { (actors::of(event)) }
                td.text data-label="Reason" { @if let Some(reason) = &event.reason { (Name(reason)) } }
            }
        }
    };
    html! {
        details {
            summary { (count(events.len(), "event")) }
            (table(&Called::This("Events"), &titles, &rows))
            @if earlier > 0 { p.pale { (count(earlier, "earlier event")) " not shown" } }
        }
    }
}

fn what(event: &AgentEvent) -> Markup {
    match (event.event, event.health_from, event.health_to) {
        (EventKind::HealthChanged, Some(from), Some(to)) => {
            html! { "health " (badge(from.as_str())) " → " (badge(to.as_str())) }
        }
        (EventKind::HealthChanged, None, Some(to)) => html! { "health " (badge(to.as_str())) },
        (event, ..) => html! { (event.as_str()) },
    }
}
