//! The rules for locks on agents: who may write to a locked agent, and who still stands behind a lock.
//!
//! An update needs no lock: `BEGIN IMMEDIATE` is its lock. A server that calls a model while it owns an agent takes
//! one with [`Store::lock_agent`](crate::Store::lock_agent): a row in `agent_locks` with a fencing token that only ever
//! grows. The lock belongs to the process, which says with every heartbeat that it still needs it. `held` is what the
//! process itself knows of its locks, `fencing` says whom a lock keeps out, and `holder` judges the holder.

mod fencing;
mod held;
mod holder;

pub(crate) use fencing::{acquire, admits, clear, take_away};
pub(crate) use held::{Held, HeldLocks};
pub(crate) use holder::{Holder, HolderJudge, Lapsed};
