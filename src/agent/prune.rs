//! Pruning: old history goes, by `history_limit`.
//!
//! What the newest 1000 updates since a reset are needed for stays, however small the limit. An agent's oldest
//! updates go first, so its history has no gap at any moment.

use std::thread;
use std::time::Instant;

use rusqlite::{Connection, named_params};
use serde::Serialize;

use super::history::STATISTICS_WINDOW;
use crate::error::Result;
use crate::store::{Store, TxResult, WriteTx, settings};

/// Rows that one transaction removes: a few milliseconds.
const ROWS_A_TRANSACTION: i64 = 1_000;

/// What pruning removed, or would remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// `history_limit` as it is set; with `None` nothing is removed.
    pub history_limit: Option<u64>,
    /// Agents with updates over the limit.
    pub agents: u64,
    /// Updates removed.
    pub updates: u64,
}

/// An agent with history over the limit.
struct Surplus {
    agent_id: String,
    rows: i64,
}

impl Store {
    /// What [`Store::prune`] would remove now. Changes nothing.
    pub fn prune_plan(&self) -> Result<PruneReport> {
        self.read(|conn| {
            let history_limit = settings::read(conn)?.history_limit;
            Ok(report(history_limit, &surplus(conn, history_limit)?))
        })
    }

    /// Removes history over `history_limit`, in small transactions between which others write.
    ///
    /// Never removed are an agent's last 1000 updates since its start or last reset, which
    /// [`Store::window_statistics`] looks at. Totals and numbers stay as they are.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// store.set_setting("history_limit", "5000")?;
    /// assert_eq!(store.prune()?.updates, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prune(&self) -> Result<PruneReport> {
        let (history_limit, surplus) = self.read(|conn| {
            let history_limit = settings::read(conn)?.history_limit;
            Ok((history_limit, surplus(conn, history_limit)?))
        })?;
        let mut pruned = PruneReport { updates: 0, ..report(history_limit, &surplus) };
        let mut left = surplus.as_slice();
        while !left.is_empty() {
            let began = Instant::now();
            let (done, removed) = self.write(|tx| remove_some(tx, left))?;
            left = &left[done..];
            pruned.updates += removed;
            if !left.is_empty() {
                thread::sleep(began.elapsed()); // whoever polls for the lock gets it in between
            }
        }
        Ok(pruned)
    }
}

fn report(history_limit: Option<u64>, surplus: &[Surplus]) -> PruneReport {
    let rows: i64 = surplus.iter().map(|agent| agent.rows).sum();
    PruneReport { history_limit, agents: surplus.len() as u64, updates: rows.unsigned_abs() }
}

/// The agents that have history over the limit.
fn surplus(conn: &Connection, history_limit: Option<u64>) -> TxResult<Vec<Surplus>> {
    let Some(history_limit) = history_limit else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(
        "SELECT a.agent_id, count(*)
         FROM agents AS a
         CROSS JOIN agent_updates AS u
           ON u.agent_id = a.agent_id
          AND u.update_no <= a.total_updates - max(:history_limit, min(a.update_count, :window))
         GROUP BY a.agent_id",
    )?;
    let parameters = named_params! { ":history_limit": history_limit, ":window": STATISTICS_WINDOW };
    let rows =
        statement.query_map(parameters, |row| Ok(Surplus { agent_id: row.get(0)?, rows: row.get(1)? }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes what one transaction may of the first agents: how many of these are done, and the rows removed. The
/// limit is that of the settings as they are now.
fn remove_some(tx: &WriteTx<'_>, agents: &[Surplus]) -> TxResult<(usize, u64)> {
    let Some(history_limit) = settings::read(tx)?.history_limit else { return Ok((agents.len(), 0)) };
    let mut statement = tx.prepare_cached(
        "DELETE FROM agent_updates
         WHERE agent_id = :agent_id
           AND update_no < :rows + (SELECT min(update_no) FROM agent_updates WHERE agent_id = :agent_id)
           AND update_no <= (SELECT total_updates - max(:history_limit, min(update_count, :window))
                             FROM agents WHERE agent_id = :agent_id)",
    )?;
    let (mut done, mut room, mut removed) = (0, ROWS_A_TRANSACTION, 0);
    for agent in agents {
        let rows = statement.execute(named_params! {
            ":agent_id": agent.agent_id,
            ":rows": room,
            ":history_limit": history_limit,
            ":window": STATISTICS_WINDOW,
        })?;
        removed += rows as u64;
        room -= i64::try_from(rows).unwrap_or(room);
        if room <= 0 {
            break; // perhaps this agent has more
        }
        done += 1;
    }
    Ok((done, removed))
}
