//! What the reaper sees before it judges: the rows, and what the operating system says about each.

use std::collections::HashMap;

use super::plan::{self, ReapPlan};
use crate::error::Result;
use crate::process::record::{self, Now, Record};
use crate::process::system::{Here, Sighting, System};
use crate::store::{Settings, Store};

/// The registry and its processes at one moment.
pub(in crate::process) struct Scene {
    here: Here,
    records: Vec<Record>,
    seen: Seen,
    looked_at_ms: i64,
}

/// What was seen, by `process_id`. Not by PID: a PID may come round to a process that registers just then.
pub(super) type Seen = HashMap<i64, Observation>;

/// What was seen of one registered process.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    pub process: Sighting,
    /// Its client, if one is registered.
    pub parent: Option<Sighting>,
    /// The reaper that claimed it: its PID, and what was seen there.
    pub claimant: Option<(u32, Sighting)>,
}

impl Scene {
    /// Looks at every registered process that this system can tell us about.
    pub fn look(store: &Store, system: &dyn System) -> Result<Self> {
        let now = Now::read(system);
        let records = store.read(|conn| record::registered(conn, &now))?;
        let here = system.here().clone();
        let seen = records
            .iter()
            .filter(|record| {
                let process = &record.process;
                process.boot_id == here.boot_id && process.pid_namespace == here.pid_namespace
            })
            .map(|record| (record.process.process_id, observe(record, system)))
            .collect();
        Ok(Self { looked_at_ms: now.monotonic_ms, here, records, seen })
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn looked_at_ms(&self) -> i64 {
        self.looked_at_ms
    }

    /// Judges `records` by what was seen: those of this scene, or the same rows as they are later.
    pub fn plan(
        &self,
        records: &[Record],
        now_ms: i64,
        settings: &Settings,
        caller: Option<i64>,
    ) -> ReapPlan {
        plan::plan(records, &self.seen, &self.here, now_ms, settings, caller)
    }
}

fn observe(record: &Record, system: &dyn System) -> Observation {
    let claimant = record.claim.as_ref().and_then(|claim| claim.claimant.as_ref());
    Observation {
        process: system.look_at(record.process.pid),
        parent: record.process.parent_pid.map(|pid| system.look_at(pid)),
        claimant: claimant.map(|claimant| (claimant.pid, system.look_at(claimant.pid))),
    }
}
