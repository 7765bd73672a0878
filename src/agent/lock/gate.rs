//! The gate before an agent: who may write to it, and where the others wait.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params};

use super::held::Held;
use crate::agent::AgentId;
use crate::error::{Error, Result};
use crate::process::{Fallen, LockHolder, Standing, Witness, release_lapsed_locks};
use crate::store::column::Parsed;
use crate::store::{Deadline, Store, TxResult, WriteTx, settings};
use crate::timestamp::Timestamp;

/// How often those who wait look at the holder itself; in between they look at the lock alone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who holds an agent's lock: registry id and token.
pub(in crate::agent) type LockRow = Option<(i64, i64)>;

/// Whether this process may write to the agent now, by the lock's row as this transaction has it. `false`:
/// somebody else has locked it. A process that has lost its lock is told so.
pub(in crate::agent) fn admits(
    store: &Store,
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    row: LockRow,
) -> TxResult<bool> {
    match (store.held_locks().of(id), row) {
        (None, None) => Ok(true),
        // Of this process and without a guard: its release is on the way.
        (None, Some((process_id, _))) => Ok(tx.process_id() == Some(process_id)),
        (Some(Held { agent_id, token, process_id }), row) => {
            if row == Some((process_id, token)) && tx.process_id() == Some(process_id) {
                return Ok(true);
            }
            Err(Error::Fenced { agent_id, token }.into())
        }
    }
}

/// Who holds the agent's lock.
pub(in crate::agent) fn holder(conn: &Connection, id: AgentId<'_>) -> TxResult<LockRow> {
    Ok(conn
        .prepare_cached(
            "SELECT process_id, token FROM agent_locks
             WHERE agent_id = :agent_id AND process_id IS NOT NULL",
        )?
        .query_row(named_params! { ":agent_id": id.as_str() }, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// What those who wait find.
enum Found {
    Open,
    /// The lock of one who can't be asked any more.
    Abandoned {
        token: i64,
        fallen: Fallen,
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
    /// The lock of one who is gone was cleared away.
    Cleared,
    /// Time is over, and this one still holds it.
    Locked(LockHolder),
}

impl Store {
    /// Attempts something until no lock of somebody else keeps it out, that is until it is not `None`, or until
    /// this call's patience is over.
    pub(in crate::agent) fn once_unlocked<T>(
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
            let holder = match self.await_unlock(id, &wait)? {
                Awaited::Cleared => continue,
                Awaited::Opened if !is_last => continue,
                Awaited::Opened => None, // from hand to hand, and there is no time left to try once more
                Awaited::Locked(holder) => Some(holder),
            };
            let agent_id = id.as_str().to_owned();
            return Err(Error::AgentLocked { agent_id, waited: wait.waited(), holder });
        }
    }

    /// Writes with `body` once no lock of somebody else keeps this process out; `body` runs once.
    pub(in crate::agent) fn write_once_unlocked<T>(
        &self,
        id: AgentId<'_>,
        body: impl FnOnce(&WriteTx<'_>) -> TxResult<T>,
    ) -> Result<T> {
        let mut body = Some(body);
        self.once_unlocked(id, |wait| {
            self.write_by(wait, |tx| {
                if !admits(self, tx, id, holder(tx, id)?)? {
                    return Ok(None);
                }
                body.take().map(|body| body(tx)).transpose() // there is no attempt after this one
            })
        })
    }

    /// Waits until nobody else holds the agent's lock, or until time is over.
    fn await_unlock(&self, id: AgentId<'_>, wait: &Deadline) -> Result<Awaited> {
        let witness = Witness::call()?;
        let mut looked_at = None;
        let mut look_twice_at = Duration::ZERO;
        loop {
            let lock = self.read(|conn| holder(conn, id))?;
            // A lock that was just looked at, and is the same, needs no second look yet.
            let due = match looked_at {
                Some((seen, at)) if seen == lock => wait.waited() >= at + LOOK_EVERY,
                _ => true,
            };
            if due || wait.remaining().is_zero() {
                match self.read(|conn| self.look(conn, id, &witness))? {
                    Found::Open => return Ok(Awaited::Opened),
                    Found::Abandoned { token, fallen } => {
                        self.write_by(wait, |tx| clear(tx, id, token, &fallen))?;
                        return Ok(Awaited::Cleared);
                    }
                    Found::Locked { is_silent: true, .. } if wait.waited() >= look_twice_at => {
                        // Its locks are released if it can't be expected to come back, perhaps only by a later wait.
                        let again_after = release_lapsed_locks(self)?;
                        look_twice_at = wait.waited() + again_after.unwrap_or(LOOK_EVERY);
                        continue;
                    }
                    Found::Locked { holder, .. } if wait.remaining().is_zero() => {
                        return Ok(Awaited::Locked(witness.look_closer(holder)));
                    }
                    Found::Locked { .. } => looked_at = Some((lock, wait.waited())),
                }
            }
            wait.nap();
        }
    }

    /// Looks at the lock and at its holder.
    fn look(&self, conn: &Connection, id: AgentId<'_>, witness: &Witness) -> TxResult<Found> {
        let row = conn
            .prepare_cached(
                "SELECT process_id, token, acquired_at FROM agent_locks
                 WHERE agent_id = :agent_id AND process_id IS NOT NULL",
            )?
            .query_row(named_params! { ":agent_id": id.as_str() }, |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Parsed<Timestamp>>(2)?.0))
            })
            .optional()?;
        let own = self.held_locks().of(id);
        let another_thread = |held_for| {
            let holder = LockHolder::identify(std::process::id(), held_for, Some(conn));
            Found::Locked { holder, is_silent: false }
        };
        match row {
            None if own.is_none() => Ok(Found::Open),
            // Another thread has lost the lock and doesn't know it yet.
            None => Ok(another_thread(Duration::ZERO)),
            Some((process_id, _, acquired_at)) if Some(process_id) == self.member().process_id() => {
                Ok(if own.is_none() { Found::Open } else { another_thread(since(acquired_at)) })
            }
            Some((process_id, token, acquired_at)) => {
                Ok(match witness.judge(conn, process_id, &settings::read(conn)?)? {
                    Standing::Firm { holder, is_silent } => Found::Locked {
                        holder: LockHolder { held_for: since(acquired_at), ..holder },
                        is_silent,
                    },
                    Standing::Fallen(fallen) => Found::Abandoned { token, fallen },
                })
            }
        }
    }
}

/// By the wall clock, which is what the row has; never negative.
fn since(at: Timestamp) -> Duration {
    Timestamp::now().to_utc().signed_duration_since(at.to_utc()).to_std().unwrap_or_default()
}

/// Clears away the lock of a holder who was judged to be gone, unless one of them has changed since.
fn clear(tx: &WriteTx<'_>, id: AgentId<'_>, token: i64, fallen: &Fallen) -> TxResult<()> {
    if fallen.still_holds(tx)? {
        let held = Held { agent_id: id.as_str().to_owned(), token, process_id: fallen.process_id() };
        super::release(tx, &held)?;
    }
    Ok(())
}
