//! The first agents by some measure: what a view of a large fleet shows.

use rusqlite::{Connection, named_params};
use serde::Serialize;

use super::Lifecycle;
use super::record::{self, Agent, AgentFilter};
use crate::error::Result;
use crate::health::HealthStatus;
use crate::store::{Store, TxResult};
use crate::text_enum::text_enum;

text_enum! {
    /// Which agents come first. Those for whom the measure isn't known come last; ties are in the order of ids.
    pub enum AgentOrder {
        /// Those in service before those that are archived or deleted, worse health first, then higher risk.
        Worst => "worst",
        /// The highest risk first.
        Risk => "risk",
        /// The lowest coherence first.
        Coherence => "coherence",
        /// The most updates in a lifetime first.
        Updates => "updates",
        /// The newest update first.
        Latest => "latest",
        /// In the order of their ids.
        Id => "id",
    }
}

/// The first agents by an order, and out of how many.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentRanking {
    /// They, first one first.
    pub agents: Vec<Agent>,
    /// How many agents the filter admits, whatever its limit.
    pub matching: u64,
}

impl Store {
    /// The first agents by `order`, of those that `filter` admits. However many agents there are, no more of them
    /// than its limit are read as a whole.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{AgentFilter, AgentOrder, Update};
    ///
    /// store.process_update("careful", &Update { complexity: 0.1, ..Update::default() })?;
    /// store.process_update("daring", &Update { complexity: 0.9, ..Update::default() })?;
    /// let one = AgentFilter { limit: Some(1), ..AgentFilter::default() };
    /// let riskiest = store.first_agents(AgentOrder::Risk, &one)?;
    /// assert_eq!((riskiest.agents[0].agent_id.as_str(), riskiest.matching), ("daring", 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_agents(&self, order: AgentOrder, filter: &AgentFilter) -> Result<AgentRanking> {
        self.read(|conn| rank(conn, order, filter))
    }
}

/// One statement, so that the count and the agents are of one moment. It goes through all agents once, for what they
/// are ordered by alone.
fn rank(conn: &Connection, order: AgentOrder, filter: &AgentFilter) -> TxResult<AgentRanking> {
    let mut statement = conn.prepare_cached(
        "WITH matching AS MATERIALIZED (
           SELECT
             agent_id,
             CASE :order
               WHEN 'worst' THEN lifecycle_status IN ('archived', 'deleted')
               WHEN 'coherence' THEN coherence
             END AS least,
             CASE :order
               WHEN 'worst' THEN
                 CASE health_status WHEN 'critical' THEN 4 WHEN 'degraded' THEN 2 ELSE 0 END
                   + coalesce(risk_score, 0)
               WHEN 'risk' THEN risk_score
               WHEN 'updates' THEN total_updates
               WHEN 'latest' THEN last_update_at
             END AS greatest
           FROM agent_health
           WHERE agent_id > :after
             AND instr(lower(agent_id), lower(:id_contains)) > 0
             AND lifecycle_status = coalesce(:lifecycle_status, lifecycle_status)
             AND health_status = coalesce(:health_status, health_status)
         )
         SELECT a.*, h.health_status, (SELECT count(*) FROM matching) AS matching
         FROM (
           SELECT * FROM matching
           ORDER BY least NULLS LAST, greatest DESC, agent_id
           LIMIT :limit
         ) AS m
         CROSS JOIN agents AS a ON a.agent_id = m.agent_id
         CROSS JOIN agent_health AS h ON h.agent_id = m.agent_id
         ORDER BY m.least NULLS LAST, m.greatest DESC, m.agent_id",
    )?;
    let rows = statement.query_map(
        named_params! {
            ":order": order.as_str(),
            ":after": filter.after.as_deref().unwrap_or_default(),
            ":id_contains": filter.id_contains.as_deref().unwrap_or_default(),
            ":lifecycle_status": filter.lifecycle_status.map(Lifecycle::as_str),
            ":health_status": filter.health_status.map(HealthStatus::as_str),
            ":limit": filter.limit.map_or(-1, i64::from), // SQLite: negative is no limit
        },
        |row| Ok((record::from_row(row)?, row.get("matching")?)),
    )?;
    let mut ranking = AgentRanking { agents: Vec::new(), matching: 0 };
    for row in rows {
        let (agent, matching) = row?;
        ranking.matching = matching;
        ranking.agents.push(agent);
    }
    Ok(ranking)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::Update;

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
                store.process_update(agent, &Update { parameters, complexity, ..Update::default() })?;
            }
        }
        store.archive("away", None)?;
        store.reset("new")?; // neither risk nor coherence
        // A second between them: two updates may fall into one millisecond.
        store.write(|tx| {
            tx.execute("UPDATE agents SET last_update_at = printf('2025-11-19T20:41:%02d.000Z', rowid)", [])?;
            Ok(())
        })?;
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
        let filter = AgentFilter { limit: Some(2), ..AgentFilter::default() };
        let ranking = store.first_agents(AgentOrder::Id, &filter)?;
        assert_eq!((ids(&ranking).as_slice(), ranking.matching), (["a-calm", "away"].as_slice(), 5));

        let filter = AgentFilter { id_contains: Some("-RI".to_owned()), ..filter };
        let ranking = store.first_agents(AgentOrder::Id, &filter)?;
        assert_eq!((ids(&ranking).as_slice(), ranking.matching), (["b-risky"].as_slice(), 1));
        assert_eq!(store.agents(&filter)?, ranking.agents);
        // What means something to LIKE or GLOB is text here.
        for text in ["%", "_", "*", "'"] {
            let filter = AgentFilter { id_contains: Some(text.to_owned()), ..AgentFilter::default() };
            assert_eq!(store.first_agents(AgentOrder::Worst, &filter)?.matching, 0, "{text}");
        }

        let filter = AgentFilter { lifecycle_status: Some(Lifecycle::Archived), ..AgentFilter::default() };
        assert_eq!(ids(&store.first_agents(AgentOrder::Risk, &filter)?), ["away"]);
        let filter = AgentFilter { health_status: Some(HealthStatus::Healthy), ..AgentFilter::default() };
        let healthy = store.first_agents(AgentOrder::Worst, &filter)?;
        assert_eq!(healthy.agents.len() as u64, healthy.matching);
        assert!(healthy.agents.iter().all(|agent| agent.health_status == HealthStatus::Healthy));
        Ok(())
    }
}
