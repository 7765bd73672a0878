//! The settings row.

use tokio_postgres::Row;

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, statement};
use crate::backend::statements::{SettingsReads, SettingsWrites, TxResult};
use crate::error::Error;
use crate::model::Settings;

impl SettingsReads for Session<'_> {
    fn settings(&self) -> TxResult<Settings> {
        let found = self.row_or_none(statement!("SELECT * FROM settings WHERE settings_id = 1"))?;
        found.map_or_else(|| Err(row_is_gone().into()), |row| from_row(&row))
    }
}

/// What is looked at when a database is opened, by one statement.
pub struct AtOpen {
    pub settings: Settings,
    /// Of which database it is a copy that is not finished.
    pub copied_from: Option<String>,
    /// Whether its server waits for no standby.
    pub is_alone: bool,
    /// The same for whoever opens it, and for no other database.
    pub id: String,
}

impl Session<'_> {
    pub fn at_open(&self) -> TxResult<AtOpen> {
        let found = self.row_or_none(statement!(
            "SELECT s.*, (SELECT copied_from FROM unfinished_copy) AS copied_from,
                    current_setting('synchronous_standby_names') = '' AS is_alone,
                    concat_ws('-', (SELECT oid FROM pg_database WHERE datname = current_database()),
                              'govstore_schema'::regclass::oid,
                              (SELECT extract(epoch FROM min(applied_at)) FROM govstore_schema)) AS id
             FROM settings AS s WHERE settings_id = 1"
        ))?;
        let row = found.ok_or_else(row_is_gone)?;
        Ok(AtOpen {
            settings: from_row(&row)?,
            copied_from: row.take("copied_from")?,
            is_alone: row.take("is_alone")?,
            id: row.take("id")?,
        })
    }
}

impl SettingsWrites for Session<'_> {
    fn settings_to_change(&self) -> TxResult<Settings> {
        let found =
            self.row_or_none(statement!("SELECT * FROM settings WHERE settings_id = 1 FOR UPDATE"))?;
        found.map_or_else(|| Err(row_is_gone().into()), |row| from_row(&row))
    }

    fn save_settings(&self, settings: &Settings) -> TxResult<()> {
        self.change(statement!(
            "UPDATE settings SET
               risk_healthy_max = $1, risk_degraded_max = $2, coherence_healthy_min = $3, coherence_degraded_min = $4,
               coherence_overrides_risk = $5, heartbeat_interval_s = $6, stale_after_s = $7, max_processes = $8,
               limit_policy = $9, terminate_grace_ms = $10, lock_timeout_ms = $11, history_limit = $12,
               history_max_age_days = $13, prune_automatically = $14
             WHERE settings_id = 1",
            settings.risk_healthy_max,
            settings.risk_degraded_max,
            settings.coherence_healthy_min,
            settings.coherence_degraded_min,
            settings.coherence_overrides_risk,
            settings.heartbeat_interval_s,
            settings.stale_after_s,
            settings.max_processes,
            settings.limit_policy.as_str(),
            settings.terminate_grace_ms,
            settings.lock_timeout_ms,
            settings.history_limit,
            settings.history_max_age_days,
            settings.prune_automatically,
        ))
        .map(drop)
    }
}

/// The settings, by the names of their columns.
pub(super) fn from_row(row: &Row) -> TxResult<Settings> {
    Ok(Settings {
        risk_healthy_max: row.take("risk_healthy_max")?,
        risk_degraded_max: row.take("risk_degraded_max")?,
        coherence_healthy_min: row.take("coherence_healthy_min")?,
        coherence_degraded_min: row.take("coherence_degraded_min")?,
        coherence_overrides_risk: row.take("coherence_overrides_risk")?,
        heartbeat_interval_s: row.take("heartbeat_interval_s")?,
        stale_after_s: row.take("stale_after_s")?,
        max_processes: row.whole("max_processes")?,
        limit_policy: row.parsed("limit_policy")?,
        terminate_grace_ms: row.whole("terminate_grace_ms")?,
        lock_timeout_ms: row.whole("lock_timeout_ms")?,
        history_limit: row.whole_or_null("history_limit")?,
        history_max_age_days: row.take("history_max_age_days")?,
        prune_automatically: row.take("prune_automatically")?,
    })
}

pub(super) fn row_is_gone() -> Error {
    let reason = "the row is gone; put it back with INSERT INTO settings (settings_id) VALUES (1)";
    Error::Unreadable { what: "settings".to_owned(), reason: reason.to_owned() }
}
