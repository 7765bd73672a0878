//! Reaping: looks outside of any transaction, a claim in one, signals in none, and what became of it in another.

use std::thread;
use std::time::Duration;

use super::handle::Store;
use crate::crash_point;
use crate::error::Result;
use crate::liveness;
use crate::model::{Now, Process, ReapEvent, ReapPlan, ReapReport, SecondLook, Verdict};
use crate::os::{System, clock};
use crate::reaper::{self, Claimed, Ending, RECORD_PATIENCE, Scene, Victim};
use crate::registry;

/// How often a process prunes, where the settings say so.
const PRUNE_EVERY: Duration = Duration::from_hours(24);

/// How many rows of a machine whose lease has lapsed are freed in one transaction.
const FREED_AT_ONCE: i64 = 100;

/// A second look comes this much later than it may, so that it isn't a moment too early.
const SECOND_LOOK_SLACK: Duration = Duration::from_millis(5);

impl Store {
    /// Judges every registered process and says what a reaper would do. Changes nothing.
    pub fn reap_plan(&self) -> Result<ReapPlan> {
        let system = liveness::system()?;
        let settings = self.settings()?;
        let scene = self.look(&system)?;
        Ok(scene.plan_now(&settings, &self.memory()))
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
        let system = liveness::system()?;
        let helped = self.help_if_due(&system)?;
        let freed = self.free_lapsed_hosts()?;
        let mut report = self.reap_with(&system)?;
        report.events.splice(..0, helped.into_iter().chain(freed));
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

    /// Looks for dead processes in the background, if this process is registered and has not done so for
    /// `heartbeat_interval_s`. The caller, who is no forked child, waits for nothing.
    pub(super) fn scan_in_background(&self) {
        let own = self.own();
        if own.process_id().is_none() {
            return;
        }
        // A little sooner than the next beat, which may come a little early: else it would be every second one.
        if !own.begin_scan(self.heartbeat_interval() * 3 / 4) {
            return;
        }
        let store = self.uncancelled();
        let started = thread::Builder::new().name("govstore-reaper".to_owned()).spawn(move || {
            let outcome = store.scan();
            store.own().note_background(&outcome);
            store.own().end_scan();
            // It wants no answer: what can't be pruned now, by whatever reason, is pruned another day.
            let _ = store.prune_if_due();
        });
        if started.is_err() {
            own.end_scan(); // no thread to be had: the next scan is an interval away
        }
    }

    /// Prunes where the settings say so, when a server starts and once a day. Of several servers each does; those that come
    /// later find nothing to do.
    fn prune_if_due(&self) -> Result<()> {
        if self.settings()?.prune_automatically && self.own().begin_prune(PRUNE_EVERY) {
            self.prune()?;
        }
        Ok(())
    }

    /// The registered processes that live, or may.
    pub(super) fn living_processes(&self) -> Result<Vec<Process>> {
        let judgements = self.reap_plan()?.judgements.into_iter();
        let living = judgements.filter(|judgement| judgement.verdict != Verdict::Exited);
        Ok(living.map(|judgement| judgement.process).collect())
    }

    /// Frees the rows of machines whose lease has lapsed, in small transactions.
    fn free_lapsed_hosts(&self) -> Result<Vec<ReapEvent>> {
        let mut events = Vec::new();
        while self.is_on_a_server() && self.read(|reader| reader.has_lapsed_host())? {
            let freed = self.write(|tx| tx.free_lapsed_host(FREED_AT_ONCE))?;
            if freed.is_empty() && self.read(|reader| reader.has_lapsed_host())? {
                break; // another process is at it
            }
            events.extend(freed);
        }
        Ok(events)
    }

    fn scan(&self) -> Result<()> {
        let system = liveness::system()?;
        self.free_lapsed_hosts()?;
        let is_due =
            self.read(|reader| registry::is_reaping_due(reader, &reader.settings()?, &Now::read(&system)))?;
        if is_due {
            self.reap_with(&system)?;
        }
        Ok(())
    }

    /// What there is to be judged: the rows, and what one side of the operating system says of each process.
    pub(super) fn look(&self, system: &dyn System) -> Result<Scene> {
        let now = Now::read(system);
        let records = self.read(|reader| reader.registered_processes(&now))?;
        Ok(Scene::look(records, &now, system, &self.backend().mark(), self.own().process_id()))
    }

    /// Reaps on one side of the operating system.
    fn reap_with(&self, system: &dyn System) -> Result<ReapReport> {
        let settings = self.settings()?;
        let scene = self.look(system)?;
        let plan = scene.plan_now(&settings, &self.memory());
        if !plan.calls_for_action() {
            return Ok(ReapReport { events: Vec::new(), plan }); // the usual case takes no lock
        }
        let mut claimed = self.claim(system, &scene)?;
        // The note that was just committed may have been the second one.
        if claimed.plan.look_again_after() == Some(Duration::ZERO) {
            let more = self.claim(system, &scene)?;
            claimed.victims.extend(more.victims);
            claimed.events.extend(more.events);
            claimed.plan = more.plan;
        }
        let Claimed { victims, mut events, plan, .. } = claimed;
        if victims.is_empty() {
            return Ok(ReapReport { events, plan });
        }
        crash_point::reach("between claim and signal");
        let endings = reaper::end_all(system, &victims);
        crash_point::reach("between signal and record");
        events.extend(self.record_endings(system, &victims, &endings)?);
        Ok(ReapReport { events, plan })
    }

    /// Claims victims, and remembers what was put off once that is committed.
    fn claim(&self, system: &dyn System, scene: &Scene) -> Result<Claimed> {
        let memory = self.memory().clone();
        let mut claimed = self.write(|tx| reaper::claim(tx, scene, &memory, system))?;
        let noted = std::mem::take(&mut claimed.noted);
        reaper::remember(&mut self.memory(), noted, &claimed.plan, clock::monotonic_ms());
        Ok(claimed)
    }

    /// Records what became of the victims.
    fn record_endings(
        &self,
        system: &dyn System,
        victims: &[Victim],
        endings: &[Ending],
    ) -> Result<Vec<ReapEvent>> {
        self.write_within(RECORD_PATIENCE, |tx| reaper::record(tx, system, victims, endings))
    }

    /// For a process that waits for the lock of an agent: releases the locks of those that can't be expected to come
    /// back. Says when to look again, if that is to be decided by a second look.
    pub(super) fn release_lapsed_locks(&self) -> Result<Option<Duration>> {
        let system = liveness::system()?;
        let scene = self.look(&system)?;
        match self.release_lapsed(&system, &scene)? {
            // The note that was just committed may have been the second one.
            Some(Duration::ZERO) => self.release_lapsed(&system, &scene),
            later => Ok(later),
        }
    }

    fn release_lapsed(&self, system: &dyn System, scene: &Scene) -> Result<Option<Duration>> {
        let memory = self.memory().clone();
        let (plan, noted) = self.write(|tx| reaper::release_lapsed(tx, scene, &memory, system))?;
        let is_any = !noted.is_empty();
        reaper::remember(&mut self.memory(), noted, &plan, clock::monotonic_ms());
        Ok(plan.look_again_after().filter(|_| is_any))
    }
}

#[cfg(test)]
mod tests;
