//! What the reaper sees before it judges: the rows, and what the operating system says about each.

use super::memory::Memory;
use super::plan::{self, Judge, Seen};
use crate::liveness::{is_near, observe};
use crate::model::{Now, ProcessRecord, ReapPlan, Settings};
use crate::os::{Here, Mark, System};

/// The registry and its processes at one moment.
pub(crate) struct Scene {
    here: Here,
    records: Vec<ProcessRecord>,
    seen: Seen,
    looked_at_ms: i64,
    caller: Option<i64>,
}

impl Scene {
    /// Looks at every process in `records` that this system can tell us about, on behalf of `caller`.
    pub fn look(
        records: Vec<ProcessRecord>,
        now: &Now<'_>,
        system: &dyn System,
        mark: &Mark,
        caller: Option<i64>,
    ) -> Self {
        let here = system.here().clone();
        let seen = records
            .iter()
            .filter(|record| is_near(&record.process, &here))
            .map(|record| (record.process.process_id, observe(record, system, mark)))
            .collect();
        Self { looked_at_ms: now.monotonic_ms, here, records, seen, caller }
    }

    /// Judges the records of this scene at the moment of the look.
    pub fn plan_now(&self, settings: &Settings, memory: &Memory) -> ReapPlan {
        self.plan(&self.records, self.looked_at_ms, settings, memory, 0)
    }

    /// Judges `records` by what was seen: the same rows as they are later. `newcomers` are about to register.
    pub fn plan(
        &self,
        records: &[ProcessRecord],
        now_ms: i64,
        settings: &Settings,
        memory: &Memory,
        newcomers: usize,
    ) -> ReapPlan {
        let judge = Judge { here: &self.here, now_ms, settings, caller: self.caller, memory, newcomers };
        plan::plan(records, &self.seen, &judge)
    }
}
