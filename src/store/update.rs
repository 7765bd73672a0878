//! The main job: one governance update, made durable.

use super::handle::Store;
use crate::agents;
use crate::backend::deadline::Deadline;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::governance::Update;
use crate::locks;
use crate::model::{AgentId, UpdateReport};
use crate::registry::Use;

impl Store {
    /// Applies one update to an agent, creating the agent if it is new. When this returns `Ok`, the update
    /// is committed, and with it a heartbeat and the activity of this process, if it is registered.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] unless the agent is active, [`Error::InvalidAgentId`],
    /// [`Error::AgentLocked`], [`Error::Fenced`], [`Error::LockTimeout`], [`Error::DiskFull`],
    /// [`Error::Displaced`], [`Error::DeviceFailed`]: nothing was written. [`Error::CommitInDoubt`]: the update may
    /// have been kept or not; look before you make it again. After that [`Error::RefusedAfterDoubt`], until the
    /// store is opened again.
    pub fn process_update(&self, agent_id: &str, update: &Update) -> Result<UpdateReport> {
        let id = AgentId::parse(agent_id)?;
        self.scan_in_background();
        self.once_unlocked(id, |wait| self.try_update(id, update, wait))
    }

    /// One update. `None`: another process has the agent locked.
    fn try_update(&self, id: AgentId<'_>, update: &Update, wait: &Deadline) -> Result<Option<UpdateReport>> {
        let written = self.write_by(wait, |tx| {
            let registered = self.own().registered();
            let process_id = registered.as_ref().map(|registered| registered.process_id);
            let loaded = tx.load_for_update(id.as_str(), process_id)?;
            let beat = match &registered {
                Some(registered) => {
                    Some(self.beat_by_row(tx, &loaded.settings, registered, loaded.process, Use::Now)?)
                }
                None => None,
            };
            agents::update::admit(id, loaded.agent.as_ref())?;
            let is_open = loaded.agent.is_none()
                || locks::admits(self.held_locks().of(id), loaded.lock.as_ref(), tx.process_id())?;
            let report = if is_open {
                Some(agents::update::apply(tx, id, update, loaded.agent, &loaded.settings)?)
            } else {
                None
            };
            Ok((report, beat, loaded.settings))
        });
        let (report, beat, settings) = self.exit_if_displaced(written)?;
        self.note_committed(beat.as_ref(), &settings);
        Ok(report)
    }
}
