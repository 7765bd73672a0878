//! The health of the whole fleet.

use rusqlite::Connection;
use serde::Serialize;

use crate::error::Result;
use crate::health::HealthStatus;
use crate::store::column::Parsed;
use crate::store::{Store, TxResult};

/// How many agents there are, and how those in service are doing. One row of the view `fleet_health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetHealth {
    /// The worst health of an active or paused agent; `None` where there is none.
    pub fleet_status: Option<HealthStatus>,
    /// All agents, deleted ones included.
    pub total_agents: u64,
    /// Agents that take updates.
    pub active: u64,
    /// Agents that are paused.
    pub paused: u64,
    /// Agents that are put away.
    pub archived: u64,
    /// Agents that are deleted.
    pub deleted: u64,
    /// Active and paused agents that are healthy.
    pub healthy: u64,
    /// Active and paused agents that are degraded.
    pub degraded: u64,
    /// Active and paused agents that are critical.
    pub critical: u64,
}

impl Store {
    /// The health of the fleet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{HealthStatus, Update};
    ///
    /// assert_eq!(store.health()?.fleet_status, None);
    /// store.process_update("writer", &Update { complexity: 0.1, ..Update::default() })?;
    /// assert_eq!(store.health()?.fleet_status, Some(HealthStatus::Healthy));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn health(&self) -> Result<FleetHealth> {
        self.read(fleet)
    }
}

fn fleet(conn: &Connection) -> TxResult<FleetHealth> {
    let mut statement = conn.prepare_cached("SELECT * FROM fleet_health")?;
    Ok(statement.query_row([], |row| {
        Ok(FleetHealth {
            fleet_status: row.get::<_, Option<Parsed<_>>>("fleet_status")?.map(|parsed| parsed.0),
            total_agents: row.get("total_agents")?,
            active: row.get("active")?,
            paused: row.get("paused")?,
            archived: row.get("archived")?,
            deleted: row.get("deleted")?,
            healthy: row.get("healthy")?,
            degraded: row.get("degraded")?,
            critical: row.get("critical")?,
        })
    })?)
}
