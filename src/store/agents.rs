//! Agents: looking at them, their lifecycle, edits, and their history.

use std::thread;
use std::time::Instant;

use super::handle::Store;
use crate::agents::{self, AgentEdit, edit, lifecycle, prune, statistics};
use crate::error::{Error, Result};
use crate::model::{
    Agent, AgentEvent, AgentFilter, AgentId, AgentOrder, AgentPatch, AgentRanking, FleetHealth, HistoryRow,
    Lifecycle, PruneReport, Timestamp, WindowStatistics,
};

/// Looking.
impl Store {
    /// One agent.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`]; [`Error::InvalidAgentId`] for a name that no agent can have.
    pub fn agent(&self, agent_id: &str) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.read(|reader| agents::find(reader, id))
    }

    /// Agents in the order of their ids, all unless `filter` says otherwise.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{AgentFilter, Lifecycle};
    ///
    /// store.process_update("writer", &govstore::Update::default())?;
    /// let page = AgentFilter::new().limit(50);
    /// assert_eq!(store.agents(&page)?[0].agent_id, "writer");
    /// let paused = AgentFilter::new().lifecycle_status(Lifecycle::Paused);
    /// assert!(store.agents(&paused)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn agents(&self, filter: &AgentFilter) -> Result<Vec<Agent>> {
        self.read(|reader| reader.agents(filter))
    }

    /// The first agents by `order`, of those that `filter` admits. However many agents there are, no more of them
    /// than its limit are read as a whole.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{AgentFilter, AgentOrder, Update};
    ///
    /// store.process_update("careful", &Update::new().complexity(0.1))?;
    /// store.process_update("daring", &Update::new().complexity(0.9))?;
    /// let one = AgentFilter::new().limit(1);
    /// let riskiest = store.first_agents(AgentOrder::Risk, &one)?;
    /// assert_eq!((riskiest.agents[0].agent_id.as_str(), riskiest.matching), ("daring", 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_agents(&self, order: AgentOrder, filter: &AgentFilter) -> Result<AgentRanking> {
        self.read(|reader| reader.first_agents(order, filter))
    }

    /// The health of the fleet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{HealthStatus, Update};
    ///
    /// assert_eq!(store.health()?.fleet_status, None);
    /// store.process_update("writer", &Update::new().complexity(0.1))?;
    /// assert_eq!(store.health()?.fleet_status, Some(HealthStatus::Healthy));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn health(&self) -> Result<FleetHealth> {
        self.read(|reader| reader.fleet_health())
    }

    /// An agent's newest `last` updates, oldest of them first; all with `None`.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn history(&self, agent_id: &str, last: Option<u32>) -> Result<Vec<HistoryRow>> {
        let id = AgentId::parse(agent_id)?;
        self.read(|reader| {
            agents::find(reader, id)?;
            reader.history(id.as_str(), None, last)
        })
    }

    /// Of an agent's updates before the one of this number the newest `last`, oldest of them first: a page of its
    /// history, whose first number is where the page before it ends. Others may write meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// for _ in 0..5 {
    ///     store.process_update("writer", &govstore::Update::new())?;
    /// }
    /// let page = store.history_before("writer", 4, 2)?;
    /// assert_eq!(page.iter().map(|row| row.update_no).collect::<Vec<_>>(), [2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn history_before(&self, agent_id: &str, before: i64, last: u32) -> Result<Vec<HistoryRow>> {
        let id = AgentId::parse(agent_id)?;
        self.read(|reader| {
            agents::find(reader, id)?;
            reader.history(id.as_str(), Some(before), Some(last))
        })
    }

    /// Figures over an agent's last 1000 updates since its start or last reset.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn window_statistics(&self, agent_id: &str) -> Result<WindowStatistics> {
        let id = AgentId::parse(agent_id)?;
        self.read(|reader| statistics::statistics(reader, id))
    }

    /// An agent's events, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`](crate::Error::AgentNotFound).
    pub fn events(&self, agent_id: &str) -> Result<Vec<AgentEvent>> {
        let id = AgentId::parse(agent_id)?;
        self.read(|reader| {
            agents::find(reader, id)?;
            reader.events(id.as_str())
        })
    }

    /// Events of all agents after the event of this number, oldest first, at most `limit` of them. They are
    /// numbered in the order of their commits, so asking again with the last number misses none.
    pub fn events_after(&self, event_id: i64, limit: u32) -> Result<Vec<AgentEvent>> {
        self.read(|reader| reader.events_after(event_id, limit))
    }

    /// The number after which come the newest `last` events: what [`Store::events_after`] takes to begin with
    /// them. With 0 that is the newest event's own; 0 where there are no more than `last`.
    pub fn event_id_before_last(&self, last: u32) -> Result<i64> {
        self.read(|reader| reader.event_id_before_last(last))
    }
}

/// Changing.
impl Store {
    /// Pauses an active agent: updates are refused until it is resumed. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] unless it is active; [`Error::AgentNotFound`].
    pub fn pause(&self, agent_id: &str, reason: Option<&str>) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Paused, reason)
    }

    /// Makes a paused or archived agent active again. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] if it is active or deleted; [`Error::AgentNotFound`].
    pub fn resume(&self, agent_id: &str) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Active, None)
    }

    /// Puts an active or paused agent away. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] if it is archived or deleted; [`Error::AgentNotFound`].
    pub fn archive(&self, agent_id: &str, reason: Option<&str>) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Archived, reason)
    }

    /// Deletes an agent for good. Its rows stay. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::Protected`] if it is tagged `pioneer`; [`Error::WrongLifecycle`] if it is deleted already;
    /// [`Error::AgentNotFound`].
    pub fn delete(&self, agent_id: &str) -> Result<Agent> {
        self.change_lifecycle(agent_id, Lifecycle::Deleted, None)
    }

    /// Puts an agent's state back to that of a new one. Its lifetime total, history, tags, notes and
    /// lifecycle status stay. Returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] if it is deleted; [`Error::AgentNotFound`]; [`Error::AgentLocked`] and
    /// [`Error::Fenced`], as for an update.
    pub fn reset(&self, agent_id: &str) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.write_once_unlocked(id, |tx| lifecycle::reset(tx, id, self.actor()))
    }

    fn change_lifecycle(&self, agent_id: &str, to: Lifecycle, reason: Option<&str>) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.write(|tx| lifecycle::change(tx, id, to, reason, self.actor()))
    }

    /// Changes an agent's tags, notes and attributes by what `edit` makes of the present ones, in one
    /// transaction: nobody else's change is lost. Returns what `edit` returned.
    ///
    /// While `edit` runs it holds the database's write lock, so it should be quick, and it cannot call the
    /// store. Its error, or a panic, changes nothing and is passed on as it is.
    ///
    /// `edit` may be run again, on the agent as it is then, where a backend loses a transaction to another and has to
    /// begin anew. SQLite never does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// # store.process_update("writer", &govstore::Update::default())?;
    /// store.update_agent("writer", |agent| {
    ///     agent.tags.push("production".into());
    ///     agent.attributes.insert("model".into(), "large".into());
    ///     Ok::<_, govstore::Error>(())
    /// })?;
    /// assert_eq!(store.agent("writer")?.tags, ["production"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`], [`Error::WrongLifecycle`] for a deleted agent, [`Error::AgentLocked`],
    /// [`Error::Fenced`], [`Error::LockTimeout`], and whatever `edit` returns.
    pub fn update_agent<T, E: From<Error>>(
        &self,
        agent_id: &str,
        mut edit: impl FnMut(&mut AgentEdit<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let id = AgentId::parse(agent_id).map_err(Error::from)?;
        self.write_once_unlocked(id, |tx| edit::apply(tx, id, &mut edit))?
    }

    /// Changes an agent's tags, notes and attributes as `patch` says, in one transaction: nobody else's change is lost.
    /// Returns it as it now is.
    ///
    /// Beside [`Store::update_agent`] for callers whose changes don't depend on what is there, and for those that can't
    /// give a closure.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// # store.process_update("writer", &govstore::Update::default())?;
    /// use govstore::AgentPatch;
    ///
    /// let patch = AgentPatch::new().add_tag("production").attribute("model", "large");
    /// assert_eq!(store.patch_agent("writer", &patch)?.tags, ["production"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`], [`Error::WrongLifecycle`] for a deleted agent, [`Error::AgentLocked`],
    /// [`Error::Fenced`], [`Error::LockTimeout`].
    pub fn patch_agent(&self, agent_id: &str, patch: &AgentPatch) -> Result<Agent> {
        let id = AgentId::parse(agent_id)?;
        self.write_once_unlocked(id, |tx| edit::patch(tx, id, patch))
    }

    /// What [`Store::prune`] would remove now. Changes nothing.
    pub fn prune_plan(&self) -> Result<PruneReport> {
        self.read(|reader| Ok(prune::plan(reader, Timestamp::now())?.0))
    }

    /// Removes updates and events of agents, and what the reaper did, over `history_limit` or older than
    /// `history_max_age_days`, in small transactions between which others write. So do hours of the calls of tools, of
    /// each tool by its number of hours.
    ///
    /// What explains the present stays: of each agent the newest update, the newest event, and the newest event of its
    /// lifecycle. By number, also its last 1000 updates since its start or last reset, which
    /// [`Store::window_statistics`] looks at. An update that was imported without a time is as old as the next one that
    /// has one. Totals and numbers stay as they are; the key of an update that was removed is unknown again.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// store.set_setting("history_limit", "5000")?;
    /// store.set_setting("history_max_age_days", "90")?;
    /// assert_eq!(store.prune()?.updates, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prune(&self) -> Result<PruneReport> {
        let (plan, mut surplus) = self.read(|reader| prune::plan(reader, Timestamp::now()))?;
        let mut pruned = PruneReport { updates: 0, events: 0, reap_events: 0, tool_calls: 0, ..plan };
        while !surplus.is_removed() {
            let began = Instant::now();
            let removed = self.write(|tx| prune::remove_some(tx, &surplus))?;
            surplus.note(&removed);
            pruned.updates += removed.updates;
            pruned.events += removed.events;
            pruned.reap_events += removed.reap_events;
            pruned.tool_calls += removed.tool_calls;
            if !surplus.is_removed() {
                thread::sleep(began.elapsed() * prune::REST_FACTOR);
            }
        }
        Ok(pruned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::Update;
    use crate::health::HealthStatus;

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    /// Four agents in service, of which `new` was never updated, and one that is archived.
    fn fleet(folder: &tempfile::TempDir) -> Result<Store> {
        let store = Store::open(folder.path().join("governance.db"))?;
        let updates = [
            ("b-risky", 1.0, 3),
            ("a-calm", 0.1, 2),
            ("c-middling", 0.6, 1),
            ("away", 1.0, 1),
            ("new", 0.5, 1),
        ];
        for (agent, complexity, number) in updates {
            for parameter in 0..number {
                // Each step of parameters costs coherence.
                let parameters = vec![f64::from(parameter) / 2.0];
                store.process_update(agent, &Update::new().parameters(parameters).complexity(complexity))?;
            }
        }
        store.archive("away", None)?;
        store.reset("new")?; // neither risk nor coherence
        // A second between them: two updates may fall into one millisecond.
        store
            .backend()
            .sqlite()
            .expect("a file")
            .execute("UPDATE agents SET last_update_at = printf('2025-11-19T20:41:%02d.000Z', rowid)")?;
        Ok(store)
    }

    fn ids(ranking: &AgentRanking) -> Vec<&str> {
        ranking.agents.iter().map(|agent| agent.agent_id.as_str()).collect()
    }

    #[test]
    fn every_order_puts_first_what_it_says() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = fleet(&folder)?;
        let all = AgentFilter::default();
        let orders: [(AgentOrder, &[&str]); 4] = [
            (AgentOrder::Worst, &["b-risky", "c-middling", "new", "a-calm", "away"]),
            (AgentOrder::Updates, &["b-risky", "a-calm", "away", "c-middling", "new"]),
            (AgentOrder::Latest, &["new", "away", "c-middling", "a-calm", "b-risky"]),
            (AgentOrder::Id, &["a-calm", "away", "b-risky", "c-middling", "new"]),
        ];
        for (order, expected) in orders {
            let ranking = store.first_agents(order, &all)?;
            assert_eq!((ids(&ranking).as_slice(), ranking.matching), (expected, 5), "{order}");
        }
        // Against the figures themselves, with what isn't known at the end.
        let by_risk = store.first_agents(AgentOrder::Risk, &all)?.agents;
        assert!(by_risk.windows(2).all(|pair| pair[0].risk_score >= pair[1].risk_score), "{by_risk:?}");
        assert_eq!(by_risk.last().map(|agent| agent.agent_id.as_str()), Some("new"));
        let by_coherence = store.first_agents(AgentOrder::Coherence, &all)?.agents;
        let known: Vec<f64> = by_coherence.iter().filter_map(|agent| agent.coherence).collect();
        assert!(known.is_sorted() && known.len() == 4 && known[0] < known[3], "{known:?}");
        assert_eq!(by_coherence.last().map(|agent| agent.agent_id.as_str()), Some("new"));
        Ok(())
    }

    #[test]
    fn the_limit_cuts_the_list_and_not_the_count() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = fleet(&folder)?;
        let filter = AgentFilter::new().limit(2);
        let ranking = store.first_agents(AgentOrder::Id, &filter)?;
        assert_eq!((ids(&ranking).as_slice(), ranking.matching), (["a-calm", "away"].as_slice(), 5));

        let filter = filter.id_contains("-RI".to_owned());
        let ranking = store.first_agents(AgentOrder::Id, &filter)?;
        assert_eq!((ids(&ranking).as_slice(), ranking.matching), (["b-risky"].as_slice(), 1));
        assert_eq!(store.agents(&filter)?, ranking.agents);
        // What means something to LIKE or GLOB is text here.
        for text in ["%", "_", "*", "'"] {
            let filter = AgentFilter::new().id_contains(text.to_owned());
            assert_eq!(store.first_agents(AgentOrder::Worst, &filter)?.matching, 0, "{text}");
        }

        let begins = |text: &str| AgentFilter::new().id_starts_with(text.to_owned());
        for (text, found) in
            [("a", 2), ("A", 0), ("a-calm", 1), ("a-calm-", 0), ("calm", 0), ("%", 0), ("", 5)]
        {
            assert_eq!(store.first_agents(AgentOrder::Id, &begins(text))?.matching, found, "{text}");
            assert_eq!(store.agents(&begins(text))?.len() as u64, found, "{text}");
        }

        let filter = AgentFilter::new().lifecycle_status(Lifecycle::Archived);
        assert_eq!(ids(&store.first_agents(AgentOrder::Risk, &filter)?), ["away"]);
        let filter = AgentFilter::new().health_status(HealthStatus::Healthy);
        let healthy = store.first_agents(AgentOrder::Worst, &filter)?;
        assert_eq!(healthy.agents.len() as u64, healthy.matching);
        assert!(healthy.agents.iter().all(|agent| agent.health_status == HealthStatus::Healthy));
        Ok(())
    }
}
