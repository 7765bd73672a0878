//! A process that a reaper took, and how it ended.

use std::time::Duration;

use crate::model::{Judgement, Outcome, Timestamp};
use crate::os::Signal;

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
