//! The reaper: plan, claim, signal, record.
//!
//! - [`Scene::look`] reads the registry and looks at the processes in it, outside any transaction.
//! - [`plan`] judges them: a pure function, and the whole of `--dry-run`.
//! - [`claim`] is one transaction. It judges again by the rows as they are then, so that of two reapers one gets
//!   a victim and a fresh heartbeat saves its process; it forgets who has exited.
//! - [`signal`] ends the claimed, all at once, with no transaction open.
//! - [`ledger`] records what became of them, in one transaction.

mod claim;
mod ledger;
mod observe;
mod plan;
mod signal;

use std::thread;
use std::time::Duration;

use serde::Serialize;

pub use ledger::{Outcome, ReapEvent};
pub(super) use observe::Scene;
pub use plan::{Action, Judgement, ReapPlan, Verdict};

use super::record::{self, Now};
use super::system::System;
use crate::crash_point;
use crate::error::Result;
use crate::store::{Store, settings};

/// What a reaper did.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

    /// Clears away registered processes that are dead, stale or orphaned, and with `limit_policy` `evict` those
    /// over `max_processes`; never the caller. A process is signalled only if it was identified beyond doubt.
    ///
    /// Waits for the victims for up to `terminate_grace_ms`, and a moment for those that had to be killed. No
    /// transaction is open meanwhile.
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
        reap_with(self, &record::native()?)
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
        if !member.begin_scan(Duration::from_millis(self.heartbeat_interval_ms())) {
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
    Ok(scene.plan(scene.records(), scene.looked_at_ms(), &settings, store.member().process_id()))
}

/// Reaps on one side of the operating system.
pub(super) fn reap_with(store: &Store, system: &dyn System) -> Result<ReapReport> {
    let settings = store.settings()?;
    let caller = store.member().process_id();
    let scene = Scene::look(store, system)?;
    let plan = scene.plan(scene.records(), scene.looked_at_ms(), &settings, caller);
    if !plan.calls_for_action() {
        return Ok(ReapReport { events: Vec::new(), plan }); // the usual case takes no lock
    }
    let claimed = claim::claim(store, system, &scene, caller)?;
    crash_point::reach("between claim and signal");
    let endings = signal::end_all(system, &claimed.victims);
    crash_point::reach("between signal and record");
    let mut events = claimed.events;
    events.extend(ledger::record(store, system, &claimed.victims, &endings, caller)?);
    Ok(ReapReport { events, plan: claimed.plan })
}

#[cfg(test)]
mod tests;
