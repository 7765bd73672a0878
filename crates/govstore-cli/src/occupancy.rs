//! Whether more servers are registered than `max_processes`, and what follows from that.

use govstore::{LimitPolicy, ReapPlan, Settings};
use serde::Serialize;

/// How many servers there are, beside how many are meant to be.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Occupancy {
    max_processes: u32,
    occupants: usize,
    over_limit: bool,
    #[serde(skip)]
    policy: LimitPolicy,
}

impl Occupancy {
    pub fn of(plan: &ReapPlan, settings: &Settings) -> Self {
        let (max_processes, occupants) = (settings.max_processes, plan.occupants().count());
        let over_limit = occupants > max_processes as usize;
        Self { max_processes, occupants, over_limit, policy: settings.limit_policy }
    }

    /// A sentence, where there are too many.
    pub fn passed(&self) -> Option<String> {
        let Self { max_processes, occupants, policy, .. } = self;
        let what_follows = match policy {
            LimitPolicy::Spare => "none whose client lives is ended for it",
            LimitPolicy::Evict => {
                "those that nobody has used for stale_after_s are ended, longest unused first"
            }
            LimitPolicy::Refuse => "newcomers are refused, and none is ended for it",
            _ => "`govstore config get` says what follows",
        };
        self.over_limit.then(|| {
            format!(
                "{occupants} servers are registered, over max_processes {max_processes}; limit_policy is \
                 {policy}: {what_follows}"
            )
        })
    }
}
