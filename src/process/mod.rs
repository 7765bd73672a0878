//! Processes: who is registered, who lives, and how the dead are cleared away without harming the living.
//!
//! A server [`registers`](registration): its row says who it is (host, boot, PID and time namespace, PID, kernel start;
//! never a PID alone) and comes with its first [`heartbeat`] in the same transaction, so no live process is ever
//! without one. From then on beats say that it lives, and activity says that its client uses it; an idle server
//! is not a zombie.
//!
//! What living means is said once, in [`liveness`]. The [`reaper`] looks at the rows and at the operating system, and
//! decides purely in `plan`. Nobody is ended at first sight: what speaks against a process counts after a second look,
//! by what `memory` keeps of the first. `claim` is one transaction, which decides again on what it finds and takes the
//! victims; `signal` sends to held and identified processes only, with no transaction open; and `ledger` records what
//! became of them. `unblock` is for a process that is stopped inside its transaction, and so keeps the reaper itself from
//! writing. Everything that touches the operating system is behind the trait in [`system`].

mod clock;
mod ended;
mod heartbeat;
mod holder;
mod liveness;
mod member;
mod portable;
mod reaper;
mod record;
mod registration;
mod system;
mod usage;
mod users;

#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod cgroup;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod linux;

pub use ended::EndedProcess;
pub use heartbeat::Beat;
pub use holder::{HolderState, LockHolder, OutOfReach};
pub use reaper::{
    Action, ClaimOnMe, Judgement, Outcome, ReapEvent, ReapPlan, ReapReport, SecondLook, Verdict,
};
pub use record::{Process, ProcessState};
pub use registration::{ProcessInfo, Registration};
pub use usage::Usage;
pub use users::DatabaseUser;

#[cfg(feature = "mcp")]
pub(crate) use heartbeat::retry_after;
pub(crate) use holder::{Fallen, Standing, Witness, displaced, readers, wal_index, write_lock_owner};
pub(crate) use member::Member;
pub(crate) use reaper::{StoppedHolder, release_lapsed_locks};
pub(crate) use registration::forget_all;
pub(crate) use users::{this_user, users};

/// The PID of this process's parent as it is now.
#[cfg(unix)]
fn parent_pid() -> Option<u32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
}

/// Where a process outlives its parent without being told of it.
#[cfg(not(unix))]
fn parent_pid() -> Option<u32> {
    None
}
