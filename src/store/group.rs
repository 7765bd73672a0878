//! Group commit: updates of one process's threads that wait for the write lock share a transaction.
//!
//! The thread that comes first leads. It makes its own update, then those of the threads that have lined up meanwhile,
//! and commits once for all of them; then the first of those that came too late leads the next group. A thread that is
//! alone leads a group of one, which costs it two looks at a mutex.
//!
//! This file has the line and who leads; what an update is, it doesn't know.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::deadline::Deadline;
use crate::error::Result;
use crate::governance::Update;
use crate::model::{Actor, UpdateReport};
use crate::os::lock;

/// What became of an update in a group: its report, or `None` where another process has the agent locked.
pub(super) type Outcome = Result<Option<UpdateReport>>;

/// The updates of a process that share commits.
#[derive(Default)]
pub(super) struct UpdateGroup {
    line: Mutex<Line>,
    /// Something has happened to a job. All who wait are woken at once, which takes a quarter of the time that it takes to
    /// wake sixteen threads one by one; and few wait for something else.
    news: Condvar,
}

#[derive(Default)]
struct Line {
    /// Whether a thread leads.
    is_led: bool,
    waiting: VecDeque<Arc<Job>>,
}

/// An update that waits for another thread to make it.
pub(super) struct Job {
    pub agent_id: String,
    pub update: Update,
    pub by: Arc<Actor>,
    /// How long its thread waits for the lock.
    pub wait: Deadline,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Waiting,
    /// Its own thread is to lead.
    Leads,
    Done(Ended),
}

/// How a job ended.
pub(super) enum Ended {
    Made(Box<Outcome>),
    /// A panic, which goes on in the job's own thread.
    Panicked(Box<dyn Any + Send>),
}

/// What a thread that has lined up sees.
pub(super) enum Seen {
    Nothing,
    Leads,
    Done(Ended),
}

impl UpdateGroup {
    /// Leads, if nobody does.
    pub fn lead(&self) -> Option<Lead<'_>> {
        let mut line = lock(&self.line);
        (!std::mem::replace(&mut line.is_led, true)).then(|| Lead { group: self }) // not `then_some`: a lead that drops is handed on
    }

    /// Leads, if nobody does; otherwise lines up a job for the thread that does.
    pub fn lead_or_line_up(&self, job: impl FnOnce() -> Job) -> std::result::Result<Lead<'_>, Arc<Job>> {
        let job = Arc::new(job());
        let mut line = lock(&self.line);
        if !std::mem::replace(&mut line.is_led, true) {
            return Ok(Lead { group: self });
        }
        line.waiting.push_back(Arc::clone(&job));
        Err(job)
    }

    /// Leads after another thread has stepped down in favour of this one's job.
    pub const fn take_lead(&self) -> Lead<'_> {
        Lead { group: self }
    }

    /// Takes a job out of the line; `false` if it isn't there any more.
    pub fn withdraw(&self, job: &Arc<Job>) -> bool {
        let mut line = lock(&self.line);
        let before = line.waiting.len();
        line.waiting.retain(|waiting| !Arc::ptr_eq(waiting, job));
        line.waiting.len() < before
    }

    /// How many wait for another thread to make their update.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        lock(&self.line).waiting.len()
    }

    /// What has happened to a job, after `patience` at the latest.
    pub fn look(&self, job: &Job, patience: Duration) -> Seen {
        let waited = self.news.wait_timeout_while(lock(&self.line), patience, |_| job.is_waiting());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        job.seen()
    }
}

/// The right to lead, until it drops; then the first in the line leads.
pub(super) struct Lead<'g> {
    group: &'g UpdateGroup,
}

impl Lead<'_> {
    /// The next job in the line, but none after `until`.
    pub fn next(&self, until: Instant) -> Option<Arc<Job>> {
        let mut line = lock(&self.group.line);
        (!line.waiting.is_empty() && Instant::now() < until).then(|| line.waiting.pop_front()).flatten()
    }

    /// Tells the threads of jobs that were taken how those ended.
    pub fn end(&self, jobs: impl IntoIterator<Item = (Arc<Job>, Ended)>) {
        let mut is_news = false;
        for (job, ended) in jobs {
            job.set(State::Done(ended));
            is_news = true;
        }
        if is_news {
            drop(lock(&self.group.line)); // whoever has looked in vain by now waits by now
            self.group.news.notify_all(); // a system call, even if nobody listens
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut line = lock(&self.group.line);
        match line.waiting.pop_front() {
            Some(next) => {
                next.set(State::Leads);
                self.group.news.notify_all();
            }
            None => line.is_led = false,
        }
    }
}

impl Job {
    pub fn new(agent_id: &str, update: &Update, by: &Arc<Actor>, wait: &Deadline) -> Self {
        Self {
            agent_id: agent_id.to_owned(),
            update: update.clone(),
            by: Arc::clone(by),
            wait: wait.clone(),
            state: Mutex::default(),
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(*lock(&self.state), State::Waiting)
    }

    fn seen(&self) -> Seen {
        match std::mem::take(&mut *lock(&self.state)) {
            State::Waiting => Seen::Nothing,
            State::Leads => Seen::Leads,
            State::Done(ended) => Seen::Done(ended),
        }
    }

    fn set(&self, state: State) {
        *lock(&self.state) = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::new("a", &Update::new(), &Arc::new(Actor::library()), &Deadline::within(Duration::ZERO))
    }

    fn lined_up(group: &UpdateGroup) -> Arc<Job> {
        group.lead_or_line_up(job).err().expect("somebody leads")
    }

    #[test]
    fn the_first_leads_and_the_first_of_the_others_leads_next() {
        let group = UpdateGroup::default();
        let lead = group.lead().expect("nobody leads");
        assert!(group.lead().is_none());
        let jobs = [lined_up(&group), lined_up(&group), lined_up(&group)];
        let until = Instant::now() + Duration::from_mins(1);
        assert!(lead.next(until).is_some_and(|next| Arc::ptr_eq(&next, &jobs[0])));
        assert!(lead.next(Instant::now()).is_none(), "it is over");
        drop(lead);
        assert!(matches!(group.look(&jobs[1], Duration::ZERO), Seen::Leads));
        assert!(group.lead().is_none(), "it was handed on");
        let lead = group.take_lead();
        assert!(lead.next(until).is_some_and(|next| Arc::ptr_eq(&next, &jobs[2])));
        drop(lead);
        assert!(group.lead().is_some(), "nobody was left to hand it to");
    }

    #[test]
    fn a_job_is_withdrawn_once_and_never_after_it_was_taken() {
        let group = UpdateGroup::default();
        let lead = group.lead().expect("nobody leads");
        let (patient, impatient) = (lined_up(&group), lined_up(&group));
        assert!(matches!(group.look(&impatient, Duration::from_millis(1)), Seen::Nothing));
        assert!(group.withdraw(&impatient) && !group.withdraw(&impatient));
        assert!(lead.next(Instant::now() + Duration::from_mins(1)).is_some());
        assert!(!group.withdraw(&patient));
        lead.end([(Arc::clone(&patient), Ended::Made(Box::new(Ok(None))))]);
        let seen = group.look(&patient, Duration::ZERO);
        assert!(matches!(seen, Seen::Done(Ended::Made(outcome)) if matches!(*outcome, Ok(None))));
    }
}
