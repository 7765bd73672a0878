//! What a check of a database comes to, and the checks that are the same whatever the backend.

use crate::model::{CheckStatus, Settings};

/// A status with its detail.
pub(super) type Finding = (CheckStatus, String);

/// Findings of one kind that are named; the others are counted.
const NAMED: usize = 5;

pub(super) fn ok(detail: impl Into<String>) -> Finding {
    (CheckStatus::Ok, detail.into())
}

pub(super) fn warning(detail: impl Into<String>) -> Finding {
    (CheckStatus::Warning, detail.into())
}

pub(super) fn failed(detail: impl Into<String>) -> Finding {
    (CheckStatus::Failed, detail.into())
}

/// The first few, and how many more there are.
pub(super) fn some_of(findings: &[String]) -> String {
    let shown = findings.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match findings.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// The schema keeps each setting in its bounds; here is what makes little sense within them.
pub(super) fn sane_settings(settings: &Settings) -> Finding {
    let mut odd = Vec::new();
    if settings.lock_timeout_ms == 0 {
        odd.push("lock_timeout_ms is 0: of two writers at once, one fails".to_owned());
    }
    if settings.heartbeat_interval_s > settings.stale_after_s / 3.0 {
        odd.push(
            "stale_after_s is less than three heartbeat_interval_s: servers beat more often than it says"
                .to_owned(),
        );
    }
    if odd.is_empty() { ok("they make sense") } else { warning(some_of(&odd)) }
}

/// The updates that are kept of an agent, by their numbers. An agent has none that was never updated, or imported without
/// history.
pub(super) struct Kept {
    pub agent_id: String,
    /// What the agent counts.
    pub total: i64,
    pub rows: i64,
    pub oldest: i64,
    pub newest: i64,
}

/// What is wrong with histories, of which these are the broken ones; how many rows there are in all.
pub(super) fn histories(found: Vec<Kept>, rows: i64) -> Finding {
    let mut broken = Vec::new();
    for Kept { agent_id, total, rows, oldest, newest } in found {
        let missing = newest - oldest + 1 - rows;
        if missing > 0 {
            broken.push(format!(
                "{missing} of the updates {oldest} to {newest} of agent {agent_id:?} are missing"
            ));
        }
        if newest != total {
            broken
                .push(format!("the newest update of agent {agent_id:?} is {newest}, and its total {total}"));
        }
    }
    if broken.is_empty() { ok(format!("{rows} updates without a gap")) } else { failed(some_of(&broken)) }
}
