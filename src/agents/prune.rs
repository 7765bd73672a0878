//! Pruning: what is past goes, by `history_limit` and by `history_max_age_days`.
//!
//! What explains the present stays: the newest update of each agent, its newest event and the newest of its lifecycle; and,
//! whatever their number, the newest 1000 updates since a reset, which figures are made of. (An age is another wish: who
//! sets one wants what is older gone.) The oldest go first, so that a history has no gap at any moment.

use super::statistics::WINDOW;
use crate::backend::statements::{Reader, Transaction, TxResult};
use crate::model::{PruneReport, SurplusHistory, Timestamp};

/// Rows that one transaction removes: two milliseconds or so, since others may wait.
const ROWS_A_TRANSACTION: i64 = 250;

/// How many times as long as a transaction took nothing is removed after it. Each dirties hundreds of pages, since an
/// agent's rows lie far apart, and the checkpoints that they make necessary keep the disk from those who write.
pub(crate) const REST_FACTOR: u32 = 9;

const MS_A_DAY: f64 = 86_400_000.0;

/// What goes, and what of it has gone.
pub(crate) struct Surplus {
    agents: Vec<SurplusHistory>,
    /// How many agents are done.
    done: usize,
    reap_events_up_to: i64,
    is_ledger_done: bool,
    kept: Option<u64>,
    before: Option<Timestamp>,
    are_calls_done: bool,
}

impl Surplus {
    pub const fn is_removed(&self) -> bool {
        self.done == self.agents.len() && self.is_ledger_done && self.are_calls_done
    }
}

/// What a prune would remove, and of whom, by a snapshot of now.
pub(crate) fn plan(reader: &dyn Reader, now: Timestamp) -> TxResult<(PruneReport, Surplus)> {
    let settings = reader.settings()?;
    let (history_limit, history_max_age_days) = (settings.history_limit, settings.history_max_age_days);
    #[expect(clippy::cast_possible_truncation, reason = "at most a hundred years")]
    let before = history_max_age_days.map(|days| now.earlier_by_ms((days * MS_A_DAY) as i64));
    let agents = match (history_limit, before) {
        (None, None) => Vec::new(),
        _ => reader.surplus_history(history_limit, before, WINDOW)?,
    };
    let (reap_events_up_to, reap_events) = reader.surplus_reap_events(history_limit, before)?;
    let tool_calls = reader.surplus_tool_calls(history_limit, before)?;
    let sum = |rows: fn(&SurplusHistory) -> i64| agents.iter().map(rows).sum::<i64>().unsigned_abs();
    let report = PruneReport {
        history_limit,
        history_max_age_days,
        agents: agents.iter().filter(|agent| agent.updates + agent.events > 0).count() as u64,
        updates: sum(|agent| agent.updates),
        events: sum(|agent| agent.events),
        reap_events: reap_events.unsigned_abs(),
        tool_calls: tool_calls.unsigned_abs(),
        kept_for_statistics: sum(|agent| agent.kept_for_statistics),
    };
    let surplus = Surplus {
        agents,
        done: 0,
        reap_events_up_to,
        is_ledger_done: reap_events == 0,
        kept: history_limit,
        before,
        are_calls_done: tool_calls == 0,
    };
    Ok((report, surplus))
}

/// What one transaction has removed.
#[derive(Default)]
pub(crate) struct Removed {
    pub updates: u64,
    pub events: u64,
    pub reap_events: u64,
    pub tool_calls: u64,
    /// Agents that are done with it, and whether the ledger and the calls of tools are.
    agents: usize,
    is_ledger_done: bool,
    are_calls_done: bool,
}

/// Removes as much of it as one transaction may.
pub(crate) fn remove_some(tx: &dyn Transaction, surplus: &Surplus) -> TxResult<Removed> {
    let mut removed = Removed::default();
    let mut room = ROWS_A_TRANSACTION;
    for agent in &surplus.agents[surplus.done..] {
        let id = agent.agent_id.as_str();
        let updates = tx.remove_updates(id, agent.updates_up_to, room)?;
        room -= i64::try_from(updates).unwrap_or(room);
        removed.updates += updates;
        let events =
            if room > 0 { tx.remove_events(id, agent.events_up_to, agent.kept_event, room)? } else { 0 };
        room -= i64::try_from(events).unwrap_or(room);
        removed.events += events;
        if room <= 0 {
            return Ok(removed); // perhaps this agent has more
        }
        removed.agents += 1;
    }
    removed.reap_events = tx.remove_reap_events(surplus.reap_events_up_to, room)?;
    removed.is_ledger_done = removed.reap_events < room.unsigned_abs();
    room -= i64::try_from(removed.reap_events).unwrap_or(room);
    if room > 0 {
        removed.tool_calls = tx.remove_tool_calls(surplus.kept, surplus.before, room)?;
        removed.are_calls_done = removed.tool_calls < room.unsigned_abs();
    }
    Ok(removed)
}

impl Surplus {
    /// Takes note of what a transaction has removed, once it is committed.
    pub fn note(&mut self, removed: &Removed) {
        self.done += removed.agents;
        self.is_ledger_done = removed.is_ledger_done;
        self.are_calls_done = removed.are_calls_done;
    }
}
