//! `agents`: all of them in a table.

use govstore::{Agent, AgentFilter, FleetHealth, HealthStatus, HealthThresholds, Lifecycle, Timestamp};
use serde::Serialize;

use super::figures::{self, NONE, age, count};
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Outcome, Session, paint};

/// List the agents
///
/// In the order of their ids, with the health of now. `LAST` says how long ago the last update was.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore agents --health critical
  govstore agents --limit 50 --after writer-0050
  govstore --json agents | jq -r '.agents[].agent_id'")]
pub struct Args {
    /// Only those with this lifecycle status: active, paused, archived or deleted
    #[arg(long, value_name = "STATUS")]
    status: Option<Lifecycle>,

    /// Only those with this health: healthy, degraded or critical
    #[arg(long, value_name = "HEALTH")]
    health: Option<HealthStatus>,

    /// At most this many
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Only those after this id: the last one of the page before
    #[arg(long, value_name = "AGENT")]
    after: Option<String>,
}

#[derive(Serialize)]
struct Page<'a> {
    agents: &'a [Agent],
    /// What `--after` of the next page is; null on the last one.
    next: Option<&'a str>,
    summary: &'a FleetHealth,
}

pub fn run(args: Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let filtered = args.status.is_some() || args.health.is_some() || args.after.is_some();
    let mut agents = store.agents(
        &AgentFilter::new()
            .lifecycle_status(args.status)
            .health_status(args.health)
            .after(args.after)
            .limit(args.limit.map(|limit| limit.saturating_add(1))),
    )?; // one more tells whether there are more
    let fleet = store.health()?;
    let wanted = args.limit.map_or(agents.len(), |limit| limit as usize);
    let more = agents.len() > wanted;
    agents.truncate(wanted);
    let next = if more { agents.last().map(|agent| agent.agent_id.as_str()) } else { None };

    if session.out.json() {
        session.out.success(&Page { agents: &agents, next, summary: &fleet })?;
        return Ok(Exit::DONE);
    }
    if agents.is_empty() {
        let none =
            if filtered { "no such agents" } else { "no agents yet; `govstore update AGENT` makes one" };
        session.out.say(none)?;
        return Ok(Exit::DONE);
    }
    session.out.say(listing(&agents, &store.settings()?.health_thresholds()))?;
    if let Some(last) = next {
        session.out.say(paint::pale(&format!("more: --after {}", visible(last))))?;
    }
    session.out.say(format!("\n{}: {}", count(fleet.total_agents, "agent"), lifecycles(&fleet)))?;
    Ok(Exit::DONE)
}

fn listing(agents: &[Agent], thresholds: &HealthThresholds) -> String {
    let now = Timestamp::now();
    let columns = [
        Column::Wrapped("AGENT"),
        Column::Text("STATUS"),
        Column::Text("HEALTH"),
        Column::Figure("RISK"),
        Column::Figure("COHERENCE"),
        Column::Figure("UPDATES"),
        Column::Figure("LAST"),
    ];
    let rows = agents.iter().map(|agent| {
        [
            visible(&agent.agent_id).into_owned(),
            paint::lifecycle(agent.lifecycle_status),
            paint::health(agent.health_status),
            agent.risk_score.map_or(NONE.into(), |risk| figures::risk(risk, thresholds)),
            agent.coherence.map_or(NONE.into(), |coherence| figures::coherence(coherence, thresholds)),
            agent.total_updates.to_string(),
            agent.last_update_at.map_or(NONE.into(), |at| age(at, now)),
        ]
    });
    table(columns, rows)
}

/// How many agents there are of each lifecycle status that there are any of.
pub fn lifecycles(fleet: &FleetHealth) -> String {
    let parts = [
        (fleet.active, Lifecycle::Active),
        (fleet.paused, Lifecycle::Paused),
        (fleet.archived, Lifecycle::Archived),
        (fleet.deleted, Lifecycle::Deleted),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    parts.map(|(number, status)| format!("{number} {status}")).collect::<Vec<_>>().join(", ")
}
