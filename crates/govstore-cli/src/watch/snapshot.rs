//! What was read: one query set, and plain data from then on.

use std::path::PathBuf;

use govstore::{Agent, AgentLockInfo, FleetHealth, HealthThresholds, Judgement, Store, Timestamp, Verdict};

use super::query::Query;
use super::sparkline::sparkline;
use super::timeline::{Event, Timeline};

/// How many updates a sparkline shows at most.
pub const SPARKLINE_UPDATES: u8 = 40;

/// How many events are read, the newest.
const EVENTS: u32 = 100;

/// The tables of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Agents,
    Processes,
    Locks,
    Events,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Agents, Self::Processes, Self::Locks, Self::Events];
}

pub struct Snapshot {
    /// What it answers.
    pub query: Query,
    pub database: PathBuf,
    pub read_at: Timestamp,
    pub fleet: FleetHealth,
    pub thresholds: HealthThresholds,
    /// How many agents the query's filters admit.
    pub matching: u64,
    /// The first of them.
    pub agents: Vec<Row>,
    /// Those that somebody should look at first, then the oldest.
    pub processes: Vec<Judgement>,
    pub locks: Vec<AgentLockInfo>,
    /// Newest first.
    pub events: Vec<Event>,
    /// Whether there are earlier ones.
    pub has_earlier_events: bool,
}

/// An agent and its recent past, oldest update first, one block each.
pub struct Row {
    pub agent: Agent,
    pub risk: String,
    pub coherence: String,
    /// The part that made most of the newest risk, by its name.
    pub made_of: Option<(&'static str, f64)>,
}

impl Snapshot {
    pub fn read(store: &Store, query: &Query) -> govstore::Result<Self> {
        let read_at = Timestamp::now();
        let settings = store.settings()?;
        let fleet = store.health()?;
        let ranking = store.first_agents(query.order, &query.filter())?;
        let rows = ranking.agents.into_iter().map(|agent| Row::read(store, agent));
        let (mut events, _) = Timeline::last(store, EVENTS + 1)?;
        events.reverse();
        let has_earlier_events = events.len() > EVENTS as usize;
        events.truncate(EVENTS as usize);
        let mut processes = store.reap_plan()?.judgements;
        processes.sort_by_key(urgency);
        Ok(Self {
            query: query.clone(),
            database: store.path().to_owned(),
            read_at,
            fleet,
            thresholds: settings.health_thresholds(),
            matching: ranking.matching,
            agents: rows.collect::<govstore::Result<_>>()?,
            processes,
            locks: store.locks()?,
            events,
            has_earlier_events,
        })
    }

    pub fn len(&self, table: Table) -> usize {
        match table {
            Table::Agents => self.agents.len(),
            Table::Processes => self.processes.len(),
            Table::Locks => self.locks.len(),
            Table::Events => self.events.len(),
        }
    }

    /// What a row of a table is known by from one snapshot to the next; `None` if there is no such row.
    pub fn key(&self, table: Table, row: usize) -> Option<String> {
        match table {
            Table::Agents => Some(self.agents.get(row)?.agent.agent_id.clone()),
            Table::Processes => Some(self.processes.get(row)?.process.process_id.to_string()),
            Table::Locks => Some(self.locks.get(row)?.agent_id.clone()),
            Table::Events => Some(match self.events.get(row)? {
                Event::Agent(event) => event.event_id.to_string(),
                Event::Reaped(reaped) => format!("reaped {}", reaped.act.reap_event_id),
            }),
        }
    }
}

/// How soon somebody should look at a process: the lower, the sooner.
pub fn urgency(judgement: &Judgement) -> u8 {
    match judgement.verdict {
        _ if judgement.stopped => 0,
        Verdict::Suspect | Verdict::Stale | Verdict::Orphaned | Verdict::Surplus => 0,
        Verdict::Alive => 2,
        _ => 1,
    }
}

impl Row {
    fn read(store: &Store, agent: Agent) -> govstore::Result<Self> {
        let recent = store.history(&agent.agent_id, Some(SPARKLINE_UPDATES.into()))?;
        Ok(Self {
            risk: sparkline(recent.iter().map(|update| update.risk_score)),
            coherence: sparkline(recent.iter().map(|update| update.coherence)),
            made_of: recent.last().and_then(|update| update.risk_parts()?.largest()),
            agent,
        })
    }
}
