//! The main job: one governance update, made durable; many of them with one commit, where they come together.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::{Ended, Job, Lead, Outcome, Seen};
use super::handle::Store;
use crate::agents;
use crate::backend::Watch;
use crate::backend::deadline::Deadline;
use crate::backend::statements::{Isolation, Loaded, LoadedAgent, Transaction, TxResult};
use crate::error::{Error, Result};
use crate::governance::Update;
use crate::locks;
use crate::model::{Actor, AgentId, Settings, UpdateReport};
use crate::registry::{BeatOutcome, Use};

/// How long a group takes in further updates: the burst for which a process may write on while others wait.
const GROUP_TIME: Duration = Duration::from_millis(10);

/// As many updates as share a commit where others wait for the agents of all of them.
const MOST_IN_A_GROUP: usize = 64;

/// What the transaction of an update did beside it.
struct Noted {
    beat: Option<BeatOutcome>,
    settings: Settings,
}

/// Those that have joined a group, and how each has ended so far.
struct Joined<'a> {
    lead: &'a Lead<'a>,
    jobs: Vec<(Arc<Job>, Option<Ended>)>,
}

impl Joined<'_> {
    /// Tells them what became of them: of all the same, if the group failed.
    fn tell(mut self, failed: Option<&Error>) {
        let ended = |(job, ended)| match failed {
            None => Some((job, ended?)), // a group that was committed has made all its jobs
            Some(error) => Some((job, Ended::Made(Box::new(Err(error.for_another()))))),
        };
        self.lead.end(std::mem::take(&mut self.jobs).into_iter().filter_map(ended));
    }
}

impl Drop for Joined<'_> {
    /// If the thread that leads panics, theirs do, and don't wait for ever: nobody can say what became of their updates.
    fn drop(&mut self) {
        let panicked =
            |(job, _)| (job, Ended::Panicked(Box::new("the thread that made this update panicked")));
        self.lead.end(self.jobs.drain(..).map(panicked));
    }
}

/// An update that is to be made.
#[derive(Clone, Copy)]
struct Request<'a> {
    id: AgentId<'a>,
    update: &'a Update,
    by: &'a Arc<Actor>,
}

impl<'a> Request<'a> {
    /// Refuses ids and keys that none can have.
    fn parse(agent_id: &'a str, update: &'a Update, by: &'a Arc<Actor>) -> Result<Self> {
        let id = AgentId::parse(agent_id)?;
        agents::update::check_key(update)?;
        Ok(Self { id, update, by })
    }
}

impl Store {
    /// Applies one update to an agent, creating the agent if it is new. When this returns `Ok`, the update
    /// is committed, and with it a heartbeat and the activity of this process, if it is registered.
    ///
    /// Updates of several threads that come while another one commits share the next commit. What fails in one of
    /// them changes nothing for the others.
    ///
    /// With [`Update::key`] it can be made again after its answer was lost: the same key and the same input give the
    /// report of the first time ([`UpdateReport::repeated`]), whatever has become of the agent since, for as long as
    /// its row is in the history.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::Update;
    ///
    /// let update = Update::new().response_text("done").key("turn-17");
    /// let first = store.process_update("writer", &update)?;
    /// let again = store.process_update("writer", &update)?;
    /// assert!(again.repeated && again.timestamp == first.timestamp);
    /// assert_eq!(store.agent("writer")?.total_updates, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLifecycle`] unless the agent is active, [`Error::InvalidAgentId`], [`Error::InvalidKey`],
    /// [`Error::KeyReused`], [`Error::AgentLocked`], [`Error::Fenced`], [`Error::LockTimeout`], [`Error::Cancelled`],
    /// [`Error::DiskFull`], [`Error::Displaced`], [`Error::DeviceFailed`]: nothing was written.
    /// [`Error::CommitInDoubt`]: the update may have been kept or not; look before you make it again, unless it has a
    /// key. After that [`Error::RefusedAfterDoubt`], until the store is opened again.
    ///
    /// # Panics
    ///
    /// If the thread that makes this update with its own panics outside of this one. Nothing of this library is known to.
    pub fn process_update(&self, agent_id: &str, update: &Update) -> Result<UpdateReport> {
        let request = Request::parse(agent_id, update, self.actor())?;
        self.refuse_after_fork()?; // first: another thread may have held a mutex at the fork
        self.scan_in_background();
        self.once_unlocked(request.id, |wait| self.try_update(request, wait))
    }

    /// Applies many updates, in order, with as few commits as may be: each commit takes what some ten milliseconds
    /// allow, and others write in between. Each has its own result, as from [`Store::process_update`]; what fails in
    /// one of them changes nothing for the others. All results are of updates that were committed, or not made.
    ///
    /// After [`Error::CommitInDoubt`] the store makes no more of them.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::Update;
    ///
    /// let updates = [("writer", Update::new()), ("", Update::new()), ("tester", Update::new())];
    /// let results = store.process_updates(&updates);
    /// assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process_updates(&self, updates: &[(impl AsRef<str>, Update)]) -> Vec<Result<UpdateReport>> {
        let mut results = Vec::with_capacity(updates.len());
        if !updates.is_empty() && self.refuse_after_fork().is_ok() {
            self.scan_in_background();
        }
        while results.len() < updates.len() {
            let left = &updates[results.len()..];
            match self.try_updates(left) {
                Ok(outcomes) => {
                    for (outcome, (agent_id, update)) in outcomes.into_iter().zip(left) {
                        results.push(match outcome {
                            Ok(Some(report)) => Ok(report),
                            Ok(None) => self.process_update(agent_id.as_ref(), update), // which waits for the lock
                            Err(error) => Err(error),
                        });
                    }
                }
                // As for one update: the first one's patience is over, or nothing can be written.
                Err(error) => results.push(Err(error)),
            }
        }
        results
    }

    /// As many of these updates as one transaction takes, one at least: their outcomes.
    fn try_updates(&self, updates: &[(impl AsRef<str>, Update)]) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let wait = self.patience();
        // Where transactions wait for each other's agents, they are taken in order, all at once, and given back soon.
        let in_turns = self.backend().writes_in_turns();
        let updates = if in_turns { updates } else { &updates[..updates.len().min(MOST_IN_A_GROUP)] };
        let ids = updates.iter().filter_map(|(id, _)| AgentId::parse(id.as_ref()).ok());
        let ids: Vec<&str> = if in_turns { Vec::new() } else { ids.map(AgentId::as_str).collect() };
        let written = self.write_group(&wait, |tx, isolation| {
            let began = Instant::now();
            outcomes.clear();
            let settings = tx.settings()?;
            let beat = self.beat_in(tx, &settings, Use::Now)?;
            if ids.len() > 1 {
                tx.lock_agents(&ids)?;
            }
            for (agent_id, update) in updates {
                if !outcomes.is_empty() && began.elapsed() >= GROUP_TIME {
                    break;
                }
                outcomes.push(match Request::parse(agent_id.as_ref(), update, self.actor()) {
                    Ok(request) => self.update_nested(tx, isolation, request, &settings)?,
                    Err(error) => Err(error),
                });
            }
            wait.refuse_cancelled()?;
            Ok(Noted { beat, settings })
        });
        match written {
            Ok(noted) => self.note_committed(noted.beat.as_ref(), &noted.settings),
            Err(error) if outcomes.is_empty() => return Err(error),
            Err(error) => outcomes.iter_mut().for_each(|outcome| *outcome = Err(error.for_another())),
        }
        Ok(outcomes)
    }

    /// One update. `None`: another process has the agent locked.
    fn try_update(&self, request: Request<'_>, wait: &Deadline) -> Outcome {
        if !self.backend().writes_in_turns() {
            return self.update_alone(request, wait);
        }
        if let Some(lead) = self.updates().lead() {
            return self.lead(&lead, request, wait);
        }
        self.refuse_nested()?; // the thread that leads may wait for the write that this one is inside
        let job = || Job::new(request.id.as_str(), request.update, request.by, wait);
        match self.updates().lead_or_line_up(job) {
            Ok(lead) => self.lead(&lead, request, wait),
            Err(job) => self.await_made(&job, request, wait),
        }
    }

    /// One update in a transaction of its own.
    fn update_alone(&self, request: Request<'_>, wait: &Deadline) -> Outcome {
        let (report, noted) = self.write_by(wait, |tx| self.update_and_beat(tx, request))?;
        self.note_committed(noted.beat.as_ref(), &noted.settings);
        Ok(report)
    }

    /// Waits for another thread to make the update, or to have this one lead.
    fn await_made(&self, job: &Arc<Job>, request: Request<'_>, wait: &Deadline) -> Outcome {
        let watch = self.watch(wait);
        let mut is_taken = false;
        loop {
            let patience = if is_taken { Watch::LOOK_EVERY } else { wait.remaining().min(Watch::LOOK_EVERY) };
            match self.updates().look(job, patience) {
                Seen::Done(Ended::Made(outcome)) => return *outcome,
                Seen::Done(Ended::Panicked(panic)) => resume_unwind(panic),
                Seen::Leads => {
                    drop(watch);
                    return self.lead(&self.updates().take_lead(), request, wait);
                }
                Seen::Nothing if !is_taken && wait.remaining().is_zero() => {
                    if self.updates().withdraw(job) {
                        wait.refuse_cancelled()?;
                        return Err(watch.gave_up());
                    }
                    is_taken = true; // its outcome comes with the commit
                }
                Seen::Nothing => watch.look(),
            }
        }
    }

    /// Makes an update, then those of the threads that have lined up meanwhile, and commits them together; and goes on
    /// with those that have lined up during the commit, for as long as a burst may last.
    fn lead(&self, lead: &Lead<'_>, request: Request<'_>, wait: &Deadline) -> Outcome {
        let mut ends = None; // ten milliseconds after it has begun to write, however long it has waited for that
        let (mut own, mut joined) = (None, Joined { lead, jobs: Vec::new() });
        let written = self.write_group(wait, |tx, isolation| {
            let until = *ends.get_or_insert_with(|| Instant::now() + GROUP_TIME);
            let (report, noted) = self.update_and_beat(tx, request)?;
            if joined.jobs.is_empty() {
                wait.refuse_cancelled()?; // once others have joined, theirs would be lost with it
            }
            self.join(tx, isolation, &noted.settings, until, &mut joined)?;
            own = Some((report, noted));
            Ok(())
        });
        #[cfg(test)]
        assert!(joined.jobs.iter().all(|(job, _)| job.agent_id != tests::LEADER_PANICS), "after the commit");
        if let (Ok(()), Some((_, noted))) = (&written, &own) {
            self.note_committed(noted.beat.as_ref(), &noted.settings);
        }
        joined.tell(written.as_ref().err());
        while let Some(until) = ends
            && let Some(job) = lead.next(until)
        {
            let wait = job.wait.clone();
            let mut joined = Joined { lead, jobs: vec![(job, None)] };
            let written = self.write_group(&wait, |tx, isolation| {
                self.join(tx, isolation, &tx.settings()?, until, &mut joined)
            });
            joined.tell(written.as_ref().err());
        }
        written.map(|()| own.and_then(|(report, _)| report))
    }

    /// Makes the updates of the threads that have joined already, and of those that line up meanwhile.
    fn join(
        &self,
        tx: &dyn Transaction,
        isolation: Isolation,
        settings: &Settings,
        until: Instant,
        joined: &mut Joined<'_>,
    ) -> TxResult<()> {
        let mut made = 0;
        loop {
            if made == joined.jobs.len() {
                let Some(job) = joined.lead.next(until) else { return Ok(()) };
                joined.jobs.push((job, None));
            }
            let (job, ended) = &mut joined.jobs[made];
            *ended = Some(self.update_joined(tx, isolation, settings, job)?);
            made += 1;
        }
    }

    /// Writes a group of updates. They run bare at first, since savepoints cost as much as a third of an update: what
    /// a rule refuses has written nothing. Where one fails after it has written, nothing of the group is kept, and it
    /// runs again with each in a savepoint.
    fn write_group<T>(
        &self,
        wait: &Deadline,
        mut body: impl FnMut(&dyn Transaction, Isolation) -> TxResult<T>,
    ) -> Result<T> {
        let mut isolation = Isolation::Bare;
        loop {
            let mut has_failed_midway = false;
            let written = self.write_uncancelled_by(wait, |tx| {
                let before = tx.changes();
                let done = body(tx, isolation);
                has_failed_midway = done.is_err() && tx.changes() != before; // of the last run, if there are several
                done
            });
            // What a backend has held back until the commit fails there.
            let is_refused = matches!(written, Err(Error::Constraint { .. } | Error::Database(_)));
            match isolation {
                Isolation::Bare if is_refused || written.is_err() && has_failed_midway => {
                    isolation = Isolation::Savepoints;
                }
                _ => return self.exit_if_displaced(written),
            }
        }
    }

    /// One update with the heartbeat of this process. A retry writes nothing.
    fn update_and_beat(
        &self,
        tx: &dyn Transaction,
        request: Request<'_>,
    ) -> TxResult<(Option<UpdateReport>, Noted)> {
        let registered = self.own().registered();
        let process_id = registered.as_ref().map(|registered| registered.process_id);
        let key = request.update.key.as_deref();
        let Loaded { settings, process, agent } = tx.load_for_update(request.id.as_str(), process_id, key)?;
        if let Some(report) =
            agents::update::repeated(agent.keyed.as_deref(), request.id, request.update, &settings)?
        {
            return Ok((Some(report), Noted { beat: None, settings }));
        }
        let beat = match &registered {
            Some(registered) => Some(self.beat_by_row(tx, &settings, registered, process, Use::Now)?),
            None => None,
        };
        let report = self.update_loaded(tx, request, agent, &settings)?;
        Ok((report, Noted { beat, settings }))
    }

    /// The update of a thread that has lined up, unless it was cancelled. Fails where the whole transaction is lost.
    fn update_joined(
        &self,
        tx: &dyn Transaction,
        isolation: Isolation,
        settings: &Settings,
        job: &Job,
    ) -> TxResult<Ended> {
        if let Err(cancelled) = job.wait.refuse_cancelled() {
            return Ok(Ended::Made(Box::new(Err(cancelled))));
        }
        let made = catch_unwind(AssertUnwindSafe(|| {
            let id = AgentId::parse(&job.agent_id).map_err(Error::from)?;
            self.update_nested(tx, isolation, Request { id, update: &job.update, by: &job.by }, settings)
        }));
        match made {
            Ok(outcome) => Ok(Ended::Made(Box::new(outcome?))),
            Err(panic) => Ok(Ended::Panicked(panic)),
        }
    }

    /// One update of several in a transaction: what fails in it changes nothing for the others.
    fn update_nested(
        &self,
        tx: &dyn Transaction,
        isolation: Isolation,
        request: Request<'_>,
        settings: &Settings,
    ) -> TxResult<Outcome> {
        let mut report = None;
        let made = tx.nested(isolation, &mut || {
            let Request { id, update, .. } = request;
            let agent = tx.load_agent(id.as_str(), update.key.as_deref())?;
            report = match agents::update::repeated(agent.keyed.as_deref(), id, update, settings)? {
                Some(report) => Some(report),
                None => self.update_loaded(tx, request, agent, settings)?,
            };
            Ok(())
        })?;
        Ok(made.map(|()| report))
    }

    /// The update itself, by what was loaded for it. `None`: another process has the agent locked.
    fn update_loaded(
        &self,
        tx: &dyn Transaction,
        Request { id, update, by }: Request<'_>,
        LoadedAgent { state: agent, lock, .. }: LoadedAgent,
        settings: &Settings,
    ) -> TxResult<Option<UpdateReport>> {
        agents::update::admit(id, agent.as_ref())?;
        let is_open =
            agent.is_none() || locks::admits(self.held_locks().of(id), lock.as_ref(), tx.process_id())?;
        if !is_open {
            return Ok(None);
        }
        let report = agents::update::apply(tx, id, update, agent, settings, by)?;
        #[cfg(test)]
        assert_ne!(id.as_str(), tests::PANICS, "after it has written");
        Ok(Some(report))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// The agent whose updates panic half way.
    pub(super) const PANICS: &str = "panics";

    /// The agent with which a thread that makes its update with its own panics.
    pub(super) const LEADER_PANICS: &str = "leader panics";

    #[test]
    fn a_panic_in_a_group_is_its_own_threads_alone() -> std::result::Result<(), Box<dyn std::error::Error>> {
        const THREADS: usize = 8;
        const UPDATES: i64 = 50;

        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        let together = Barrier::new(THREADS + 1);
        thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                together.wait();
                let panics = |_: &i64| {
                    let update = || store.process_update(PANICS, &Update::new());
                    catch_unwind(AssertUnwindSafe(update)).is_err()
                };
                (0..UPDATES).filter(panics).count()
            });
            let others: Vec<_> = (0..THREADS)
                .map(|n| {
                    let (store, together) = (&store, &together);
                    scope.spawn(move || {
                        together.wait();
                        for update_no in 1..=UPDATES {
                            let report = store.process_update(&format!("agent-{n}"), &Update::new())?;
                            assert_eq!(report.metrics.total_updates, update_no);
                        }
                        Ok::<_, Error>(())
                    })
                })
                .collect();
            for other in others {
                other.join().expect("no panic")?;
            }
            assert_eq!(
                panicking.join().expect("each was caught"),
                usize::try_from(UPDATES).expect("a count")
            );
            Ok::<_, Error>(())
        })?;

        assert!(matches!(store.agent(PANICS), Err(Error::AgentNotFound { .. })));
        for n in 0..THREADS {
            assert_eq!(store.history(&format!("agent-{n}"), None)?.len(), usize::try_from(UPDATES)?);
        }
        Ok(())
    }

    /// Not in each of these tries: on a busy machine four updates may take longer than a group takes in others.
    #[test]
    fn threads_that_have_waited_for_longer_than_a_group_takes_share_a_commit()
    -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        store.process_update("held", &Update::new())?;
        let commits = || -> std::io::Result<usize> {
            let log = std::fs::read(folder.path().join("governance.db-wal"))?;
            let frames = log.get(32..).unwrap_or_default().chunks(24 + 4096);
            let is_commit = |frame: &&[u8]| frame.get(4..8).is_some_and(|pages| pages != [0; 4]);
            Ok(frames.filter(is_commit).count())
        };
        let mut taken = Vec::new();
        while taken.last() != Some(&1) && taken.len() < 10 {
            let before = commits()?;
            for result in wait_together(&store, &["a", "b", "c", "d"]) {
                result.expect("no panic")?;
            }
            taken.push(commits()? - before);
        }
        assert_eq!(taken.last(), Some(&1), "{taken:?}");
        Ok(())
    }

    #[test]
    fn a_leader_that_panics_leaves_nobody_waiting() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("governance.db"))?;
        store.process_update("held", &Update::new())?;
        let mut panicked = 0;
        for _ in 0..10 {
            let results = wait_together(&store, &["a", "b", LEADER_PANICS, "c"]);
            panicked = panicked.max(results.iter().filter(|result| result.is_err()).count());
        }
        assert!(panicked >= 2, "the leader, and the one whose update it has made: {panicked}");
        store.process_update("a", &Update::new()).map(drop)
    }

    /// Makes an update of each agent, by threads that line up while the write lock is held for longer than a group takes.
    fn wait_together(store: &Store, agents: &[&str]) -> Vec<thread::Result<Result<()>>> {
        thread::scope(|scope| {
            let mut threads = Vec::new();
            let held = store.update_agent("held", |_| {
                for agent_id in agents {
                    let update = move || store.process_update(agent_id, &Update::new()).map(drop);
                    threads.push(scope.spawn(update));
                    while store.updates().waiting() + 1 < threads.len() {
                        thread::yield_now();
                    }
                }
                thread::sleep(2 * GROUP_TIME);
                Err::<(), _>(Error::Cancelled)
            });
            assert!(matches!(held, Err(Error::Cancelled)));
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        })
    }

    #[test]
    fn a_panic_among_many_updates_leaves_nothing_of_its_group() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("governance.db"))?;
        let updates = ["before", PANICS, "after"].map(|agent_id| (agent_id, Update::new()));
        assert!(catch_unwind(AssertUnwindSafe(|| store.process_updates(&updates))).is_err());
        for (agent_id, _) in &updates {
            assert!(matches!(store.agent(agent_id), Err(Error::AgentNotFound { .. })), "{agent_id}");
        }
        store.process_update("before", &Update::new()).map(drop)
    }
}
