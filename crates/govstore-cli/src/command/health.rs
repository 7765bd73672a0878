//! `health`: how the fleet is doing.

use std::io;

use govstore::{
    Agent, AgentFilter, Error, FleetHealth, HealthStatus, HealthThresholds, Lifecycle, Store, Timestamp,
};
use serde::Serialize;

use super::facts::Facts;
use super::figures::{self, NONE, age, count};
use super::occupancy::Occupancy;
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, agents, paint};

/// How many critical agents are listed.
const CRITICAL_SHOWN: u32 = 20;

/// No agents in service, no database, or none that can be read.
const UNKNOWN: Exit = Exit(3);

/// Show how the fleet is doing
///
/// The fleet is as well as the worst of its active and paused agents; archived and deleted ones are out of
/// service. Critical agents are listed. It is also said when more servers are registered than `max_processes`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes with --check, as monitoring systems expect them:
  0  healthy
  1  degraded
  2  critical
  3  unknown: no agents in service, no database, or it can't be read")]
pub struct Args {
    /// Print one line and say with the exit code how it is
    #[arg(long)]
    check: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    fleet: &'a FleetHealth,
    /// At most [`CRITICAL_SHOWN`].
    critical_agents: &'a [Agent],
    #[serde(flatten)]
    limit: Option<Occupancy>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    if args.check {
        return Ok(check(session));
    }
    let store = session.open()?;
    let fleet = store.health()?;
    let critical = critical_agents(&store)?;
    let limit = limit(&store)?;
    if session.out.json() {
        session.out.success(&Report { fleet: &fleet, critical_agents: &critical, limit })?;
    } else {
        session.out.say(for_people(&fleet, &critical, &store.settings()?.health_thresholds()))?;
        if let Some(sentence) = limit.and_then(|limit| limit.passed()) {
            session.out.say(format!("\n{sentence}"))?;
        }
    }
    Ok(Exit::DONE)
}

/// How many servers there are; `None` where this system doesn't let processes be looked at, which says nothing of
/// the agents.
fn limit(store: &Store) -> Result<Option<Occupancy>, Failure> {
    match store.reap_plan() {
        Ok(plan) => Ok(Some(Occupancy::of(&plan, &store.settings()?))),
        Err(Error::CannotIdentify { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The critical agents that are in service, the first ones of them.
fn critical_agents(store: &Store) -> Result<Vec<Agent>, Failure> {
    let mut critical = Vec::new();
    for status in [Lifecycle::Active, Lifecycle::Paused] {
        critical.extend(
            store.agents(
                &AgentFilter::new()
                    .lifecycle_status(status)
                    .health_status(HealthStatus::Critical)
                    .limit(CRITICAL_SHOWN),
            )?,
        );
    }
    critical.truncate(CRITICAL_SHOWN as usize);
    Ok(critical)
}

fn for_people(fleet: &FleetHealth, critical: &[Agent], thresholds: &HealthThresholds) -> String {
    let Some(status) = fleet.fleet_status else {
        let others = agents::lifecycles(fleet);
        return if others.is_empty() {
            "no agents".to_owned()
        } else {
            format!("no agents in service: {others}")
        };
    };
    let number = |number: u64| format!("{number:>4}");
    let mut facts = Facts::default();
    facts
        .add("fleet", paint::health(status))
        .add("healthy", number(fleet.healthy))
        .add("degraded", number(fleet.degraded))
        .add("critical", number(fleet.critical))
        .add("agents", agents::lifecycles(fleet));
    let mut text = facts.to_string();
    if !critical.is_empty() {
        text.push_str("\n\n");
        text.push_str(&critical_table(critical, thresholds));
        let more = fleet.critical.saturating_sub(critical.len() as u64);
        if more > 0 {
            let more = format!("\n{more} more: govstore agents --health critical");
            text.push_str(&paint::pale(&more));
        }
    }
    text
}

fn critical_table(critical: &[Agent], thresholds: &HealthThresholds) -> String {
    let now = Timestamp::now();
    let columns = [
        Column::Wrapped("CRITICAL"),
        Column::Text("STATUS"),
        Column::Figure("RISK"),
        Column::Figure("COHERENCE"),
        Column::Text("VOID"),
        Column::Figure("LAST"),
    ];
    let rows = critical.iter().map(|agent| {
        [
            visible(&agent.agent_id).into_owned(),
            paint::lifecycle(agent.lifecycle_status),
            agent.risk_score.map_or(NONE.into(), |risk| figures::risk(risk, thresholds)),
            agent.coherence.map_or(NONE.into(), |coherence| figures::coherence(coherence, thresholds)),
            if agent.void_active { "active" } else { NONE }.to_owned(),
            agent.last_update_at.map_or(NONE.into(), |at| age(at, now)),
        ]
    });
    table(columns, rows)
}

#[derive(Serialize)]
struct Check<'a> {
    success: bool,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    fleet: Option<&'a FleetHealth>,
    #[serde(flatten)]
    limit: Option<Occupancy>,
}

/// One line for a monitoring system, which reads stdout and the exit code.
fn check(session: &mut Session) -> Exit {
    let read = session.open().and_then(|store| Ok((store.health()?, limit(&store)?)));
    let (fleet, limit) = match read {
        Ok((fleet, limit)) => (Ok(fleet), limit),
        Err(failure) => (Err(failure), None),
    };
    let error = match &fleet {
        Ok(fleet) if fleet.fleet_status.is_none() => Some("no agents in service".to_owned()),
        Ok(_) => None,
        Err(failure) => Some(failure.to_string()),
    };
    let (status, exit) = match fleet.as_ref().ok().and_then(|fleet| fleet.fleet_status) {
        Some(status @ HealthStatus::Healthy) => (status.as_str(), Exit(0)),
        Some(status @ HealthStatus::Degraded) => (status.as_str(), Exit(1)),
        Some(status @ HealthStatus::Critical) => (status.as_str(), Exit(2)),
        None => ("unknown", UNKNOWN),
    };
    let fleet = fleet.as_ref().ok();
    // The exit code is the answer, also for one who doesn't read the line.
    let _ = print_check(session, status, error.as_deref(), fleet, limit);
    exit
}

fn print_check(
    session: &mut Session,
    status: &str,
    error: Option<&str>,
    fleet: Option<&FleetHealth>,
    limit: Option<Occupancy>,
) -> io::Result<()> {
    if session.out.json() {
        return session.out.document(&Check { success: error.is_none(), status, error, fleet, limit });
    }
    let head = format!("GOVSTORE {}", status.to_uppercase());
    session.out.say(match (error, fleet) {
        (Some(error), _) => format!("{head}: {}", visible(error)),
        (None, Some(FleetHealth { active, paused, critical, degraded, healthy, .. })) => format!(
            "{head}: {} in service, {critical} critical, {degraded} degraded, {healthy} healthy{} \
             | critical={critical} degraded={degraded} healthy={healthy}",
            count(active + paused, "agent"),
            limit
                .and_then(|limit| limit.passed())
                .map(|sentence| format!("; {sentence}"))
                .unwrap_or_default(),
        ),
        (None, None) => head,
    })
}
