//! The rules for registered processes: how they come, say that they live, and leave.
//!
//! A server [`registers`](register): its row says who it is (host, boot, PID and time namespace, PID, kernel start;
//! never a PID alone) and comes with its first [`heartbeat`] in the same transaction, so no live process is ever
//! without one. From then on beats say that it lives, and activity says that its client uses it; an idle server
//! is not a zombie. What a process remembers of its own registration is in [`state`].

mod heartbeat;
mod interval;
mod list;
mod register;
mod state;
mod usage;

pub use heartbeat::Beat;
pub(crate) use heartbeat::{BeatOutcome, Use, beat};
pub(crate) use interval::{interval_ms, late_after_ms, retry_after};
pub(crate) use list::{ended, is_reaping_due};
#[cfg(test)]
pub(crate) use register::insert_again;
pub(crate) use register::{deregister, end, forget_all, insert, replace_predecessor};
pub(crate) use state::{Identity, OwnProcess, Registered};
