//! `agent`: all that is known of one.

use govstore::health::classify;
use govstore::{Agent, AgentEvent, EventKind, HealthThresholds, Timestamp, WindowStatistics, explain};
use govstore_mcp::wire::{HistoryRow, RiskParts};
use serde::Serialize;

use super::actors;
use super::facts::Facts;
use super::figures::{self, age, count, percent, time};
use super::sparkline::sparkline;
use super::table::{Column, table};
use super::visible::{visible, visible_lines};
use super::{Exit, Outcome, Session, paint, risk, update};

/// How many updates a sparkline shows.
const SPARKLINE_UPDATES: u32 = 50;

/// How many events people are shown; with `--json` it is all of them.
const EVENTS_SHOWN: usize = 12;

/// Show one agent: state, health, decisions, tags, notes, events
///
/// The lines of blocks are its last 50 updates, oldest first, on a scale from 0 to 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's id
    agent: String,
}

#[derive(Serialize)]
struct Portrait {
    agent: Agent,
    health_message: String,
    should_alert: bool,
    statistics: WindowStatistics,
    /// The newest updates, oldest first.
    recent: Vec<HistoryRow>,
    events: Vec<AgentEvent>,
    /// The four parts that add up to the agent's risk; null where they are not known.
    risk_parts: Option<RiskParts>,
    #[serde(skip)]
    thresholds: HealthThresholds,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let agent = store.agent(&args.agent)?;
    let thresholds = store.settings()?.health_thresholds();
    let health = classify(agent.risk_score, agent.coherence, agent.void_active, &thresholds);
    let recent: Vec<HistoryRow> =
        store.history(&args.agent, Some(SPARKLINE_UPDATES))?.into_iter().map(HistoryRow::from).collect();
    let portrait = Portrait {
        should_alert: health.should_alert(),
        health_message: health.message,
        statistics: store.window_statistics(&args.agent)?,
        // A reset leaves the history, and no risk.
        risk_parts: recent.last().filter(|_| agent.update_count > 0).and_then(|newest| newest.risk_parts),
        recent,
        events: store.events(&args.agent)?,
        agent,
        thresholds,
    };
    if session.out.json() {
        session.out.success(&portrait)?;
    } else {
        session.out.say(portrait.for_people())?;
    }
    Ok(Exit::DONE)
}

impl Portrait {
    fn for_people(&self) -> String {
        let agent = &self.agent;
        let mut text = paint::strong(&visible(&agent.agent_id));
        text.push('\n');
        text.push_str(&self.facts().to_string());
        if !self.events.is_empty() {
            text.push_str("\n\n");
            text.push_str(&self.event_list());
        }
        text
    }

    fn facts(&self) -> Facts {
        let agent = &self.agent;
        let now = Timestamp::now();
        let since = |at: Timestamp| format!("{} UTC ({} ago)", time(at), age(at, now));
        let mut facts = Facts::default();

        let status_since = agent.deleted_at.or(agent.archived_at).or(agent.paused_at);
        let status_since = status_since.map_or(String::new(), |at| format!(" since {}", since(at)));
        let by = agent.lifecycle_actor.filter(|_| !status_since.is_empty());
        let by = by.map_or(String::new(), |actor| format!(" by {}", actors::named(actor, None)));
        facts.add("status", format!("{}{by}{status_since}", paint::lifecycle(agent.lifecycle_status)));
        let why = explain::health(agent.risk_score, agent.coherence, agent.void_active, &self.thresholds);
        facts.add("health", format!("{}: {why}", paint::health(agent.health_status)));
        if let Some(action) = agent.last_decision {
            facts.add("decision", format!("{}: {}", paint::action(action), decided(agent, &self.thresholds)));
        }
        if let Some(risk) = agent.risk_score {
            let line = sparkline(self.recent.iter().map(|row| row.risk_score));
            facts.add("risk", format!("{:<7}  {line}", explain::risk(risk, 1, &self.thresholds)));
            let patterns = self.recent.last().and_then(|newest| newest.patterns.as_ref());
            if let Some((parts, patterns)) = self.risk_parts.zip(patterns) {
                facts.add("made of", risk::parts(risk, &parts, patterns, &self.thresholds));
            }
        }
        if let Some(coherence) = agent.coherence {
            let line = sparkline(self.recent.iter().map(|row| row.coherence));
            facts.add("coherence", format!("{:<7}  {line}", figures::coherence(coherence, &self.thresholds)));
        }
        facts.add("state", state(agent));
        facts.add("updates", update::updates(agent.update_count, agent.total_updates));
        if let Some(at) = agent.last_update_at {
            facts.add("last update", since(at));
        }
        facts.add("created", since(agent.created_at));
        facts.add("decisions", decisions(&self.statistics));
        if !agent.tags.is_empty() {
            facts.add("tags", visible(&agent.tags.join(", ")));
        }
        if !agent.notes.is_empty() {
            facts.add("notes", visible_lines(&agent.notes));
        }
        if !agent.attributes.is_empty() {
            let lines: Vec<String> = agent
                .attributes
                .iter()
                .map(|(name, value)| format!("{}: {}", visible(name), visible(&value.to_string())))
                .collect();
            facts.add("attributes", lines.join("\n"));
        }
        facts
    }

    fn event_list(&self) -> String {
        let earlier = self.events.len().saturating_sub(EVENTS_SHOWN);
        let columns =
            [Column::Text("TIME (UTC)"), Column::Text("EVENT"), Column::Text("BY"), Column::Wrapped("WHY")];
        let rows = self.events[earlier..]
            .iter()
            .map(|event| [time(event.occurred_at), what(event), actors::of(event), why(event)]);
        let mut text = table(columns, rows);
        if earlier > 0 {
            text.push('\n');
            text.push_str(&paint::pale(&format!("{earlier} earlier ones: govstore --json agent")));
        }
        text
    }
}

/// What the decision on its newest update rests on.
fn decided(agent: &Agent, thresholds: &HealthThresholds) -> String {
    match agent.risk_score.zip(agent.coherence) {
        Some((risk, coherence)) => explain::decision(risk, coherence, agent.void_active, thresholds),
        None => agent.last_decision_reason.as_deref().map(visible).unwrap_or_default().into_owned(),
    }
}

fn state(agent: &Agent) -> String {
    format!(
        "E {:.4}  I {:.4}  S {:.4}  V {:.4}  λ₁ {:.4}{}",
        agent.energy,
        agent.integrity,
        agent.entropy,
        agent.void_integral,
        agent.lambda1,
        if agent.void_active { "  void active" } else { "" }
    )
}

fn decisions(statistics: &WindowStatistics) -> String {
    if statistics.history_size == 0 {
        return "none since its start or last reset".to_owned();
    }
    format!(
        "{} approve, {} revise, {} reject in the last {}\nmean risk {}, |V| over 0.15 in {}",
        statistics.approve,
        statistics.revise,
        statistics.reject,
        count(statistics.history_size, "update"),
        percent(statistics.mean_risk),
        percent(statistics.void_frequency),
    )
}

fn what(event: &AgentEvent) -> String {
    match (event.event, event.health_from, event.health_to) {
        (EventKind::HealthChanged, Some(from), Some(to)) => {
            format!("health {} → {}", paint::health(from), paint::health(to))
        }
        (EventKind::HealthChanged, None, Some(to)) => format!("health {}", paint::health(to)),
        (event, ..) => event.to_string(),
    }
}

fn why(event: &AgentEvent) -> String {
    let reason = event.reason.as_deref().unwrap_or_default();
    // A health message is a finding and some advice, which was for then.
    let finding = reason.split(" - ").next().filter(|_| event.event == EventKind::HealthChanged);
    visible(finding.unwrap_or(reason)).into_owned()
}
