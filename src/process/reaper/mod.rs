//! The reaper: plan, claim, signal, record.
//!
//! - [`Scene::look`] reads the registry and looks at the processes in it, outside any transaction.
//! - [`plan`] judges them: a pure function, and the whole of `--dry-run`. What speaks against a process counts after a
//!   second look alone, by what [`memory`] keeps of the first.
//! - [`claim`] is one transaction. It judges again by the rows as they are then, so that of two reapers one gets
//!   a victim and a fresh heartbeat saves its process; it forgets who has exited.
//! - [`signal`] ends the claimed, all at once, with no transaction open.
//! - [`ledger`] records what became of them, in one transaction.
//! - [`unblock`] is for the victim that holds the write lock itself, which no claim can reach.

mod claim;
mod ledger;
mod memory;
mod observe;
mod plan;
mod signal;
mod unblock;

use std::thread;
use std::time::Duration;

use serde::Serialize;

pub use claim::ClaimOnMe;
pub(super) use ledger::ends;
pub use ledger::{Outcome, ReapEvent};
pub(super) use memory::Memory;
pub(super) use observe::{Scene, database_files, observe};
pub use plan::{Action, Judgement, ReapPlan, Verdict};
pub(crate) use unblock::StoppedHolder;

use super::holder::LockHolder;
use super::record::{self, Now};
use super::system::System;
use crate::crash_point;
use crate::error::Result;
use crate::store::{Store, settings};

/// A second look comes this much later than it may, so that it isn't a moment too early.
const SECOND_LOOK_SLACK: Duration = Duration::from_millis(5);

/// What a reaper looks at a second time before it acts.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SecondLook<'a> {
    /// The processes whose judgement was put off.
    At(&'a ReapPlan),
    /// A process that is stopped while it holds the write lock; `None` where it can't be named.
    AtHolder(Option<&'a LockHolder>),
}

/// What a reaper did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReapReport {
    /// What it did or put off, as in the ledger.
    pub events: Vec<ReapEvent>,
    /// How it judged every registered process, and why.
    pub plan: ReapPlan,
}

impl Store {
    /// Judges every registered process and says what a reaper would do. Changes nothing.
    pub fn reap_plan(&self) -> Result<ReapPlan> {
        plan_with(self, &record::native()?)
    }

    /// Clears away registered processes that are dead, stale or orphaned, and what `limit_policy` gives up of those
    /// over `max_processes`; never the caller. A process is signalled only if it was identified beyond doubt.
    ///
    /// Nobody is ended at first sight. What speaks against a process is noted, and counts when a later call, an interval
    /// after it, finds it unmoved, and this store's own writes went through all the while. The notes are kept in the
    /// memory of this store and its clones. [`ReapPlan::look_again_after`] says when to call again; a registered process
    /// does so by itself, with its heartbeats.
    ///
    /// Waits for the victims for up to `terminate_grace_ms`, and a moment for those that had to be killed. No
    /// transaction is open meanwhile.
    ///
    /// A process that is stopped inside its transaction keeps everybody from writing, the reaper included. It is
    /// noted, and woken by a call that finds it so a heartbeat interval later: [`Store::second_look_due`] says when.
    /// Only if it stops again before it has let the lock go is it ended.
    ///
    /// # Errors
    ///
    /// [`Error::LockTimeout`](crate::Error::LockTimeout), which names who holds the write lock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// # let registration = store.register(govstore::ProcessInfo::new("my-server", "1.0.0"))?;
    /// for event in store.reap()?.events {
    ///     println!("PID {}: {} because {}", event.pid, event.outcome, event.evidence);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reap(&self) -> Result<ReapReport> {
        let system = record::native()?;
        let helped = unblock::help_if_due(self, &system)?;
        let mut report = reap_with(self, &system)?;
        report.events.splice(..0, helped);
        Ok(report)
    }

    /// Reaps as [`Store::reap`], and again until nothing is put off any more: for a command that ends afterwards, and
    /// would not remember its first look. Calls `before_wait` with how long it is about to wait, and for what.
    ///
    /// Waits for one `heartbeat_interval_s` as a rule, and longer where this process could not write all the while. Gives
    /// up after ten looks; the plan then says what is still put off.
    ///
    /// # Errors
    ///
    /// As [`Store::reap`], if no second look could change it.
    pub fn reap_with_second_look(
        &self,
        mut before_wait: impl FnMut(Duration, SecondLook<'_>),
    ) -> Result<ReapReport> {
        const MOST_LOOKS: usize = 10;
        let mut events = Vec::new();
        for looks in 1.. {
            let outcome = self.reap();
            let holder_due = self.second_look_due().filter(|_| looks < MOST_LOOKS);
            let wait = match (outcome, holder_due) {
                (Ok(report), _) => {
                    events.extend(report.events);
                    let plan = report.plan;
                    let due = plan.look_again_after().filter(|_| looks < MOST_LOOKS);
                    match (due, holder_due) {
                        (Some(wait), _) => before_wait(wait, SecondLook::At(&plan)),
                        (None, Some(wait)) => before_wait(wait, SecondLook::AtHolder(None)),
                        (None, None) => return Ok(ReapReport { events, plan }),
                    }
                    due.or(holder_due).unwrap_or_default()
                }
                (Err(error), Some(wait)) => {
                    before_wait(wait, SecondLook::AtHolder(error.holder()));
                    wait
                }
                (Err(error), None) => return Err(error),
            };
            thread::sleep(wait + SECOND_LOOK_SLACK);
        }
        unreachable!("the last look returns")
    }

    /// The newest `last` entries of the reaper's ledger, oldest of them first.
    pub fn reap_events(&self, last: u32) -> Result<Vec<ReapEvent>> {
        self.read(|conn| ledger::newest(conn, last))
    }

    /// Looks for dead processes in the background, if this process is registered and has not done so for
    /// `heartbeat_interval_s`. The caller waits for nothing.
    pub(crate) fn scan_in_background(&self) {
        let member = self.member();
        if self.refuse_after_fork().is_err() || member.process_id().is_none() {
            return;
        }
        // A little sooner than the next beat, which may come a little early: else it would be every second one.
        if !member.begin_scan(Duration::from_millis(self.heartbeat_interval_ms()) * 3 / 4) {
            return;
        }
        let store = self.clone();
        let started = thread::Builder::new().name("govstore-reaper".to_owned()).spawn(move || {
            let outcome = scan(&store);
            store.member().note_background(&outcome);
            store.member().end_scan();
        });
        if started.is_err() {
            member.end_scan(); // no thread to be had: the next scan is an interval away
        }
    }
}

fn scan(store: &Store) -> Result<()> {
    let system = record::native()?;
    let due = store.read(|conn| record::is_reaping_due(conn, &settings::read(conn)?, &Now::read(&system)))?;
    if due {
        reap_with(store, &system)?;
    }
    Ok(())
}

fn plan_with(store: &Store, system: &dyn System) -> Result<ReapPlan> {
    let settings = store.settings()?;
    let scene = Scene::look(store, system)?;
    Ok(scene.plan_now(&settings, &store.member().memory()))
}

/// Reaps on one side of the operating system.
pub(super) fn reap_with(store: &Store, system: &dyn System) -> Result<ReapReport> {
    let settings = store.settings()?;
    let scene = Scene::look(store, system)?;
    let plan = scene.plan_now(&settings, &store.member().memory());
    if !plan.calls_for_action() {
        return Ok(ReapReport { events: Vec::new(), plan }); // the usual case takes no lock
    }
    let mut claimed = claim::claim(store, system, &scene)?;
    // The note that was just committed may have been the second one.
    if claimed.plan.look_again_after() == Some(Duration::ZERO) {
        let more = claim::claim(store, system, &scene)?;
        claimed.victims.extend(more.victims);
        claimed.events.extend(more.events);
        claimed.plan = more.plan;
    }
    let mut events = claimed.events;
    if claimed.victims.is_empty() {
        return Ok(ReapReport { events, plan: claimed.plan });
    }
    crash_point::reach("between claim and signal");
    let endings = signal::end_all(system, &claimed.victims);
    crash_point::reach("between signal and record");
    events.extend(ledger::record(store, system, &claimed.victims, &endings)?);
    Ok(ReapReport { events, plan: claimed.plan })
}

/// For a process that waits for the lock of an agent: releases the locks of those that can't be expected to come back.
/// Says when to look again, if that is to be decided by a second look.
pub(crate) fn release_lapsed_locks(store: &Store) -> Result<Option<Duration>> {
    let system = record::native()?;
    let scene = Scene::look(store, &system)?;
    match claim::release_lapsed(store, &system, &scene)? {
        // The note that was just committed may have been the second one.
        Some(Duration::ZERO) => claim::release_lapsed(store, &system, &scene),
        later => Ok(later),
    }
}

#[cfg(test)]
mod tests;
