//! A process that a reaper took, and how it ended.

use std::time::Duration;

use crate::model::{Judgement, Outcome, Timestamp};
use crate::os::Signal;

/// How long a process may take to go after SIGKILL before the reaper says that it survived.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at the victims.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// A process that this reaper, and nobody else, is to end.
pub(crate) struct Victim {
    pub judgement: Judgement,
    pub claimed_at: Timestamp,
    /// Identifies the claim, together with the reaper.
    pub until_monotonic_ms: i64,
    pub grace_ms: u64,
}

/// How one victim ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub outcome: Outcome,
    pub signals: Vec<Signal>,
    /// From the first signal to the outcome.
    pub took: Duration,
    /// Why the system refused, if it did.
    pub refusal: Option<String>,
}
