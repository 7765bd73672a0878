//! Waiting for the lock of an agent that another process, or another thread, holds.

use std::time::Duration;

use super::handle::Store;
use crate::backend::deadline::Deadline;
use crate::backend::holder::identify;
use crate::backend::statements::{Reader, Transaction, TxResult};
use crate::error::{Error, Result};
use crate::locks::{self, Holder, HolderJudge, Lapsed};
use crate::model::{AgentId, LockHolder, Timestamp};

/// How often those who wait look at the holder itself; in between they look at the lock alone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What those who wait find.
enum Found {
    Open,
    /// The lock of a holder that is gone.
    Abandoned {
        token: i64,
        lapsed: Lapsed,
    },
    /// `is_silent`: nothing was heard of the holder for too long.
    Locked {
        holder: LockHolder,
        is_silent: bool,
    },
}

/// How a wait ended.
enum Awaited {
    /// The lock was released.
    Opened,
    /// The lock of a holder that is gone was cleared away.
    Cleared,
    /// Time is over, and this one still holds it.
    Locked(LockHolder),
}

impl Store {
    /// Attempts something until no other holder of the lock keeps it out, that is until it is not `None`, or until
    /// this call's patience is over.
    pub(super) fn once_unlocked<T>(
        &self,
        id: AgentId<'_>,
        mut attempt: impl FnMut(&Deadline) -> Result<Option<T>>,
    ) -> Result<T> {
        let wait = self.patience();
        loop {
            let is_last = wait.remaining().is_zero();
            if let Some(done) = attempt(&wait)? {
                return Ok(done);
            }
            let awaited = self.await_unlock(id, &wait)?;
            wait.refuse_cancelled()?;
            let holder = match awaited {
                Awaited::Cleared => continue,
                Awaited::Opened if !is_last => continue,
                Awaited::Opened => None, // from hand to hand, and there is no time left to try once more
                Awaited::Locked(holder) => Some(holder),
            };
            let agent_id = id.as_str().to_owned();
            return Err(Error::AgentLocked { agent_id, waited: wait.waited(), holder });
        }
    }

    /// Writes with `body` once no other holder of the lock keeps this process out.
    pub(super) fn write_once_unlocked<T>(
        &self,
        id: AgentId<'_>,
        mut body: impl FnMut(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        self.once_unlocked(id, |wait| {
            self.write_by(wait, |tx| {
                let row = tx.lock_of(id.as_str())?;
                let is_open = locks::admits(self.held_locks().of(id), row.as_ref(), tx.process_id())?;
                is_open.then(|| body(tx)).transpose()
            })
        })
    }

    /// Waits until nobody else holds the agent's lock, or until time is over.
    fn await_unlock(&self, id: AgentId<'_>, wait: &Deadline) -> Result<Awaited> {
        let judge = HolderJudge::new()?;
        let mut looked_at = None;
        let mut look_twice_at = Duration::ZERO;
        loop {
            let lock = self.read(|reader| reader.lock_of(id.as_str()))?;
            // A lock that was just looked at, and is the same, needs no second look yet.
            let is_due = match looked_at {
                Some((seen, at)) if seen == lock => wait.waited() >= at + LOOK_EVERY,
                _ => true,
            };
            if is_due || wait.remaining().is_zero() {
                match self.read(|reader| self.look_at_lock(reader, id, &judge))? {
                    Found::Open => return Ok(Awaited::Opened),
                    Found::Abandoned { token, lapsed } => {
                        self.write_by(wait, |tx| locks::clear(tx, id, token, &lapsed))?;
                        return Ok(Awaited::Cleared);
                    }
                    Found::Locked { is_silent: true, .. } if wait.waited() >= look_twice_at => {
                        // Its locks are released if it can't be expected to come back, perhaps only by a later wait.
                        let again_after = self.release_lapsed_locks()?;
                        look_twice_at = wait.waited() + again_after.unwrap_or(LOOK_EVERY);
                        continue;
                    }
                    Found::Locked { holder, .. } if wait.remaining().is_zero() => {
                        return Ok(Awaited::Locked(judge.look_closer(holder)));
                    }
                    Found::Locked { .. } => looked_at = Some((lock, wait.waited())),
                }
            }
            wait.nap();
        }
    }

    /// Looks at the lock and at its holder.
    fn look_at_lock(&self, reader: &dyn Reader, id: AgentId<'_>, judge: &HolderJudge) -> TxResult<Found> {
        let row = reader.lock_of(id.as_str())?;
        let is_own = self.held_locks().of(id).is_some();
        match row {
            None if !is_own => Ok(Found::Open),
            // Another thread has lost the lock and doesn't know it yet.
            None => Ok(another_thread(reader, Duration::ZERO)),
            Some(row) if Some(row.process_id) == self.own().process_id() => {
                Ok(if is_own { another_thread(reader, since(row.acquired_at)) } else { Found::Open })
            }
            Some(row) => Ok(match judge.judge(reader, row.process_id, &reader.settings()?)? {
                Holder::Present { holder, is_silent } => Found::Locked {
                    holder: LockHolder { held_for: since(row.acquired_at), ..holder },
                    is_silent,
                },
                Holder::Gone(lapsed) => Found::Abandoned { token: row.token, lapsed },
            }),
        }
    }
}

/// Another thread of this process holds the lock.
fn another_thread(reader: &dyn Reader, held_for: Duration) -> Found {
    Found::Locked { holder: identify(std::process::id(), held_for, Some(reader)), is_silent: false }
}

/// By the wall clock, which is what the row has; never negative.
fn since(at: Timestamp) -> Duration {
    Timestamp::now().to_utc().signed_duration_since(at.to_utc()).to_std().unwrap_or_default()
}
