//! What the registry and the reaper's ledger say of processes.

use super::handle::Store;
use crate::error::Result;
use crate::model::{ClaimOnMe, EndedProcess, Now, Process, ReapEvent};
use crate::{liveness, registry};

impl Store {
    /// The registered processes, those that a reaper is ending included, oldest first.
    ///
    /// This is what the registry says; [`Store::reap_plan`] also looks at the processes themselves.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let system = liveness::system()?;
        let records = self.read(|reader| reader.registered_processes(&Now::read(&system)))?;
        Ok(records.into_iter().map(|record| record.process).collect())
    }

    /// The registered processes whose heartbeat is stale, oldest first. However many have a fresh one, they are
    /// not looked at.
    pub fn stale_processes(&self) -> Result<Vec<Process>> {
        let system = liveness::system()?;
        let records = self.read(|reader| {
            let stale_after_ms = reader.settings()?.stale_after_ms();
            reader.stale_processes(stale_after_ms, &Now::read(&system))
        })?;
        Ok(records.into_iter().map(|record| record.process).collect())
    }

    /// The newest `last` processes that have ended, those that ended last first. About a thousand are remembered.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{ProcessInfo, ProcessState};
    ///
    /// drop(store.register(ProcessInfo::new("my-server", "1.0.0"))?);
    /// let ended = store.ended_processes(10)?;
    /// assert_eq!((ended[0].process.state, &ended[0].reaped), (ProcessState::Ended, &None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ended_processes(&self, last: u32) -> Result<Vec<EndedProcess>> {
        let system = liveness::system()?;
        self.read(|reader| registry::ended(reader, last, &Now::read(&system)))
    }

    /// Why a reaper has claimed this process; `None` if none has, or if it is not registered. A server that is told to
    /// end asks this, so that its log says by whom and why.
    pub fn claim_on_me(&self) -> Result<Option<ClaimOnMe>> {
        let Some(process_id) = self.own().process_id() else { return Ok(None) };
        self.read(|reader| reader.claim_on(process_id))
    }

    /// The newest `last` entries of the reaper's ledger, oldest of them first.
    pub fn reap_events(&self, last: u32) -> Result<Vec<ReapEvent>> {
        self.read(|reader| reader.reap_events(last))
    }

    /// Entries of the reaper's ledger after the one of this number, oldest first, at most `limit` of them. They are
    /// numbered in the order of their commits, so asking again with the last number misses none.
    pub fn reap_events_after(&self, reap_event_id: i64, limit: u32) -> Result<Vec<ReapEvent>> {
        self.read(|reader| reader.reap_events_after(reap_event_id, limit))
    }
}
