//! The settings of a database, typed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::HealthThresholds;
use crate::text_enum::text_enum;

/// Patience before the settings row could be read, and the row's default.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

text_enum! {
    /// What happens when more than `max_processes` are registered.
    #[non_exhaustive]
    pub enum LimitPolicy {
        /// Newcomers are let in, and nobody whose client lives is ended.
        Spare => "spare",
        /// Those that were not used for `stale_after_s` are ended, the longest unused first. If all are in use, a
        /// newcomer is refused.
        Evict => "evict",
        /// Newcomers are refused.
        Refuse => "refuse",
    }
}

/// The settings of a database, one row of typed columns.
///
/// Running processes follow a change without a restart, whether it was made with `govstore config set`, with
/// [`Store::set_setting`](crate::Store::set_setting) or with `UPDATE settings` in the `sqlite3` shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Risk below this is healthy.
    pub risk_healthy_max: f64,
    /// Risk below this is degraded; from it on, critical.
    pub risk_degraded_max: f64,
    /// Without a risk, coherence from this on is healthy.
    pub coherence_healthy_min: f64,
    /// Without a risk, coherence from this on is degraded; below it, critical.
    pub coherence_degraded_min: f64,
    /// Coherence below `coherence_degraded_min` is critical, whatever the risk.
    pub coherence_overrides_risk: bool,
    /// Seconds between two heartbeats of a process.
    pub heartbeat_interval_s: f64,
    /// A heartbeat older than this many seconds makes its process suspect; one that has not moved an interval later
    /// is stale.
    pub stale_after_s: f64,
    /// Registered processes that are meant to be there at once.
    pub max_processes: u32,
    /// What happens over `max_processes`.
    pub limit_policy: LimitPolicy,
    /// Milliseconds between SIGTERM and SIGKILL.
    pub terminate_grace_ms: u64,
    /// Milliseconds to wait for the write lock or for an agent's lock.
    pub lock_timeout_ms: u64,
    /// Updates to keep for each agent when pruning; `None` keeps all.
    pub history_limit: Option<u64>,
    /// Days after which pruning removes updates, events and what the reaper did; `None` keeps all.
    pub history_max_age_days: Option<f64>,
    /// Whether servers prune by themselves, when they start and once a day.
    pub prune_automatically: bool,
}

impl Settings {
    /// The names of all settings.
    pub const KEYS: [&str; 14] = [
        "risk_healthy_max",
        "risk_degraded_max",
        "coherence_healthy_min",
        "coherence_degraded_min",
        "coherence_overrides_risk",
        "heartbeat_interval_s",
        "stale_after_s",
        "max_processes",
        "limit_policy",
        "terminate_grace_ms",
        "lock_timeout_ms",
        "history_limit",
        "history_max_age_days",
        "prune_automatically",
    ];

    /// `heartbeat_interval_s` in milliseconds.
    pub(crate) fn heartbeat_interval_ms(&self) -> i64 {
        milliseconds(self.heartbeat_interval_s)
    }

    /// `stale_after_s` in milliseconds.
    pub(crate) fn stale_after_ms(&self) -> i64 {
        milliseconds(self.stale_after_s)
    }

    /// The boundaries between the health statuses.
    #[must_use]
    pub const fn health_thresholds(&self) -> HealthThresholds {
        HealthThresholds {
            risk_healthy_max: self.risk_healthy_max,
            risk_degraded_max: self.risk_degraded_max,
            coherence_healthy_min: self.coherence_healthy_min,
            coherence_degraded_min: self.coherence_degraded_min,
            coherence_overrides_risk: self.coherence_overrides_risk,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the schema allows a year at most")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}
