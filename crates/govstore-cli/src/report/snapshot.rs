//! What was read for a report.
//!
//! The agents come from one statement, that is, one moment; their counts are taken from that list and their
//! histories end with the update that it knows of, so figures, tables and plots agree with each other while
//! servers go on writing. Events, processes, locks and the ledger are read just after.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use crate::calls;
use govstore::{
    Agent, AgentEvent, AgentFilter, AgentLockInfo, FleetHealth, HistoryRow, Judgement, ReapEvent, Settings,
    Store, Timestamp, ToolCalls,
};

/// How many entries of the reaper's ledger are shown.
pub const LEDGER_SHOWN: u32 = 100;

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Agents with plots: the first ones of the list.
    pub agents: usize,
    /// Updates of each of them: the newest.
    pub updates: u32,
}

/// All of a report but the histories, which are read one after the other.
pub struct Snapshot {
    pub path: PathBuf,
    pub schema_version: i32,
    pub read_at: Timestamp,
    pub limits: Limits,
    pub settings: Settings,
    /// Those in service first, the worst of them first.
    pub agents: Vec<Agent>,
    pub fleet: FleetHealth,
    pub processes: Vec<Judgement>,
    pub locks: Vec<AgentLockInfo>,
    /// The newest entries, newest first.
    pub ledger: Vec<ReapEvent>,
    pub calls: Vec<ToolCalls>,
}

/// What belongs to one agent, beside its row.
pub struct Past {
    /// The newest updates, oldest first.
    pub history: Vec<HistoryRow>,
    /// Newest first.
    pub events: Vec<AgentEvent>,
}

impl Snapshot {
    pub fn read(store: &Store, limits: Limits) -> govstore::Result<Self> {
        let settings = store.settings()?;
        let read_at = Timestamp::now();
        let mut agents = store.agents(&AgentFilter::default())?;
        let fleet = FleetHealth::of(&agents);
        agents.sort_by(|a, b| {
            let rank = |agent: &Agent| (agent.lifecycle_status.in_service(), agent.health_status);
            let risk = |agent: &Agent| agent.risk_score.unwrap_or_default();
            Reverse(rank(a))
                .cmp(&Reverse(rank(b)))
                .then(risk(b).total_cmp(&risk(a)))
                .then_with(|| a.agent_id.cmp(&b.agent_id))
        });
        let mut ledger = store.reap_events(LEDGER_SHOWN)?;
        ledger.reverse();
        Ok(Self {
            path: absolute(store.path()),
            schema_version: store.schema_version(),
            read_at,
            limits,
            settings,
            agents,
            fleet,
            processes: store.reap_plan()?.judgements,
            locks: store.locks()?,
            ledger,
            calls: store.calls(Some(calls::OVER))?,
        })
    }

    /// The agents that have plots.
    pub fn plotted(&self) -> &[Agent] {
        &self.agents[..self.agents.len().min(self.limits.agents)]
    }

    /// What led to an agent's row, and nothing that came after it was read.
    pub fn past(&self, store: &Store, agent: &Agent) -> govstore::Result<Past> {
        let mut history = store.history(&agent.agent_id, Some(self.limits.updates))?;
        history.retain(|row| row.update_no <= agent.total_updates);
        let mut events = store.events(&agent.agent_id)?;
        events.reverse();
        Ok(Past { history, events })
    }
}

/// The path as somebody elsewhere would look for it.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use govstore::Update;

    use super::*;

    const LIMITS: Limits = Limits { agents: 10, updates: 100 };

    fn update(complexity: f64) -> Update {
        Update::new().complexity(complexity)
    }

    #[test]
    fn the_worst_in_service_come_first_and_are_counted_as_the_store_does()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        assert_eq!(Snapshot::read(&store, LIMITS)?.fleet, store.health()?);
        let agents = [("a", 0.1), ("b", 1.0), ("c", 0.6), ("d", 1.0), ("e", 0.95), ("f", 0.6)];
        for (agent, complexity) in agents {
            store.process_update(agent, &update(complexity))?;
        }
        store.pause("d", None)?;
        store.archive("b", None)?;
        store.delete("f")?;
        let snapshot = Snapshot::read(&store, LIMITS)?;
        let order: Vec<&str> = snapshot.agents.iter().map(|agent| agent.agent_id.as_str()).collect();
        assert_eq!(order, ["d", "e", "c", "a", "b", "f"]);
        assert_eq!(snapshot.fleet, store.health()?);
        Ok(())
    }

    #[test]
    fn what_happens_after_the_agents_were_read_is_not_in_their_histories()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        store.process_update("a", &update(0.1))?;
        let snapshot = Snapshot::read(&store, LIMITS)?;
        store.process_update("a", &update(1.0))?;
        let past = snapshot.past(&store, &snapshot.agents[0])?;
        assert_eq!(past.history.len(), 1);
        assert_eq!(past.history.last().map(|row| row.risk_score), snapshot.agents[0].risk_score);
        Ok(())
    }
}
