//! Beats: as a transaction of their own, as part of another, and on a thread.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::handle::Store;
use crate::backend::statements::{Transaction, TxResult};
use crate::error::{Error, Result};
use crate::model::{ClientInfo, OwnRow, Settings};
use crate::os::lock;
use crate::registry::{self, Beat, BeatOutcome, Registered, Use};

/// A beat waits for the write lock for as long as this at least, if `lock_timeout_ms` lets it.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

impl Store {
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
        self.own().note_use();
    }

    /// Says which client this process serves, so that people can tell servers apart. Nothing is written now: the next
    /// heartbeat records it, and one that fails leaves it to the one after. `true` if there is something to record; a
    /// server may then beat at once. A process that is not registered has no row for it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{ClientInfo, ProcessInfo};
    ///
    /// let registration = store.register(ProcessInfo::new("my-server", "1.0.0"))?;
    /// if store.note_client(ClientInfo::new("claude-code", "2.1")) {
    ///     let _ = registration.beat()?;
    /// }
    /// assert_eq!(store.processes()?[0].client_name.as_deref(), Some("claude-code"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::must_use_candidate, reason = "the next heartbeat comes by itself")]
    pub fn note_client(&self, client: ClientInfo) -> bool {
        self.own().note_client(client)
    }

    /// Beats once. `None` if this process is not registered, or no longer. `is_used`: the client uses it now.
    pub(super) fn beat(&self, is_used: bool) -> Result<Option<BeatOutcome>> {
        // Not for much longer than an interval at a time: at the end of each wait the holder of the lock is looked at.
        let patience = self.lock_timeout().min(self.heartbeat_interval().max(SHORTEST_PATIENCE));
        let written = self.write_within(patience, |tx| {
            let settings = tx.settings()?;
            let beat = self.beat_in(tx, &settings, self.own().latest_use(is_used))?;
            Ok((beat, settings))
        });
        let (beat, settings) = self.exit_if_displaced(written)?;
        self.note_committed(beat.as_ref(), &settings);
        if beat.is_some() {
            self.scan_in_background(); // so that a fleet that nobody uses is looked after too
        }
        Ok(beat)
    }

    /// Beats inside a transaction, if this process is registered. Whether it is counts inside the transaction, so that
    /// a registration that just ended is not taken up again.
    pub(super) fn beat_in(
        &self,
        tx: &dyn Transaction,
        settings: &Settings,
        used: Use,
    ) -> TxResult<Option<BeatOutcome>> {
        let Some(registered) = self.own().registered() else { return Ok(None) };
        let row = tx.own_row(registered.process_id)?;
        self.beat_by_row(tx, settings, &registered, row, used).map(Some)
    }

    /// The same for a process whose row was read, and for its locks.
    pub(super) fn beat_by_row(
        &self,
        tx: &dyn Transaction,
        settings: &Settings,
        registered: &Registered,
        row: Option<OwnRow>,
        used: Use,
    ) -> TxResult<BeatOutcome> {
        let outcome = registry::beat(tx, settings, registered, row, used)?;
        self.held_locks().renew(tx)?;
        Ok(outcome)
    }

    /// Takes note of what a transaction found that is committed now.
    pub(super) fn note_committed(&self, beat: Option<&BeatOutcome>, settings: &Settings) {
        self.follow(settings);
        if let Some(beat) = beat {
            self.own().note_beat(beat);
        }
    }

    /// A process that has lost its database has lost its row as well: it must exit.
    pub(super) fn exit_if_displaced<T>(&self, written: Result<T>) -> Result<T> {
        if matches!(written, Err(Error::Displaced { .. })) {
            self.own().tell_to_exit();
        }
        written
    }
}

/// A thread that beats until it is dropped, or told to exit.
pub(super) struct HeartbeatThread {
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl HeartbeatThread {
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

impl Drop for HeartbeatThread {
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
        store.own().note_background(&outcome);
        match outcome {
            Ok(Some(BeatOutcome { beat: Beat::Alive | Beat::Superseded, interval: next, .. })) => {
                interval = next;
                wait = next;
            }
            Ok(Some(BeatOutcome { beat: Beat::Terminating, .. }) | None) => return,
            Err(_) => wait = registry::retry_after(interval),
        }
    }
}
