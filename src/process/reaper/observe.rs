//! What the reaper sees before it judges: the rows, and what the operating system says about each.

use std::collections::HashMap;

use super::memory::Memory;
use super::plan::{self, Judge, ReapPlan};
use crate::error::Result;
use crate::file_id::{FileId, file_ids};
use crate::process::holder;
use crate::process::liveness::Observation;
use crate::process::record::{self, Now, Record};
use crate::process::system::{Here, System};
use crate::store::{Settings, Store};

/// The registry and its processes at one moment.
pub(in crate::process) struct Scene {
    here: Here,
    records: Vec<Record>,
    seen: Seen,
    looked_at_ms: i64,
    caller: Option<i64>,
}

/// What was seen, by `process_id`. Not by PID: a PID may come round to a process that registers just then.
pub(super) type Seen = HashMap<i64, Observation>;

impl Scene {
    /// Looks at every registered process that this system can tell us about, on behalf of this one.
    pub fn look(store: &Store, system: &dyn System) -> Result<Self> {
        let now = Now::read(system);
        let records = store.read(|conn| record::registered(conn, &now))?;
        let here = system.here().clone();
        let database = database_files(store);
        let seen = records
            .iter()
            .filter(|record| {
                let process = &record.process;
                process.boot_id == here.boot_id && process.pid_namespace == here.pid_namespace
            })
            .map(|record| (record.process.process_id, observe(record, system, &database)))
            .collect();
        let caller = store.member().process_id();
        Ok(Self { looked_at_ms: now.monotonic_ms, here, records, seen, caller })
    }

    /// Judges the records of this scene at the moment of the look.
    pub fn plan_now(&self, settings: &Settings, memory: &Memory) -> ReapPlan {
        self.plan(&self.records, self.looked_at_ms, settings, memory, 0)
    }

    /// Judges `records` by what was seen: the same rows as they are later. `newcomers` are about to register.
    pub fn plan(
        &self,
        records: &[Record],
        now_ms: i64,
        settings: &Settings,
        memory: &Memory,
        newcomers: usize,
    ) -> ReapPlan {
        let judge = Judge { here: &self.here, now_ms, settings, caller: self.caller, memory, newcomers };
        plan::plan(records, &self.seen, &judge)
    }
}

/// The files that whoever has the database open has open.
pub(in crate::process) fn database_files(store: &Store) -> Vec<FileId> {
    let database = store.path().canonicalize().unwrap_or_else(|_| store.path().to_owned());
    file_ids(&[holder::wal_index(&database), database])
}

/// Looks at one registered process of this PID namespace.
pub(in crate::process) fn observe(record: &Record, system: &dyn System, database: &[FileId]) -> Observation {
    let process = &record.process;
    let claimant = record.claim.as_ref().and_then(|claim| claim.claimant.as_ref());
    Observation {
        process: system.look_at(process.pid),
        has_database_open: system.has_open(process.pid, database),
        frozen: system.is_frozen(process.pid),
        parent: process.parent_pid.map(|pid| system.look_at(pid)),
        claimant: claimant.map(|claimant| (claimant.pid, system.look_at(claimant.pid))),
    }
}
