//! The page: its head, the fleet, all agents in a table, and then each of them.

use govstore::{Agent, FleetHealth, HealthThresholds, Lifecycle, Store};
use maud::{Markup, PreEscaped, html};

use super::figures::{self, NONE, age, count, percent, time};
use super::parts::{badge, facts};
use super::snapshot::Snapshot;
use super::table::{Called, table};
use super::text::Name;
use super::{agent, processes};

/// What every report begins with.
pub const DOCTYPE: &str = "<!DOCTYPE html>\n";

const STYLE: &str = include_str!("style.css");

/// To the browser: whatever stands in this page, run nothing and load nothing.
const SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page. Histories are read one after the other, so that few are in memory at once.
pub fn page(store: &Store, snapshot: &Snapshot) -> govstore::Result<String> {
    let mut sections = String::new();
    for (number, agent) in snapshot.plotted().iter().enumerate() {
        let past = snapshot.past(store, agent)?;
        sections.push_str(&agent::section(number, agent, &past, &snapshot.settings).into_string());
    }
    let page = html! {
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(SECURITY_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "govstore: fleet report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header id="top" {
                    h1 { "Fleet report" }
                    (provenance(snapshot))
                }
                main {
                    (fleet(snapshot))
                    @if !snapshot.agents.is_empty() { (agents(snapshot)) }
                    (processes::section(snapshot))
                    @if !sections.is_empty() {
                        section aria-labelledby="each" {
                            h2 id="each" { "Each agent" }
                            p.pale { (boundaries(&snapshot.settings.health_thresholds())) }
                            (PreEscaped(sections))
                        }
                    }
                }
                footer { p { a href="#top" { "Back to the top" } } }
            }
        }
    };
    Ok(format!("{DOCTYPE}{}\n", page.into_string()))
}

fn provenance(snapshot: &Snapshot) -> Markup {
    facts(&[
        ("read", html! { (time(snapshot.read_at)) " UTC" }),
        ("database", html! { (Name(&snapshot.path.to_string_lossy())) }),
        ("schema", html! { "version " (snapshot.schema_version) }),
        ("by", html! { "govstore " (env!("CARGO_PKG_VERSION")) }),
    ])
}

fn fleet(snapshot: &Snapshot) -> Markup {
    let FleetHealth {
        fleet_status,
        total_agents,
        active,
        paused,
        archived,
        deleted,
        healthy,
        degraded,
        critical,
        ..
    } = &snapshot.fleet;
    let health = [("critical", critical), ("degraded", degraded), ("healthy", healthy)];
    let lifecycle = [("active", active), ("paused", paused), ("archived", archived), ("deleted", deleted)];
    html! {
        section aria-labelledby="fleet" {
            h2 id="fleet" { "Fleet" }
            p.verdict {
                @match fleet_status {
                    Some(status) => { "The fleet is " (badge(status.as_str())) ": " (count(active + paused, "agent")) " in service." }
                    None if *total_agents == 0 => "There are no agents yet.",
                    None => "No agents are in service.",
                }
            }
            dl.tiles {
                @for (word, number) in health { div.(word) { dt { (word) } dd { (number) } } }
                @for (word, number) in lifecycle { div { dt { (word) } dd { (number) } } }
            }
        }
    }
}

fn agents(snapshot: &Snapshot) -> Markup {
    let plotted = snapshot.plotted().len();
    let total = snapshot.agents.len();
    let titles = html! {
        th scope="col" { "Agent" }
        th scope="col" { "Health" }
        @for title in ["Risk", "Coherence", "Updates", "Last"] { th.figure scope="col" { (title) } }
        th scope="col" { "Decision" }
        th scope="col" { "Status" }
    };
    let rows = html! {
        @for (number, agent) in snapshot.agents.iter().enumerate() {
            (row(number, agent, number < plotted, snapshot))
        }
    };
    html! {
        section aria-labelledby="agents" {
            h2 id="agents" { "Agents, worst first" }
            @if plotted < total {
                p { "Plots are shown for the first " (plotted) " of " (count(total, "agent")) "." }
            }
            (table(&Called::AsHeading("agents"), &titles, &rows))
        }
    }
}

fn row(number: usize, agent: &Agent, plotted: bool, snapshot: &Snapshot) -> Markup {
    let name = Name(&agent.agent_id);
    let thresholds = &snapshot.settings.health_thresholds();
    html! {
        tr {
            th.text scope="row" {
                @if plotted { a href={ "#agent-" (number) } { (name) } } @else { (name) }
            }
            td data-label="Health" {
                (badge(agent.health_status.as_str()))
                @if agent.void_active { " void" }
            }
            td.figure data-label="Risk" { (agent.risk_score.map_or(NONE.into(), |risk| figures::risk(risk, thresholds))) }
            td.figure data-label="Coherence" { (agent.coherence.map_or(NONE.into(), |coherence| figures::coherence(coherence, thresholds))) }
            td.figure data-label="Updates" { (agent.total_updates) }
            td.figure data-label="Last" { (agent.last_update_at.map_or(NONE.into(), |at| age(at, snapshot.read_at))) }
            td data-label="Decision" { (agent.last_decision.map_or(NONE, |action| action.as_str())) }
            td.pale[agent.lifecycle_status != Lifecycle::Active] data-label="Status" { (agent.lifecycle_status.as_str()) }
        }
    }
}

/// What the boundaries in the plots mean.
fn boundaries(thresholds: &HealthThresholds) -> String {
    format!(
        "Risk below {} is healthy, from {} on critical. Coherence counts where no risk is known: from {} on it is \
         healthy, below {} critical{}. These boundaries, the settings of now, are broken lines in the plots. The \
         threshold of |V| moves within the grey bands; upright bars mark updates at which void was active. λ₁ is \
         kept between its two lines. Plots go from the oldest update shown to the newest, and no peak is left out.",
        percent(thresholds.risk_healthy_max),
        percent(thresholds.risk_degraded_max),
        thresholds.coherence_healthy_min,
        thresholds.coherence_degraded_min,
        if thresholds.coherence_overrides_risk { ", and then whatever the risk" } else { "" },
    )
}
