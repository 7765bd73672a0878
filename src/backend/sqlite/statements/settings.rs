//! The settings row.

use rusqlite::{OptionalExtension, Row, named_params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{SettingsReads, SettingsWrites, TxResult};
use crate::error::Error;
use crate::model::Settings;

impl<C: OnConnection> SettingsReads for C {
    fn settings(&self) -> TxResult<Settings> {
        let mut statement = self.conn().prepare_cached(
            "SELECT risk_healthy_max, risk_degraded_max, coherence_healthy_min, coherence_degraded_min,
                    coherence_overrides_risk, heartbeat_interval_s, stale_after_s, max_processes, limit_policy,
                    terminate_grace_ms, lock_timeout_ms, history_limit, history_max_age_days, prune_automatically
             FROM settings WHERE settings_id = 1",
        )?;
        statement.query_row([], from_row).optional()?.ok_or_else(|| row_is_gone().into())
    }
}

impl SettingsWrites for WriteTransaction<'_> {
    fn save_settings(&self, settings: &Settings) -> TxResult<()> {
        self.conn()
            .prepare_cached(
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
               history_limit = :history_limit,
               history_max_age_days = :history_max_age_days,
               prune_automatically = :prune_automatically
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
                ":history_max_age_days": settings.history_max_age_days,
                ":prune_automatically": settings.prune_automatically,
            })?;
        Ok(())
    }
}

/// The settings, as the first fourteen columns of a row.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Settings> {
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
        history_max_age_days: row.get(12)?,
        prune_automatically: row.get(13)?,
    })
}

pub(super) fn row_is_gone() -> Error {
    let reason = "the row is gone; put it back with INSERT INTO settings (settings_id) VALUES (1)";
    Error::Unreadable { what: "settings".to_owned(), reason: reason.to_owned() }
}
