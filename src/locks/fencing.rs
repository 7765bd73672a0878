//! Whom the lock of an agent keeps out.

use super::held::Held;
use super::holder::Lapsed;
use crate::agents::{self, event, lifecycle};
use crate::backend::statements::{Transaction, TxResult};
use crate::error::{Error, Result};
use crate::model::{Actor, AgentId, AgentLockInfo, EventKind, LockRow};

/// Whether a process may write to an agent. `held` is the lock that it believes to have, `row` the lock as it is, and
/// `writer` its number in the registry. `false`: another process has locked the agent. A process that has lost its lock
/// is told so.
pub(crate) fn admits(held: Option<Held>, row: Option<&LockRow>, writer: Option<i64>) -> Result<bool> {
    match (held, row) {
        (None, None) => Ok(true),
        // Of this process and without a guard: its release is on the way.
        (None, Some(row)) => Ok(writer == Some(row.process_id)),
        (Some(Held { agent_id, token, process_id }), row) => {
            let is_held = row.is_some_and(|row| row.process_id == process_id && row.token == token);
            if is_held && writer == Some(process_id) {
                Ok(true)
            } else {
                Err(Error::Fenced { agent_id, token })
            }
        }
    }
}

/// Takes an agent's lock for the process that writes, if it is free; `None` if it is not. `is_held`: whether
/// this process has it already.
pub(crate) fn acquire(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    is_held: bool,
    reason: Option<&str>,
) -> TxResult<Option<Held>> {
    lifecycle::editable(tx, id, "locked")?;
    let Some(process_id) = tx.process_id() else { return Err(Error::NotRegistered.into()) };
    let is_elsewhere = tx.lock_of(id.as_str())?.is_some_and(|row| row.process_id != process_id);
    if is_elsewhere || is_held {
        return Ok(None);
    }
    let token = tx.acquire_lock(id.as_str(), process_id, reason)?;
    Ok(Some(Held { agent_id: id.as_str().to_owned(), token, process_id }))
}

/// Clears away the lock of a holder who was judged to be gone, unless one of them has changed since.
pub(crate) fn clear(tx: &dyn Transaction, id: AgentId<'_>, token: i64, lapsed: &Lapsed) -> TxResult<()> {
    if lapsed.still_holds(tx)? {
        tx.release_lock(id.as_str(), token, lapsed.process_id)?;
    }
    Ok(())
}

/// Takes an agent's lock away from its holder, and records that as an event. Returns the lock as it was.
pub(crate) fn take_away(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    reason: Option<&str>,
    by: &Actor,
) -> TxResult<AgentLockInfo> {
    agents::find(tx, id)?;
    let not_locked = || Error::NotLocked { agent_id: id.as_str().to_owned() };
    let lock = tx.locks(Some(id.as_str()))?.pop().ok_or_else(not_locked)?;
    tx.release_lock(&lock.agent_id, lock.token, lock.process_id)?;
    event::record(tx, id, EventKind::Unlocked, Some(&account(&lock, reason)), by)?;
    Ok(lock)
}

/// The event's reason: from whom it was taken, and why.
fn account(lock: &AgentLockInfo, reason: Option<&str>) -> String {
    let holder = match (lock.pid, &lock.name) {
        (Some(pid), Some(name)) => format!("PID {pid} ({name})"),
        _ => format!("process {}", lock.process_id),
    };
    match reason {
        Some(reason) => format!("taken from {holder}: {reason}"),
        None => format!("taken from {holder}"),
    }
}
