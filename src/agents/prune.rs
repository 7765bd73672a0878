//! Pruning: old history goes, by `history_limit`.
//!
//! What the newest 1000 updates since a reset are needed for stays, however small the limit. An agent's oldest
//! updates go first, so its history has no gap at any moment.

use super::statistics::WINDOW;
use crate::backend::statements::{Reader, Transaction, TxResult};
use crate::model::{PruneReport, SurplusHistory};

/// Rows that one transaction removes: a few milliseconds.
const ROWS_A_TRANSACTION: i64 = 1_000;

/// What a prune would remove, and of whom.
pub(crate) fn plan(reader: &dyn Reader) -> TxResult<(PruneReport, Vec<SurplusHistory>)> {
    let history_limit = reader.settings()?.history_limit;
    let surplus = match history_limit {
        Some(limit) => reader.surplus_history(limit, WINDOW)?,
        None => Vec::new(),
    };
    let rows: i64 = surplus.iter().map(|agent| agent.rows).sum();
    let report = PruneReport { history_limit, agents: surplus.len() as u64, updates: rows.unsigned_abs() };
    Ok((report, surplus))
}

/// Removes what one transaction may of the first agents: how many of these are done, and the rows removed. The
/// limit is that of the settings as they are now.
pub(crate) fn remove_some(tx: &dyn Transaction, agents: &[SurplusHistory]) -> TxResult<(usize, u64)> {
    let Some(history_limit) = tx.settings()?.history_limit else { return Ok((agents.len(), 0)) };
    let (mut done, mut room, mut removed) = (0, ROWS_A_TRANSACTION, 0);
    for agent in agents {
        let rows = tx.remove_surplus_history(&agent.agent_id, room, history_limit, WINDOW)?;
        removed += rows;
        room -= i64::try_from(rows).unwrap_or(room);
        if room <= 0 {
            break; // perhaps this agent has more
        }
        done += 1;
    }
    Ok((done, removed))
}
