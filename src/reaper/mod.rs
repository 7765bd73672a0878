//! The reaper: who is judged to be dead or lost, and what is done about it.
//!
//! - [`Scene`] has the rows of the registry, and what the system says about each process.
//! - [`plan`] judges them: a pure function, and the whole of `--dry-run`. What speaks against a process counts after a
//!   second look alone, by what [`memory`] keeps of the first.
//! - [`claim`] is one transaction. It judges again by the rows as they are then, so that of two reapers one gets
//!   a victim and a fresh heartbeat saves its process; it forgets who has exited.
//! - [`signal`] ends the claimed, all at once, with no transaction open.
//! - [`remains`] is for the victim that is a tree of processes whose guardians are gone: a wrapped server.
//! - [`ledger`] records what became of them, in one transaction.
//! - [`unblock`] is for the victim that holds the write lock itself, which no claim can reach.
//!
//! When each of these happens is the store's to say: here are functions over statements, sightings and memory.

mod claim;
mod ledger;
mod memory;
mod plan;
mod remains;
mod scene;
mod signal;
mod unblock;
mod victim;

pub(crate) use claim::{Claimed, claim, release_lapsed, remember};
pub(crate) use ledger::{RECORD_PATIENCE, record, record_unblocking};
pub(crate) use memory::Memory;
pub(crate) use scene::Scene;
pub(crate) use signal::end_all;
pub(crate) use unblock::{Due, Look, StoppedHolder, wake_or_end};
pub(crate) use victim::{Ending, Victim};
