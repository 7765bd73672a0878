//! Locks on agents: taken with a guard, released when it drops; listed and taken away by operators.
//!
//! What becomes of [`Store::lock_agent`], and of an update by another process, when
//!
//! | | the outcome is |
//! | --- | --- |
//! | SQLite is busy | [`Error::LockTimeout`] at the deadline, which names who holds the write lock; nothing was taken |
//! | the holder lives | they wait, however old the lock is, then [`Error::AgentLocked`], which names the holder |
//! | the holder was killed | they go on as soon as they have looked at it: its PID is gone, or another process's |
//! | the holder is stopped | as when it lives; the error says how to wake it |
//! | nothing was heard of the holder for `stale_after_s` | as when it lives, until a second look, an interval after the first, finds that its heartbeat has not moved; then they go on, and should it come back, its writes fail with [`Error::Fenced`] |
//! | the holder's row is gone | they go on; the holder's writes fail with [`Error::Fenced`] |
//!
//! Nobody goes on at first sight of an old heartbeat: the holder may have been kept from writing. The second look is a
//! reaper's, or that of the process that waits, if need be in a later call. It counts as well for a holder that no
//! reaper ends: one that was stopped together with its client, or that runs in another namespace. Such a holder stays
//! registered, and only its locks are released. Age alone never breaks a lock.
//!
//! To go on is to release the lock in a transaction, which judges once more by the heartbeat as it is then.

use std::fmt;
use std::time::Duration;

use super::handle::Store;
use crate::backend::deadline::Deadline;
use crate::error::{Error, Result};
use crate::locks::{self, Held, HolderJudge};
use crate::model::{AgentId, AgentLockInfo};
use crate::registry::Use;

/// How long the drop of a lock waits for the write lock. If it gets none, the lock is released with the next
/// heartbeat or update of this process.
const DROP_PATIENCE: Duration = Duration::from_millis(500);

/// An exclusive lock of this process on one agent, until it is dropped. Made by [`Store::lock_agent`].
#[must_use = "dropping it releases the lock"]
pub struct AgentLock {
    store: Store,
    held: Held,
}

impl Store {
    /// Locks an agent for this process: until the lock is dropped, updates, edits and resets by other processes
    /// wait, and fail in the end with the holder named. This process's own go on as ever, from any thread.
    ///
    /// The agent must exist and not be deleted, as for [`Store::update_agent`]. The process must be registered,
    /// so that others can tell whether it lives, and must beat, or else lose the lock once its heartbeat is older than
    /// `stale_after_s` and has not moved between two looks.
    /// An operator can still pause, archive or delete the agent. Reading needs no lock.
    ///
    /// Waits for as long as any call on this handle; see [`Store::with_lock_timeout`]. What becomes of it when
    ///
    /// | | the outcome is |
    /// | --- | --- |
    /// | SQLite is busy | [`Error::LockTimeout`] at the deadline, which names who holds the write lock |
    /// | the holder lives | [`Error::AgentLocked`] at the deadline, however old the lock is; it names the holder |
    /// | the holder was killed | the lock, as soon as it was seen that the holder is gone |
    /// | the holder is stopped | as when it lives; the error says how to wake it |
    /// | nothing was heard of the holder for `stale_after_s` | as when it lives, until its heartbeat is found unmoved by a second look an interval later; then the lock, and the former holder's writes fail with [`Error::Fenced`] |
    /// | the holder's row is gone | the lock; the former holder's writes fail with [`Error::Fenced`] |
    ///
    /// The second look is that of a reaper, or of this process: in the same call if it waits for so long, else in a later
    /// one. It also takes the locks of a holder that was stopped together with its client, or that runs in another
    /// namespace, and leaves that process alone.
    ///
    /// A panic or an error while it is held releases it and goes its way. Locks on several agents may be held
    /// at once; who takes them in different orders may find that each waits for the other, until the deadline.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{ProcessInfo, Update};
    ///
    /// let registration = store.register(ProcessInfo::new("my-server", "1.0.0"))?;
    /// registration.start_heartbeat()?;
    /// store.process_update("writer", &Update::default())?;
    ///
    /// let lock = store.lock_agent("writer", Some("asking the model"))?;
    /// let answer = "…"; // takes its time; no transaction is open
    /// store.process_update("writer", &Update::new().response_text(answer))?;
    /// drop(lock);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::AgentLocked`], [`Error::LockTimeout`]; [`Error::AlreadyLocked`] where this very thread took the
    /// lock before; [`Error::NotRegistered`], [`Error::AgentNotFound`], [`Error::WrongLifecycle`].
    pub fn lock_agent(&self, agent_id: &str, reason: Option<&str>) -> Result<AgentLock> {
        let id = AgentId::parse(agent_id)?;
        self.refuse_after_fork()?;
        if self.own().process_id().is_none() {
            return Err(Error::NotRegistered);
        }
        self.held_locks().refuse_second(id)?;
        let held = self.once_unlocked(id, |wait| self.try_lock(id, reason, wait))?;
        Ok(AgentLock { store: self.uncancelled(), held })
    }

    /// Takes the lock if nobody has it. The beat in the same transaction sees to it that the process is
    /// registered when it does.
    fn try_lock(&self, id: AgentId<'_>, reason: Option<&str>, wait: &Deadline) -> Result<Option<Held>> {
        let mut noted: Option<Held> = None;
        let written = self.write_by(wait, |tx| {
            if let Some(held) = noted.take() {
                self.held_locks().strike(&held); // the transaction was lost, and runs again
            }
            let settings = tx.settings()?;
            let beat = self.beat_in(tx, &settings, Use::Now)?;
            let is_held = self.held_locks().of(id).is_some();
            let held = locks::acquire(tx, id, is_held, reason)?;
            if let Some(held) = &held {
                // Before the commit, so that no other thread of this process finds the row and not the lock.
                self.held_locks().note(held);
                noted = Some(held.clone());
            }
            Ok((held, beat, settings))
        });
        if let (Err(_), Some(held)) = (&written, noted) {
            self.held_locks().strike(&held);
        }
        let (held, beat, settings) = self.exit_if_displaced(written)?;
        self.note_committed(beat.as_ref(), &settings);
        Ok(held)
    }

    /// The locks that are held, oldest first.
    ///
    /// One whose holder is [`Gone`](crate::HolderState::Gone) keeps nobody out: the next process that wants the
    /// agent clears it away.
    pub fn locks(&self) -> Result<Vec<AgentLockInfo>> {
        let judge = HolderJudge::new()?;
        self.read(|reader| {
            let mut locks = reader.locks(None)?;
            for lock in &mut locks {
                lock.state = judge.look_at(reader, lock.process_id)?;
            }
            Ok(locks)
        })
    }

    /// Takes an agent's lock away from its holder, and records that as an event. Returns the lock as it
    /// was. The holder learns of it with its next write, which fails with [`Error::Fenced`].
    ///
    /// For a holder that hangs. One that is gone is in nobody's way.
    ///
    /// # Errors
    ///
    /// [`Error::NotLocked`], [`Error::AgentNotFound`].
    pub fn unlock_agent(&self, agent_id: &str, reason: Option<&str>) -> Result<AgentLockInfo> {
        let id = AgentId::parse(agent_id)?;
        let judge = HolderJudge::new()?;
        let mut lock = self.write(|tx| locks::take_away(tx, id, reason, self.actor()))?;
        lock.state = self.read(|reader| judge.look_at(reader, lock.process_id))?;
        Ok(lock)
    }
}

impl AgentLock {
    /// The agent that is locked.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.held.agent_id
    }

    /// The fencing token: greater than that of every lock on this agent before. To be given to other systems
    /// that are written to under the lock, so that they can turn away those who come late.
    #[must_use]
    pub const fn token(&self) -> i64 {
        self.held.token
    }

    /// Releases the lock, and says whether that worked. Dropping does the same, can't say, and waits for the
    /// write lock for half a second at most.
    ///
    /// # Errors
    ///
    /// [`Error::LockTimeout`], [`Error::DiskFull`]: then it is released with the next heartbeat or update.
    pub fn release(self) -> Result<()> {
        self.let_go(self.store.lock_timeout())
    }

    fn let_go(&self, patience: Duration) -> Result<()> {
        self.store.refuse_after_fork()?; // a forked child's copy is not the lock
        if !self.store.held_locks().strike(&self.held) {
            return Ok(()); // let go before
        }
        let released = self.store.write_within(patience, |tx| {
            let Held { agent_id, token, process_id } = &self.held;
            tx.release_lock(agent_id, *token, *process_id)
        });
        if released.is_err() {
            self.store.held_locks().release_later(self.held.clone());
        }
        released.map(drop)
    }
}

impl Drop for AgentLock {
    fn drop(&mut self) {
        let _ = self.let_go(DROP_PATIENCE); // if it can't be done now, the next heartbeat does it
    }
}

impl fmt::Debug for AgentLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentLock")
            .field("agent_id", &self.agent_id())
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}
