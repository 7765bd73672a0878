//! Heartbeats: a process says that it lives, and learns what the registry thinks of it.
//!
//! A beat is one small transaction, or part of an update's. The row is the truth: where it has vanished, the
//! beat registers the process again; where it says `terminating`, the process must exit.

use std::sync::Arc;
use std::time::Duration;

use super::interval::{interval_ms, save};
use super::register;
use super::state::{OwnProcess, Registered};
use crate::backend::statements::{Transaction, TxResult};
use crate::model::{ClientInfo, OwnRow, ProcessState, Settings};
use crate::os::clock;

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Beat {
    /// The row was there, and is fresh again.
    Alive,
    /// The row had vanished: a reaper took this process for dead. It is registered again, under a new id, and
    /// the locks that it held are lost.
    Superseded,
    /// A reaper has claimed this process: it must exit now.
    Terminating,
}

/// What a beat did inside a transaction; [`OwnProcess::note_beat`] takes note of it once that is committed.
pub(crate) struct BeatOutcome {
    pub beat: Beat,
    process_id: i64,
    /// When to beat again.
    pub interval: Duration,
    /// A use of this process that was noted before and is recorded now.
    recorded_use_ms: Option<i64>,
    /// The client that the row names from now on, if it did not before.
    recorded_client: Option<Arc<ClientInfo>>,
}

/// What a beat says of the client.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// It uses this process now.
    Now,
    /// It has used it at that moment of the monotonic clock.
    At(i64),
    /// Nothing.
    None,
}

impl OwnProcess {
    /// What a beat is to say of the client, which may be using this process now.
    pub fn latest_use(&self, is_used_now: bool) -> Use {
        match self.unrecorded_use_ms() {
            _ if is_used_now => Use::Now,
            Some(used_ms) => Use::At(used_ms),
            None => Use::None,
        }
    }

    /// Takes note of a beat that is committed.
    pub fn note_beat(&self, outcome: &BeatOutcome) {
        if let Some(used_ms) = outcome.recorded_use_ms {
            self.note_recorded_use(used_ms);
        }
        if let Some(client) = &outcome.recorded_client {
            self.note_recorded_client(client);
        }
        match outcome.beat {
            Beat::Alive => {}
            Beat::Superseded => self.move_to(outcome.process_id),
            Beat::Terminating => self.tell_to_exit(),
        }
    }
}

/// Beats inside a transaction, for a process whose row is `row`.
pub(crate) fn beat(
    tx: &dyn Transaction,
    settings: &Settings,
    registered: &Registered,
    row: Option<OwnRow>,
    used: Use,
) -> TxResult<BeatOutcome> {
    let Registered { process_id, identity, client, has_recorded_client } = registered;
    let interval = Duration::from_millis(interval_ms(settings).min(tx.longest_interval_ms()).unsigned_abs());
    let recorded_use_ms = if let Use::At(used_ms) = used { Some(used_ms) } else { None };
    let mut outcome = BeatOutcome {
        beat: Beat::Alive,
        process_id: *process_id,
        interval,
        recorded_use_ms,
        recorded_client: None,
    };
    match row {
        Some(OwnRow { state: ProcessState::Running, parent_gone: noted }) => {
            let parent_gone = identity.is_parent_gone();
            let now_ms = clock::monotonic_ms();
            match used {
                Use::Now => tx.note_activity(*process_id, tx.at(), now_ms, parent_gone)?,
                Use::At(used_ms) => {
                    let at = tx.at().earlier_by_ms(now_ms.saturating_sub(used_ms));
                    tx.note_activity(*process_id, at, used_ms, parent_gone)?;
                }
                Use::None if noted != parent_gone => tx.note_parent_gone(*process_id, parent_gone)?,
                Use::None => {}
            }
        }
        Some(OwnRow { state: ProcessState::Terminating, .. }) => {
            return Ok(BeatOutcome { beat: Beat::Terminating, recorded_use_ms: None, ..outcome });
        }
        _ => {
            outcome.process_id = register::insert_again(tx, identity)?;
            outcome.beat = Beat::Superseded;
        }
    }
    tx.set_process_id(outcome.process_id);
    if let Some(client) = client
        && (outcome.beat == Beat::Superseded || !has_recorded_client)
    {
        tx.save_client(outcome.process_id, client)?;
        outcome.recorded_client = Some(Arc::clone(client));
    }
    save(tx, outcome.process_id, identity, settings)?;
    Ok(outcome)
}
