//! What a process costs: processor time and memory, for people.

use serde::Serialize;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate};

/// What a process uses of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Share of one processor since the process started, in percent.
    pub cpu_percent: f64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
}

/// What the process that has this PID uses now; `None` where that can't be told.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let pid = Pid::from_u32(pid);
    let mut system = sysinfo::System::new().ok()?;
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    let process = system.process(pid)?;
    let lived_ms = process.run_time().max(1) * 1_000;
    Some(Usage {
        cpu_percent: percent(process.accumulated_cpu_time(), lived_ms),
        memory_bytes: process.memory(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of one process")]
fn percent(part_ms: u64, whole_ms: u64) -> f64 {
    part_ms as f64 * 100.0 / whole_ms as f64
}
