//! The settings row: typed, checked by the schema, followed by running processes.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::column::Parsed;
use super::{Store, TxResult};
use crate::error::{Error, Result};
use crate::health::HealthThresholds;
use crate::text_enum::text_enum;

/// Patience before the settings row could be read, and the row's default.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

text_enum! {
    /// What happens when more than `max_processes` are registered.
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
/// [`Store::set_setting`] or with `UPDATE settings` in the `sqlite3` shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
}

impl Settings {
    /// The names of all settings.
    pub const KEYS: [&str; 12] = [
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

    /// The same settings with `key` set to what `value` spells.
    fn with(&self, key: &str, value: &str) -> Result<Self> {
        let mut fields = serde_json::to_value(self).unwrap_or_default();
        let Some(field) = fields.get_mut(key) else {
            return Err(Error::UnknownSetting { key: key.to_owned() });
        };
        let takes = match field {
            Value::Bool(_) => "true or false",
            Value::String(_) => "spare, evict or refuse",
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) if key != "history_limit" => "a whole number from 0 on",
            _ => "a whole number from 1 on, or none",
        };
        *field = match (value, &*field) {
            ("0" | "false", Value::Bool(_)) => Value::Bool(false),
            ("1" | "true", Value::Bool(_)) => Value::Bool(true),
            ("none" | "NULL", _) => Value::Null,
            _ => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
        };
        serde_json::from_value(fields).map_err(|_| Error::InvalidSetting {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: format!("it takes {takes}"),
        })
    }
}

impl Store {
    /// The settings as they are now.
    pub fn settings(&self) -> Result<Settings> {
        let settings = self.read(read)?;
        self.follow(&settings);
        Ok(settings)
    }

    /// Changes one setting and returns them all. `value` is spelled as on the command line: a number,
    /// `true` or `false`, `spare`, `evict` or `refuse`, `none` for no limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// store.set_setting("risk_degraded_max", "0.4")?;
    /// assert_eq!(store.settings()?.risk_degraded_max, 0.4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSetting`], or [`Error::InvalidSetting`] with the rule that the value breaks.
    pub fn set_setting(&self, key: &str, value: &str) -> Result<Settings> {
        let changed = self.write(|tx| {
            let settings = read(tx)?.with(key, value)?;
            write(tx, &settings)?;
            Ok(settings)
        });
        let settings = changed.map_err(|e| match e {
            Error::Constraint { rule } => {
                Error::InvalidSetting { key: key.to_owned(), value: value.to_owned(), reason: rule }
            }
            other => other,
        })?;
        self.follow(&settings);
        Ok(settings)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the schema allows a year at most")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// Reads the settings row.
pub(crate) fn read(conn: &Connection) -> TxResult<Settings> {
    let mut statement = conn.prepare_cached(
        "SELECT risk_healthy_max, risk_degraded_max, coherence_healthy_min, coherence_degraded_min,
                coherence_overrides_risk, heartbeat_interval_s, stale_after_s, max_processes, limit_policy,
                terminate_grace_ms, lock_timeout_ms, history_limit
         FROM settings WHERE settings_id = 1",
    )?;
    // In the order of the SELECT: every update reads this row, and finding columns by name takes time.
    let settings = statement
        .query_row([], |row| {
            Ok(Settings {
                risk_healthy_max: row.get(0)?,
                risk_degraded_max: row.get(1)?,
                coherence_healthy_min: row.get(2)?,
                coherence_degraded_min: row.get(3)?,
                coherence_overrides_risk: row.get(4)?,
                heartbeat_interval_s: row.get(5)?,
                stale_after_s: row.get(6)?,
                max_processes: row.get(7)?,
                limit_policy: row.get::<_, Parsed<_>>(8)?.0,
                terminate_grace_ms: row.get(9)?,
                lock_timeout_ms: row.get(10)?,
                history_limit: row.get(11)?,
            })
        })
        .optional()?;
    settings.ok_or_else(|| {
        let reason = "the row is gone; put it back with INSERT INTO settings (settings_id) VALUES (1)";
        Error::Unreadable { what: "settings".to_owned(), reason: reason.to_owned() }.into()
    })
}

fn write(conn: &Connection, settings: &Settings) -> TxResult<()> {
    conn.prepare_cached(
        "UPDATE settings SET
           risk_healthy_max = :risk_healthy_max,
           risk_degraded_max = :risk_degraded_max,
           coherence_healthy_min = :coherence_healthy_min,
           coherence_degraded_min = :coherence_degraded_min,
           coherence_overrides_risk = :coherence_overrides_risk,
           heartbeat_interval_s = :heartbeat_interval_s,
           stale_after_s = :stale_after_s,
           max_processes = :max_processes,
           limit_policy = :limit_policy,
           terminate_grace_ms = :terminate_grace_ms,
           lock_timeout_ms = :lock_timeout_ms,
           history_limit = :history_limit
         WHERE settings_id = 1",
    )?
    .execute(named_params! {
        ":risk_healthy_max": settings.risk_healthy_max,
        ":risk_degraded_max": settings.risk_degraded_max,
        ":coherence_healthy_min": settings.coherence_healthy_min,
        ":coherence_degraded_min": settings.coherence_degraded_min,
        ":coherence_overrides_risk": settings.coherence_overrides_risk,
        ":heartbeat_interval_s": settings.heartbeat_interval_s,
        ":stale_after_s": settings.stale_after_s,
        ":max_processes": settings.max_processes,
        ":limit_policy": settings.limit_policy.as_str(),
        ":terminate_grace_ms": settings.terminate_grace_ms,
        ":lock_timeout_ms": settings.lock_timeout_ms,
        ":history_limit": settings.history_limit,
    })?;
    Ok(())
}
