//! When the victim holds the write lock itself: stopped inside its transaction, it keeps everybody from writing, and
//! the reaper from claiming it.
//!
//! - Whoever has waited for the write lock in vain [`looks`](Store::look_at_holder) at the process that holds it, and
//!   [`StoppedHolder`] remembers what was seen.
//! - [`decide`] is a pure function: that process is helped once it was seen so for a heartbeat interval, and only if it
//!   is registered and ours to judge.
//! - [`help`] wakes it, and ends it if it stops again before it lets the lock go. Reapers exclude each other by `flock`
//!   on the database's folder, since no claim can be written.
//! - What was done is recorded afterwards, when the lock is free.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{self, Outcome, ReapEvent};
use super::plan::Verdict;
use super::signal::{Ending, KILL_PATIENCE, POLL};
use crate::error::{Error, Result};
use crate::process::clock;
use crate::process::heartbeat;
use crate::process::holder::{self, HolderState};
use crate::process::liveness::{self, Kernel, Observation};
use crate::process::member::lock;
use crate::process::record::{self, Now, Process, Record, age_ms, seconds};
use crate::process::system::{Here, Hold, Sighting, Signal, System};
use crate::store::{Settings, Store, settings};

/// How long a process that was woken may take to finish its transaction.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How often a reaper tries to record what it did.
const RECORD_ATTEMPTS: u32 = 3;

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
struct Look {
    /// Its row, if it has one, and what was seen of it.
    registered: Option<(Record, Observation)>,
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
struct Due {
    process: Process,
    seen_for_ms: i64,
    grace_ms: u64,
}

impl Identity {
    fn of(record: &Record) -> Self {
        Self {
            process_id: record.process.process_id,
            pid: record.process.pid,
            start_ticks: record.process.start_ticks,
            beat_ms: record.beat.as_ref().map(|beat| beat.monotonic_ms),
        }
    }
}

impl Store {
    /// When the process that holds the write lock may be helped, if this store has seen it stopped: until then it may
    /// go on by itself. `None` if there is no such process, as far as this store has seen.
    ///
    /// A server needs not ask: its heartbeats look. For a program that is not registered, which calls
    /// [`Store::reap`] again when this time has passed.
    #[must_use]
    pub fn second_look_due(&self) -> Option<Duration> {
        let noted = (*lock(&self.stopped_holder().noted))?;
        let due_in_ms = noted.due_ms.saturating_sub(clock::monotonic_ms());
        Some(Duration::from_millis(u64::try_from(due_in_ms).unwrap_or_default()))
    }

    /// Takes note of how a write ended: where it waited in vain for a process that is stopped, that one is looked at,
    /// and helped on another thread if the time has come.
    pub(crate) fn look_at_holder<T>(&self, written: &Result<T>) {
        let Err(Error::LockTimeout { holder, .. }) = written else { return };
        if !holder.as_ref().is_some_and(|holder| holder.state == HolderState::Stopped) {
            *lock(&self.stopped_holder().noted) = None;
            return;
        }
        // An error here must not hide the one that is being reported; the next look is at hand.
        if record::native().is_ok_and(|system| matches!(look(self, &system), Ok(Some(_)))) {
            let store = self.clone();
            // Without a thread to be had, the next look helps.
            let _ = thread::Builder::new().name("govstore-reaper".to_owned()).spawn(move || {
                let helped = record::native().and_then(|system| help_if_due(&store, &system));
                if helped.is_err() {
                    store.member().note_background(&helped);
                }
            });
        }
    }
}

/// Looks at the process that holds the write lock, and notes what was seen. Returns it if it is to be helped.
fn look(store: &Store, system: &dyn System) -> Result<Option<Due>> {
    let Some(pid) = holder::write_lock_owner(store.wal_index()) else {
        *lock(&store.stopped_holder().noted) = None;
        return Ok(None);
    };
    let (look, settings) = Look::take(store, system, pid)?;
    let mut noted = lock(&store.stopped_holder().noted);
    let interval_ms = heartbeat::interval_ms(&settings);
    let decision = decide(&look, *noted, system.here(), store.member().process_id(), interval_ms);
    *noted = match decision {
        Decision::Leave => None,
        Decision::LookAgain(noted) | Decision::Help(noted) => Some(noted),
    };
    Ok(match (decision, look.registered) {
        (Decision::Help(noted), Some((Record { process, .. }, _))) => {
            let seen_for_ms = age_ms(look.at_ms, noted.first_seen_ms);
            Some(Due { process, seen_for_ms, grace_ms: settings.terminate_grace_ms })
        }
        _ => None,
    })
}

impl Look {
    fn take(store: &Store, system: &dyn System, pid: u32) -> Result<(Self, Settings)> {
        let now = Now::read(system);
        let (records, settings) =
            store.read(|conn| Ok((record::registered(conn, &now)?, settings::read(conn)?)))?;
        let here = system.here();
        let database = super::database_files(store);
        let is_near = |process: &Process| {
            process.pid == pid
                && process.boot_id == here.boot_id
                && process.pid_namespace == here.pid_namespace
        };
        let found = records.into_iter().filter(|record| is_near(&record.process)).map(|record| {
            let seen = super::observe(&record, system, &database);
            (record, seen)
        });
        // A row may be left of one that had the PID before.
        let registered = found.into_iter().find(|(r, seen)| !seen.process.rules_out(r.process.start_ticks));
        Ok((Self { registered, at_ms: now.monotonic_ms }, settings))
    }
}

/// Helps the process that holds the write lock, if it was seen stopped for long enough; says what was done. `None`: there
/// is nothing to be done, or another reaper is at it.
pub(super) fn help_if_due(store: &Store, system: &dyn System) -> Result<Option<ReapEvent>> {
    if look(store, system)?.is_none() || store.stopped_holder().helping.swap(true, Ordering::AcqRel) {
        return Ok(None);
    }
    let helped = help(store, system);
    store.stopped_holder().helping.store(false, Ordering::Release);
    helped
}

fn help(store: &Store, system: &dyn System) -> Result<Option<ReapEvent>> {
    let Some(_alone) = exclude_others(store) else { return Ok(None) };
    let Some(due) = look(store, system)? else { return Ok(None) }; // another reaper was faster
    let Due { process, seen_for_ms, grace_ms } = due;
    let holder = Holder { pid: process.pid, start_ticks: process.start_ticks, system, store };
    let grace = Duration::from_millis(grace_ms);
    let Some((ending, account)) = holder.wake_or_end(grace) else { return Ok(None) };
    *lock(&store.stopped_holder().noted) = None;

    let verdict = match ending.outcome {
        Outcome::Continued | Outcome::Gone => Verdict::Alive, // so it was
        _ => Verdict::Stale,
    };
    let seen_for_s = seconds(seen_for_ms);
    let evidence = format!(
        "it was stopped inside a transaction and kept everybody from writing, first seen so {seen_for_s:.1} s ago; {account}"
    );
    record_deed(store, system, &process, verdict, &evidence, &ending).map(Some)
}

/// What has been done must not go untold, though the lock may still be hard to get.
fn record_deed(
    store: &Store,
    system: &dyn System,
    process: &Process,
    verdict: Verdict,
    evidence: &str,
    ending: &Ending,
) -> Result<ReapEvent> {
    let mut attempt = 1;
    loop {
        match ledger::record_unblocking(store, system, process, verdict, evidence, ending) {
            Err(error) if error.is_busy() && attempt < RECORD_ATTEMPTS => attempt += 1,
            recorded => return recorded,
        }
    }
}

/// Keeps other reapers from helping, here and in other processes, until the file is dropped. `None`: one of them is at
/// it. The folder is locked: to open and close the database or its wal-index would cost this process its locks.
fn exclude_others(store: &Store) -> Option<File> {
    let folder = File::open(store.wal_index().parent().unwrap_or_else(|| Path::new("."))).ok()?;
    match folder.try_lock() {
        Ok(()) => Some(folder),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

/// The stopped process while it is being helped.
struct Holder<'a> {
    pid: u32,
    start_ticks: u64,
    system: &'a dyn System,
    store: &'a Store,
}

/// What a process that holds the lock was seen doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Ended,
    LetGo,
    Stopped,
    Runs,
}

impl Holder<'_> {
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
        let holds = || holder::write_lock_owner(self.store.wal_index()) == Some(self.pid);
        if hold.has_exited() {
            return Doing::Ended;
        }
        // A long list of locks may lack one that is held, if others are let go while it is read.
        if !holds() && !holds() {
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
