//! How a process comes into the registry, and how it leaves.

use super::interval;
use super::state::Identity;
use crate::backend::statements::{Transaction, TxResult};
use crate::crash_point;
use crate::model::{ProcessState, Settings};
use crate::os::{Here, clock};

/// How many ended processes the registry remembers.
const ENDED_KEPT: i64 = 1_000;

/// Inserts the row of a process with its first heartbeat, and returns its number.
pub(crate) fn insert(tx: &dyn Transaction, identity: &Identity, settings: &Settings) -> TxResult<i64> {
    let process_id = insert_row(tx, identity)?;
    crash_point::reach("during the registration");
    interval::save(tx, process_id, identity, settings)?;
    tx.forget_ended(process_id - ENDED_KEPT)?; // so that the file doesn't grow for ever
    Ok(process_id)
}

/// Ends the row that this process had before: it replaced itself (exec), or registers through another
/// store.
pub(crate) fn replace_predecessor(tx: &dyn Transaction, here: &Here) -> TxResult<()> {
    while let Some(known) = tx.process_by_identity(here.pid, here.start_ticks, here, true)? {
        end(tx, known.process_id, ProcessState::Ended)?;
    }
    Ok(())
}

/// Registers a process whose row has vanished, whatever the limit: it lives. Another thread of it may have
/// done so just before.
pub(crate) fn insert_again(tx: &dyn Transaction, identity: &Identity) -> TxResult<i64> {
    let here = &identity.here;
    match tx.process_by_identity(here.pid, here.start_ticks, here, true)? {
        Some(known) if known.state == ProcessState::Running => Ok(known.process_id),
        _ => insert_row(tx, identity),
    }
}

fn insert_row(tx: &dyn Transaction, identity: &Identity) -> TxResult<i64> {
    let Identity { info, here, parent } = identity;
    tx.insert_process(info, here, parent.as_ref(), clock::monotonic_ms())
}

/// Ends this process's registration. A row that a reaper has claimed stays the reaper's to end.
pub(crate) fn deregister(tx: &dyn Transaction, here: &Here) -> TxResult<()> {
    while let Some(known) = tx.process_by_identity(here.pid, here.start_ticks, here, true)? {
        if known.state == ProcessState::Terminating {
            return tx.release_locks_of(known.process_id);
        }
        end(tx, known.process_id, ProcessState::Ended)?;
    }
    Ok(())
}

/// Ends a registration: how, and its heartbeat and locks go. Says nothing to one that has ended already.
pub(crate) fn end(tx: &dyn Transaction, process_id: i64, state: ProcessState) -> TxResult<()> {
    tx.end_process(process_id, state)?;
    tx.release_locks_of(process_id)
}

/// Ends all registrations, and all locks with them: those of a database that is of another time.
pub(crate) fn forget_all(tx: &dyn Transaction) -> TxResult<()> {
    let processes = tx.registered_or_locking()?;
    processes.into_iter().try_for_each(|process_id| end(tx, process_id, ProcessState::Forgotten))
}
