//! When the victim holds the write lock itself: stopped inside its transaction, it keeps everybody from writing, and
//! the reaper from claiming it.
//!
//! - A process that has waited for the write lock in vain looks at the process that holds it, and [`StoppedHolder`] remembers
//!   what was seen.
//! - [`decide`] is a pure function: that process is helped once it was seen so for a heartbeat interval, and only if it
//!   is registered and ours to judge.
//! - [`wake_or_end`] wakes it, and ends it if it stops again before it lets the lock go.
//! - What was done is recorded afterwards, when the lock is free.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::victim::Ending;
use super::victim::{KILL_PATIENCE, POLL};
use crate::liveness::{self, Kernel, Observation, is_near, observe};
use crate::model::{Now, Outcome, Process, ProcessRecord, Settings, age_ms, seconds};
use crate::os::{Here, Hold, Mark, Sighting, Signal, System, clock, lock};
use crate::registry;

/// How long a process that was woken may take to finish its transaction.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// What a store remembers of the process that holds the write lock and is stopped.
#[derive(Default)]
pub(crate) struct StoppedHolder {
    noted: Mutex<Option<Noted>>,
    /// Whether a thread of this process helps it just now.
    helping: AtomicBool,
}

/// A stopped holder of the write lock, as it was seen at several looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    holder: Identity,
    first_seen_ms: i64,
    last_seen_ms: i64,
    /// When it may be helped.
    due_ms: i64,
}

/// One process between two of its heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    process_id: i64,
    pid: u32,
    start_ticks: u64,
    beat_ms: Option<i64>,
}

/// The process that holds the write lock, at one look.
pub(crate) struct Look {
    /// Its row, if it has one, and what was seen of it.
    registered: Option<(ProcessRecord, Observation)>,
    at_ms: i64,
}

/// What is to be done about the process that holds the write lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Nothing, from here: it runs, or is not ours to judge.
    Leave,
    /// It is stopped. Whether it still is must be seen again.
    LookAgain(Noted),
    /// It is to be woken.
    Help(Noted),
}

/// Decides about the process that holds the write lock, by one look and by what was noted at those before.
fn decide(look: &Look, noted: Option<Noted>, here: &Here, caller: Option<i64>, interval_ms: i64) -> Decision {
    let Some((record, seen)) = &look.registered else { return Decision::Leave };
    let process = &record.process;
    let is_exempt = process.pid <= 1 || process.pid == here.pid || Some(process.process_id) == caller;
    // A debugger has its reasons, and no signal wakes one that is frozen.
    let is_asleep = match liveness::kernel(process, Some(seen), here) {
        Kernel::Identified(found) => found.stopped && !found.traced && !found.frozen,
        _ => false,
    };
    if is_exempt || !is_asleep {
        return Decision::Leave;
    }
    let holder = Identity::of(record);
    // Between two looks that are far apart it may have gone on, and stopped inside another transaction.
    let is_current =
        |noted: &Noted| noted.holder == holder && age_ms(look.at_ms, noted.last_seen_ms) <= 3 * interval_ms;
    let first_seen_ms = noted.filter(is_current).map_or(look.at_ms, |noted| noted.first_seen_ms);
    let due_ms = first_seen_ms.saturating_add(interval_ms);
    let noted = Noted { holder, first_seen_ms, last_seen_ms: look.at_ms, due_ms };
    if look.at_ms >= due_ms { Decision::Help(noted) } else { Decision::LookAgain(noted) }
}

/// A stopped process that is to be helped.
pub(crate) struct Due {
    pub process: Process,
    seen_for_ms: i64,
    grace_ms: u64,
}

impl Identity {
    fn of(record: &ProcessRecord) -> Self {
        Self {
            process_id: record.process.process_id,
            pid: record.process.pid,
            start_ticks: record.process.start_ticks,
            beat_ms: record.beat.as_ref().map(|beat| beat.monotonic_ms),
        }
    }
}

impl StoppedHolder {
    /// No stopped process is in the way, as far as this one has seen.
    pub fn forget(&self) {
        *lock(&self.noted) = None;
    }

    /// When the process that was noted may be helped; `None` if there is none.
    pub fn due_in(&self) -> Option<Duration> {
        let noted = (*lock(&self.noted))?;
        let due_in_ms = noted.due_ms.saturating_sub(clock::monotonic_ms());
        Some(Duration::from_millis(u64::try_from(due_in_ms).unwrap_or_default()))
    }

    /// Notes what one look showed. Returns the process if it is to be helped.
    pub fn note(&self, look: Look, settings: &Settings, here: &Here, caller: Option<i64>) -> Option<Due> {
        let mut noted = lock(&self.noted);
        let decision = decide(&look, *noted, here, caller, registry::interval_ms(settings));
        *noted = match decision {
            Decision::Leave => None,
            Decision::LookAgain(noted) | Decision::Help(noted) => Some(noted),
        };
        match (decision, look.registered) {
            (Decision::Help(noted), Some((ProcessRecord { process, .. }, _))) => {
                let seen_for_ms = age_ms(look.at_ms, noted.first_seen_ms);
                Some(Due { process, seen_for_ms, grace_ms: settings.terminate_grace_ms })
            }
            _ => None,
        }
    }

    /// Whether this thread is the one of this process that helps. If so, it does until [`StoppedHolder::end_help`].
    pub fn begin_help(&self) -> bool {
        !self.helping.swap(true, Ordering::AcqRel)
    }

    pub fn end_help(&self) {
        self.helping.store(false, Ordering::Release);
    }
}

impl Look {
    /// Looks at the process that has this PID, and holds the write lock.
    pub fn at(
        pid: u32,
        records: Vec<ProcessRecord>,
        now: &Now<'_>,
        system: &dyn System,
        mark: &Mark,
    ) -> Self {
        let has_pid = |process: &Process| process.pid == pid && is_near(process, system.here());
        let found = records.into_iter().filter(|record| has_pid(&record.process)).map(|record| {
            let seen = observe(&record, system, mark);
            (record, seen)
        });
        // A row may be left of one that had the PID before.
        let registered = found.into_iter().find(|(r, seen)| !seen.process.rules_out(r.process.start_ticks));
        Self { registered, at_ms: now.monotonic_ms }
    }
}

/// Wakes the process that is due, and ends it if it stops again with the lock in its hand. `holds_lock` says whether
/// it has the lock, as far as one look can tell. Says how that ended, and the evidence in words; `None` if nothing
/// could be sent.
pub(crate) fn wake_or_end(
    due: &Due,
    system: &dyn System,
    holds_lock: &dyn Fn() -> bool,
) -> Option<(Ending, String)> {
    let patient = Patient { pid: due.process.pid, start_ticks: due.process.start_ticks, system, holds_lock };
    let (ending, account) = patient.wake_or_end(Duration::from_millis(due.grace_ms))?;
    let seen_for_s = seconds(due.seen_for_ms);
    let evidence = format!(
        "it was stopped inside a transaction and kept everybody from writing, first seen so {seen_for_s:.1} s ago; {account}"
    );
    Some((ending, evidence))
}

/// What a process that holds the lock was seen doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Ended,
    LetGo,
    Stopped,
    Runs,
}

/// The stopped process while it is being helped.
struct Patient<'a> {
    pid: u32,
    start_ticks: u64,
    system: &'a dyn System,
    /// Whether it has the write lock, as far as one look can tell.
    holds_lock: &'a dyn Fn() -> bool,
}

impl Patient<'_> {
    /// Sends SIGCONT; and if it stops again with the lock in its hand SIGTERM, SIGCONT and SIGKILL. Says how that ended,
    /// also in words; `None` if nothing could be sent.
    fn wake_or_end(&self, grace: Duration) -> Option<(Ending, &'static str)> {
        let hold = self.system.hold(self.pid, self.start_ticks).ok()?;
        let began = Instant::now();
        hold.send(Signal::Cont).ok()?;
        let mut signals = vec![Signal::Cont];
        let (outcome, account) = match self.watch(&*hold, FINISH_WITHIN, |doing| doing != Doing::Runs) {
            Doing::LetGo => (Outcome::Continued, "SIGCONT was enough"),
            Doing::Ended => (Outcome::Gone, "it ended once it had been continued"),
            Doing::Runs => (Outcome::Continued, "it went on after SIGCONT, and took its time"),
            Doing::Stopped => self.end(&*hold, grace, &mut signals),
        };
        Some((Ending { outcome, signals, took: began.elapsed(), refusal: None }, account))
    }

    fn end(&self, hold: &dyn Hold, grace: Duration, signals: &mut Vec<Signal>) -> (Outcome, &'static str) {
        let mut send = |signal| {
            if hold.send(signal).is_ok() {
                signals.push(signal);
            }
        };
        send(Signal::Term);
        send(Signal::Cont);
        match self.watch(hold, grace, |doing| doing == Doing::Ended) {
            Doing::Ended => {
                return (Outcome::Terminated, "it stopped again after SIGCONT, with the lock held");
            }
            Doing::LetGo => {
                return (
                    Outcome::Continued,
                    "it stopped again after SIGCONT, and let go of the lock after another",
                );
            }
            Doing::Stopped | Doing::Runs => send(Signal::Kill),
        }
        match self.watch(hold, KILL_PATIENCE, |doing| doing == Doing::Ended) {
            Doing::Ended => (Outcome::Killed, "it stopped again after SIGCONT, with the lock held"),
            _ => (Outcome::Survived, "it stopped again after SIGCONT, with the lock held, and did not go"),
        }
    }

    /// Looks until something is `enough`, or for as long as `patience`; says what was seen last.
    fn watch(&self, hold: &dyn Hold, patience: Duration, enough: impl Fn(Doing) -> bool) -> Doing {
        let began = Instant::now();
        loop {
            let doing = self.doing(hold);
            if enough(doing) || began.elapsed() >= patience {
                return doing;
            }
            thread::sleep(POLL);
        }
    }

    fn doing(&self, hold: &dyn Hold) -> Doing {
        if hold.has_exited() {
            return Doing::Ended;
        }
        // A long list of locks may lack one that is held, if others are let go while it is read.
        if !(self.holds_lock)() && !(self.holds_lock)() {
            return Doing::LetGo;
        }
        match self.system.look_at(self.pid) {
            Sighting::Present(seen) if seen.stopped => Doing::Stopped,
            _ => Doing::Runs,
        }
    }
}

#[cfg(test)]
mod tests;
