//! What a process knows of its own locks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use rusqlite::named_params;

use super::release;
use crate::agent::AgentId;
use crate::error::{Error, Result};
use crate::store::{TxResult, WriteTx};

/// One lock, as the row says that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub agent_id: String,
    pub token: i64,
    /// The holder. A process that had to register again has another number, and has lost the lock.
    pub process_id: i64,
}

/// The locks of this process; shared by all clones of a [`Store`](crate::Store).
#[derive(Default)]
pub(crate) struct HeldLocks(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// By agent: the locks whose guard is still there, lost ones included, and the thread that took each.
    held: HashMap<String, (Held, ThreadId)>,
    /// Those whose guard is gone and whose release could not be written.
    unreleased: Vec<Held>,
}

impl HeldLocks {
    /// The lock on this agent whose guard is still there.
    pub(super) fn of(&self, id: AgentId<'_>) -> Option<Held> {
        self.table().held.get(id.as_str()).map(|(held, _)| held.clone())
    }

    /// [`Error::AlreadyLocked`] if this thread took the lock: it would wait for itself.
    pub(super) fn refuse_second(&self, id: AgentId<'_>) -> Result<()> {
        match self.table().held.get(id.as_str()) {
            Some((held, taker)) if *taker == thread::current().id() => {
                Err(Error::AlreadyLocked { agent_id: held.agent_id.clone(), token: held.token })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn note(&self, held: &Held) {
        self.table().held.insert(held.agent_id.clone(), (held.clone(), thread::current().id()));
    }

    /// Forgets a lock; `false` if it was not there.
    pub(super) fn strike(&self, held: &Held) -> bool {
        let mut table = self.table();
        let there = table.held.get(&held.agent_id).is_some_and(|(noted, _)| noted == held);
        there && table.held.remove(&held.agent_id).is_some()
    }

    pub(super) fn release_later(&self, held: Held) {
        self.table().unreleased.push(held);
    }

    /// Says with a heartbeat that this process still needs its locks, and releases those that it doesn't.
    pub(crate) fn renew(&self, tx: &WriteTx<'_>) -> TxResult<()> {
        let mut table = self.table();
        let mut fault = None;
        // A release may yet be rolled back, so one leaves the list when a later beat finds it released.
        table.unreleased.retain(|held| match release(tx, held) {
            Ok(released) => released,
            Err(e) => {
                fault.get_or_insert(e);
                true
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        if !table.held.is_empty() {
            tx.prepare_cached("UPDATE agent_locks SET renewed_at = :now WHERE process_id = :process_id")?
                .execute(named_params! { ":process_id": tx.process_id(), ":now": tx.at_text })?;
        }
        Ok(())
    }

    /// No code panics while it holds this mutex, so what it guards is whole even if poisoned.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
