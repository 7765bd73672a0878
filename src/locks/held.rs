//! What a process knows of its own locks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use crate::backend::statements::{Transaction, TxResult};
use crate::error::{Error, Result};
use crate::model::AgentId;
use crate::os::lock;

/// One lock, as the row says that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
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
    pub(crate) fn of(&self, id: AgentId<'_>) -> Option<Held> {
        self.table().held.get(id.as_str()).map(|(held, _)| held.clone())
    }

    /// [`Error::AlreadyLocked`] if this thread took the lock: it would wait for itself.
    pub(crate) fn refuse_second(&self, id: AgentId<'_>) -> Result<()> {
        match self.table().held.get(id.as_str()) {
            Some((held, taker)) if *taker == thread::current().id() => {
                Err(Error::AlreadyLocked { agent_id: held.agent_id.clone(), token: held.token })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn note(&self, held: &Held) {
        self.table().held.insert(held.agent_id.clone(), (held.clone(), thread::current().id()));
    }

    /// Forgets a lock; `false` if it was not there.
    pub(crate) fn strike(&self, held: &Held) -> bool {
        let mut table = self.table();
        let there = table.held.get(&held.agent_id).is_some_and(|(noted, _)| noted == held);
        there && table.held.remove(&held.agent_id).is_some()
    }

    pub(crate) fn release_later(&self, held: Held) {
        self.table().unreleased.push(held);
    }

    /// Says with a heartbeat that this process still needs its locks, and releases those that it doesn't.
    pub(crate) fn renew(&self, tx: &dyn Transaction) -> TxResult<()> {
        let mut table = self.table();
        let mut fault = None;
        // A release may yet be rolled back, so one leaves the list when a later beat finds it released.
        table.unreleased.retain(|held| match tx.release_lock(&held.agent_id, held.token, held.process_id) {
            Ok(released) => released,
            Err(e) => {
                fault.get_or_insert(e);
                true
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        if let (false, Some(process_id)) = (table.held.is_empty(), tx.process_id()) {
            tx.renew_locks_of(process_id)?;
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}
