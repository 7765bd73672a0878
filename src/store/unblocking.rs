//! Freeing the write lock of a process that is stopped inside its transaction.
//!
//! Reapers exclude each other by `flock` on the database's folder, since no claim can be written.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

use super::handle::Store;
use crate::backend::sqlite;
use crate::error::{Error, Result};
use crate::liveness;
use crate::model::{HolderState, Now, Outcome, ReapEvent, Verdict};
use crate::os::{self, System};
use crate::reaper::{self, Due, Look, RECORD_PATIENCE};

/// How often a reaper tries to record what it did.
const RECORD_ATTEMPTS: u32 = 3;

impl Store {
    /// When the process that holds the write lock may be helped, if this store has seen it stopped: until then it may
    /// go on by itself. `None` if there is no such process, as far as this store has seen.
    ///
    /// A server needs not ask: its heartbeats look. For a program that is not registered, which calls
    /// [`Store::reap`] again when this time has passed.
    #[must_use]
    pub fn second_look_due(&self) -> Option<Duration> {
        self.stopped_holder().due_in()
    }

    /// Takes note of how a write ended: where it waited in vain for a process that is stopped, that one is looked at,
    /// and helped on another thread if the time has come.
    pub(super) fn look_at_holder<T>(&self, written: &Result<T>) {
        let Err(Error::LockTimeout { holder, .. }) = written else { return };
        if !holder.as_ref().is_some_and(|holder| holder.state == HolderState::Stopped) {
            self.stopped_holder().forget();
            return;
        }
        // An error here must not hide the one that is being reported; the next look is at hand.
        let Ok(system) = os::native() else { return };
        if matches!(self.look_for_stopped_holder(&system), Ok(Some(_))) {
            let store = self.uncancelled();
            // Without a thread to be had, the next look helps.
            let _ = thread::Builder::new().name("govstore-reaper".to_owned()).spawn(move || {
                let system = liveness::system();
                let helped = system.and_then(|system| store.help_if_due(&system));
                if helped.is_err() {
                    store.own().note_background(&helped);
                }
            });
        }
    }

    /// Looks at the process that holds the write lock, and notes what was seen. Returns it if it is to be helped.
    fn look_for_stopped_holder(&self, system: &dyn System) -> Result<Option<Due>> {
        // A server frees by itself what a stopped client holds.
        let Some(database) = self.backend().sqlite() else { return Ok(None) };
        let Some(pid) = database.write_lock_owner() else {
            self.stopped_holder().forget();
            return Ok(None);
        };
        let now = Now::read(system);
        let (records, settings) =
            self.read(|reader| Ok((reader.registered_processes(&now)?, reader.settings()?)))?;
        let look = Look::at(pid, records, &now, system, &self.backend().mark());
        Ok(self.stopped_holder().note(look, &settings, system.here(), self.own().process_id()))
    }

    /// Helps the process that holds the write lock, if it was seen stopped for long enough; says what was done. `None`:
    /// there is nothing to be done, or another reaper is at it.
    pub(super) fn help_if_due(&self, system: &dyn System) -> Result<Option<ReapEvent>> {
        if self.look_for_stopped_holder(system)?.is_none() || !self.stopped_holder().begin_help() {
            return Ok(None);
        }
        let helped = self.help(system);
        self.stopped_holder().end_help();
        helped
    }

    fn help(&self, system: &dyn System) -> Result<Option<ReapEvent>> {
        let Some(_alone) = self.exclude_others() else { return Ok(None) };
        let Some(due) = self.look_for_stopped_holder(system)? else { return Ok(None) }; // another was faster
        let owner = || self.backend().sqlite().and_then(sqlite::Database::write_lock_owner);
        let holds_lock = || owner() == Some(due.process.pid);
        let Some((ending, evidence)) = reaper::wake_or_end(&due, system, &holds_lock) else {
            return Ok(None);
        };
        self.stopped_holder().forget();
        let verdict = match ending.outcome {
            Outcome::Continued | Outcome::Gone => Verdict::Alive, // so it was
            _ => Verdict::Stale,
        };
        // What has been done must not go untold, though the lock may still be hard to get.
        let mut attempt = 1;
        loop {
            let recorded = self.write_within(RECORD_PATIENCE, |tx| {
                reaper::record_unblocking(tx, system, &due.process, verdict, &evidence, &ending)
            });
            match recorded {
                Err(error) if error.is_busy() && attempt < RECORD_ATTEMPTS => attempt += 1,
                recorded => return recorded.map(Some),
            }
        }
    }

    /// Keeps other reapers from helping, here and in other processes, until the file is dropped. `None`: one of them
    /// is at it. The folder is locked: to open and close the database or its wal-index would cost this process its
    /// locks.
    fn exclude_others(&self) -> Option<File> {
        let folder = File::open(self.backend().sqlite()?.folder()).ok()?;
        match folder.try_lock() {
            Ok(()) => Some(folder),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
        }
    }
}
