//! Whether the holder of an agent's lock still stands behind it.

use std::time::Duration;

use crate::backend::statements::{Reader, TxResult};
use crate::error::Result;
use crate::liveness::{self, or_frozen};
use crate::model::{HolderState, LockHolder, Now, OutOfReach, Process, ProcessRecord, Settings};
use crate::os::{Native, System};

/// What a look at the holder of a lock showed.
pub(crate) enum Holder {
    /// It may well live.
    Present {
        /// Who it is; `held_for` is for the caller to fill in.
        holder: LockHolder,
        /// Whether nothing was heard of it for too long, so that a reaper should look twice.
        is_silent: bool,
    },
    /// It is gone for certain.
    Gone(Lapsed),
}

/// A judgement that a holder is gone, which a later beat makes void.
pub(crate) struct Lapsed {
    pub process_id: i64,
    /// The beat that was judged; `None` if there was none.
    beat_ms: Option<i64>,
}

impl Lapsed {
    /// Whether the holder has not beaten since it was judged.
    pub fn still_holds(&self, reader: &dyn Reader) -> TxResult<bool> {
        Ok(reader.last_beat_ms(self.process_id)? == self.beat_ms)
    }
}

/// Judges the holders of locks, by their rows and by a look at them.
pub(crate) struct HolderJudge {
    native: Native,
}

impl HolderJudge {
    pub fn new() -> Result<Self> {
        Ok(Self { native: liveness::system()? })
    }

    /// Judges the process with this number in the registry. Never by how long it has held anything. Outside of any
    /// transaction.
    pub fn judge(&self, reader: &dyn Reader, process_id: i64, settings: &Settings) -> TxResult<Holder> {
        let now = Now::read(&self.native);
        let Some(record) = reader.registered_process(process_id, &now)? else {
            return Ok(Holder::Gone(Lapsed { process_id, beat_ms: reader.last_beat_ms(process_id)? }));
        };
        let state = self.state_of(&record);
        if state == HolderState::Gone {
            let beat_ms = record.beat.as_ref().map(|beat| beat.monotonic_ms);
            return Ok(Holder::Gone(Lapsed { process_id, beat_ms }));
        }
        let is_silent = record.is_silent(self.native.here(), now.monotonic_ms, settings);
        let holder = LockHolder {
            pid: record.process.pid,
            out_of_reach: self.out_of_reach(&record.process),
            name: record.process.name,
            process_id: Some(process_id),
            registered_at: Some(record.process.registered_at),
            held_for: Duration::ZERO,
            state,
        };
        Ok(Holder::Present { holder, is_silent })
    }

    /// What the process of a row is doing; gone, if another one has its PID or it belongs to an earlier boot.
    fn state_of(&self, record: &ProcessRecord) -> HolderState {
        let (process, here) = (&record.process, self.native.here());
        let sighting = liveness::is_near(process, here).then(|| self.native.look_at(process.pid));
        liveness::state(process, sighting.as_ref(), here)
    }

    fn out_of_reach(&self, process: &Process) -> Option<OutOfReach> {
        let here = self.native.here();
        if process.pid_namespace != here.pid_namespace {
            return Some(OutOfReach::AnotherNamespace);
        }
        (process.uid != here.uid).then_some(OutOfReach::AnotherUser)
    }

    /// What the process with this number in the registry is doing.
    pub fn look_at(&self, reader: &dyn Reader, process_id: i64) -> TxResult<HolderState> {
        let record = reader.registered_process(process_id, &Now::read(&self.native))?;
        Ok(record.map_or(HolderState::Gone, |record| {
            or_frozen(self.state_of(&record), &self.native, record.process.pid)
        }))
    }

    /// Looks once more at a holder that was waited for in vain: it may be frozen.
    pub fn look_closer(&self, holder: LockHolder) -> LockHolder {
        LockHolder { state: or_frozen(holder.state, &self.native, holder.pid), ..holder }
    }
}
