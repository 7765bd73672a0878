//! What the registry knows of processes, as far as rows can tell.

use crate::backend::statements::{Reader, TxResult};
use crate::model::{EndedProcess, LimitPolicy, Now, Settings};

/// The newest processes that have ended, with the entry of the reaper's ledger that tells why.
pub(crate) fn ended(reader: &dyn Reader, last: u32, now: &Now<'_>) -> TxResult<Vec<EndedProcess>> {
    let mut ended = reader.ended_processes(last, now)?;
    let Some(first) = ended.iter().map(|ended| ended.process.process_id).min() else {
        return Ok(ended);
    };
    let mut reaped = reader.reaped_from(first)?;
    for ended in &mut ended {
        ended.reaped = reaped.remove(&ended.process.process_id);
    }
    Ok(ended)
}

/// Whether a reaper would find something to do, as far as the registry can tell without a look at the
/// processes. Its cost does not grow with the processes that live.
pub(crate) fn is_reaping_due(reader: &dyn Reader, settings: &Settings, now: &Now<'_>) -> TxResult<bool> {
    let stale_after_ms = settings.stale_after_ms();
    if !reader.stale_processes(stale_after_ms, now)?.is_empty() {
        return Ok(true);
    }
    let limit = (settings.limit_policy != LimitPolicy::Refuse).then_some(settings.max_processes);
    reader.is_any_ending_orphaned_or_surplus(stale_after_ms, limit, now.monotonic_ms)
}
