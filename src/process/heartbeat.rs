//! Heartbeats: a process says that it lives, and learns what the registry thinks of it.
//!
//! A beat is one small transaction, or part of an update's. The row is the truth: where it has vanished, the
//! beat registers the process again; where it says `terminating`, the process must exit.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::{io, thread};

use rusqlite::{OptionalExtension, named_params, params};

use super::clock;
use super::member::{Enrolled, lock};
use super::record::ProcessState;
use super::registration;
use crate::error::{Error, Result};
use crate::store::column::Parsed;
use crate::store::{Deadline, Settings, Store, TxResult, WriteTx, settings};

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Beat {
    /// The row was there, and is fresh again.
    Alive,
    /// The row had vanished: somebody took this process for dead. It is registered again, under a new id, and
    /// the locks that it held are lost.
    Superseded,
    /// A reaper has claimed this process: it must exit now.
    Terminating,
}

/// What a beat did inside a transaction; the store takes note of it once that is committed.
pub(super) struct Pulse {
    beat: Beat,
    process_id: i64,
    /// When to beat again.
    interval: Duration,
    /// A use of this process that was noted before and is recorded now.
    recorded_use_ms: Option<i64>,
}

/// A beat waits for the write lock for as long as this at least, if `lock_timeout_ms` lets it.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// What a beat says of the client.
#[derive(Clone, Copy)]
enum Use {
    /// It uses this process now.
    Now,
    /// It has used it at that moment of the monotonic clock.
    At(i64),
    /// Nothing.
    None,
}

impl Store {
    /// Writes with `body`, and in the same transaction this process's heartbeat and activity, if it is
    /// registered.
    pub(crate) fn write_as_member_by<T>(
        &self,
        wait: &Deadline,
        body: impl FnOnce(&WriteTx<'_>, &Settings) -> TxResult<T>,
    ) -> Result<T> {
        let written = self.write_by(wait, |tx| {
            let settings = settings::read(tx)?;
            self.follow(&settings);
            let pulse = self.pulse_if_enrolled(tx, &settings, true)?;
            Ok((body(tx, &settings)?, pulse))
        });
        let (value, pulse) = self.heed_loss(written)?;
        if let Some(pulse) = pulse {
            self.heed(&pulse);
        }
        Ok(value)
    }

    /// Beats once. `None` if this process is not registered, or no longer.
    pub(super) fn beat(&self, activity: bool) -> Result<Option<Pulse>> {
        // Not for much longer than an interval at a time: at the end of each wait somebody looks at who is in the way.
        let interval = Duration::from_millis(self.heartbeat_interval_ms());
        let patience = self.lock_timeout().min(interval.max(SHORTEST_PATIENCE));
        let written = self.write_within(patience, |tx| {
            let settings = settings::read(tx)?;
            self.follow(&settings);
            self.pulse_if_enrolled(tx, &settings, activity)
        });
        let pulse = self.heed_loss(written)?;
        if let Some(pulse) = &pulse {
            self.heed(pulse);
            // So that a fleet that nobody uses is looked after too.
            self.scan_in_background();
        }
        Ok(pulse)
    }

    /// Says that the client uses this process. Nothing is written now: the next heartbeat records it, with its time. For
    /// what a client only reads, which would otherwise wait for the write lock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// let registration = store.register(govstore::ProcessInfo::new("my-server", "1.0.0"))?;
    /// store.note_activity();
    /// let _ = registration.beat()?;
    /// assert!(store.processes()?[0].last_activity_at.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn note_activity(&self) {
        self.member().note_use();
    }

    /// Beats if this process is registered, for itself and for its locks. Whether it is counts inside the
    /// transaction, so that a registration that just ended is not taken up again.
    fn pulse_if_enrolled(
        &self,
        tx: &WriteTx<'_>,
        settings: &Settings,
        activity: bool,
    ) -> TxResult<Option<Pulse>> {
        let Some(enrolled) = self.member().enrolled() else { return Ok(None) };
        let used = match self.member().unrecorded_use_ms() {
            _ if activity => Use::Now,
            Some(used_ms) => Use::At(used_ms),
            None => Use::None,
        };
        let pulse = pulse(tx, settings, &enrolled, used)?;
        self.held_locks().renew(tx)?;
        Ok(Some(pulse))
    }

    /// A process that has lost its database has lost its row as well: it must exit.
    fn heed_loss<T>(&self, written: Result<T>) -> Result<T> {
        if matches!(written, Err(Error::Displaced { .. })) {
            self.member().tell_to_exit();
        }
        written
    }

    fn heed(&self, pulse: &Pulse) {
        if let Some(used_ms) = pulse.recorded_use_ms {
            self.member().note_recorded_use(used_ms);
        }
        match pulse.beat {
            Beat::Alive => {}
            Beat::Superseded => self.member().move_to(pulse.process_id),
            Beat::Terminating => self.member().tell_to_exit(),
        }
    }
}

impl Pulse {
    pub const fn beat(&self) -> Beat {
        self.beat
    }
}

/// How long a process may let pass between two beats. Never so long that it could be taken for dead, whatever
/// the settings say.
pub(super) fn interval_ms(settings: &Settings) -> i64 {
    settings.heartbeat_interval_ms().min(settings.stale_after_ms() / 3).max(1)
}

/// How long after a beat that failed, as of a busy or a full database, the next one is tried: at once. A judge who
/// can write waits an interval to see whether others can.
pub(crate) fn retry_after(interval: Duration) -> Duration {
    (interval / 10).min(Duration::from_secs(1))
}

/// From which age on a beat came late: its process was stopped, frozen or starved. If others look stale because
/// of the same freeze, then it lasted longer than `stale_after_s` less one interval, which is at least two
/// thirds of `stale_after_s`; so half of it is sure to notice.
pub(super) fn late_after_ms(settings: &Settings) -> i64 {
    settings.stale_after_ms() / 2
}

/// Beats inside a transaction.
fn pulse(tx: &WriteTx<'_>, settings: &Settings, enrolled: &Enrolled, used: Use) -> TxResult<Pulse> {
    let interval_ms = interval_ms(settings);
    let interval = Duration::from_millis(interval_ms.unsigned_abs());
    let parent_gone = enrolled.who.is_parent_gone();
    let mut process_id = enrolled.process_id;
    let now_ms = clock::monotonic_ms();
    let state = match used {
        Use::Now => touch(tx, process_id, parent_gone, &tx.at_text, now_ms)?,
        Use::At(used_ms) => {
            let at = tx.at.earlier_by_ms(now_ms.saturating_sub(used_ms)).to_string();
            touch(tx, process_id, parent_gone, &at, used_ms)?
        }
        Use::None => state(tx, process_id, parent_gone)?,
    };
    let recorded_use_ms = if let Use::At(used_ms) = used { Some(used_ms) } else { None };
    let beat = match state {
        Some(ProcessState::Running) => Beat::Alive,
        Some(ProcessState::Terminating) => {
            return Ok(Pulse { beat: Beat::Terminating, process_id, interval, recorded_use_ms: None });
        }
        _ => {
            process_id = registration::enrol_again(tx, &enrolled.who)?;
            tx.set_process_id(process_id);
            Beat::Superseded
        }
    };
    write(tx, process_id, &enrolled.who.here.boot_id, interval_ms, late_after_ms(settings))?;
    Ok(Pulse { beat, process_id, interval, recorded_use_ms })
}

/// Records activity of a running process, and says what its row was. Part of every update: values are bound in
/// the order in which their names first appear.
fn touch(
    tx: &WriteTx<'_>,
    process_id: i64,
    parent_gone: bool,
    at: &str,
    monotonic_ms: i64,
) -> TxResult<Option<ProcessState>> {
    let touched = tx
        .prepare_cached(
            "UPDATE processes SET
               last_activity_at = :at, last_activity_monotonic_ms = :monotonic_ms, parent_gone = :parent_gone
             WHERE process_id = :process_id AND state = 'running'",
        )?
        .execute(params![at, monotonic_ms, parent_gone, process_id])?;
    if touched == 1 { Ok(Some(ProcessState::Running)) } else { state(tx, process_id, parent_gone) }
}

/// What the row of a process says. Notes in it whether the parent is gone.
fn state(tx: &WriteTx<'_>, process_id: i64, parent_gone: bool) -> TxResult<Option<ProcessState>> {
    let found = tx
        .prepare_cached("SELECT state, parent_gone FROM processes WHERE process_id = :process_id")?
        .query_row(named_params! { ":process_id": process_id }, |row| {
            Ok((row.get::<_, Parsed<ProcessState>>("state")?.0, row.get::<_, bool>("parent_gone")?))
        })
        .optional()?;
    if found == Some((ProcessState::Running, !parent_gone)) {
        tx.prepare_cached("UPDATE processes SET parent_gone = :parent_gone WHERE process_id = :process_id")?
            .execute(named_params! { ":process_id": process_id, ":parent_gone": parent_gone })?;
    }
    Ok(found.map(|(state, _)| state))
}

/// Writes a beat. One that comes late is remembered as such. Part of every update: values are bound in the order
/// in which their names first appear.
pub(super) fn write(
    tx: &WriteTx<'_>,
    process_id: i64,
    boot_id: &str,
    interval_ms: i64,
    late_after_ms: i64,
) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
         VALUES (:process_id, :boot_id, :now_ms, :now, :interval_ms)
         ON CONFLICT (process_id) DO UPDATE SET
           recovered_monotonic_ms = CASE
             WHEN excluded.monotonic_ms - monotonic_ms > :late_after_ms THEN excluded.monotonic_ms
             ELSE recovered_monotonic_ms
           END,
           monotonic_ms = excluded.monotonic_ms,
           beat_at = excluded.beat_at,
           interval_ms = excluded.interval_ms,
           suspected_monotonic_ms = NULL",
    )?
    .execute(params![
        process_id,
        boot_id,
        clock::monotonic_ms(),
        tx.at_text,
        interval_ms,
        late_after_ms
    ])?;
    Ok(())
}

/// A thread that beats until it is dropped, or told to exit.
pub(super) struct Pacemaker {
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Pacemaker {
    /// Starts beating. Nobody joins the thread: it ends within one beat of being stopped, and a process that
    /// ends need not wait for it.
    pub fn start(store: Store, first: Duration) -> Result<Self> {
        let stop = Arc::new(Stop::default());
        let watched = Arc::clone(&stop);
        thread::Builder::new()
            .name("govstore-heartbeat".to_owned())
            .spawn(move || beat_until_stopped(&store, &watched, first))
            .map_err(|source: io::Error| Error::CannotStartHeartbeat { source })?;
        Ok(Self { stop })
    }
}

impl Drop for Pacemaker {
    fn drop(&mut self) {
        *lock(&self.stop.stopped) = true;
        self.stop.changed.notify_all();
    }
}

fn beat_until_stopped(store: &Store, stop: &Stop, first: Duration) {
    let mut interval = first;
    let mut wait = first;
    loop {
        // A condition variable counts on the monotonic clock: it doesn't fire early after a clock step.
        let stopped = lock(&stop.stopped);
        let waited = stop.changed.wait_timeout_while(stopped, wait, |stopped| !*stopped);
        if *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0 {
            return;
        }
        let outcome = store.beat(false);
        store.member().note_background(&outcome);
        match outcome {
            Ok(Some(Pulse { beat: Beat::Alive | Beat::Superseded, interval: next, .. })) => {
                interval = next;
                wait = next;
            }
            Ok(Some(Pulse { beat: Beat::Terminating, .. }) | None) => return,
            Err(_) => wait = retry_after(interval),
        }
    }
}
