//! The reaper's ledger. Append only.

use std::collections::HashMap;

use rusqlite::{Row, named_params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{LedgerReads, LedgerWrites, TxResult};
use crate::model::{Process, ReapEvent, Timestamp};

/// Entries with the client that the victim served, for as long as the registry remembers the victim: what [`from_row`]
/// reads.
macro_rules! select_reap_events {
    ($entries:literal, $rest:literal) => {
        concat!(
            "SELECT e.*, p.client_name, p.client_version
             FROM ",
            $entries,
            " AS e
             LEFT JOIN processes AS p ON p.process_id = e.process_id
             ",
            $rest
        )
    };
}

impl<C: OnConnection> LedgerReads for C {
    fn reap_events(&self, last: u32) -> TxResult<Vec<ReapEvent>> {
        let mut statement = self.conn().prepare_cached(select_reap_events!(
            "(SELECT * FROM reap_events ORDER BY reap_event_id DESC LIMIT :last)",
            "ORDER BY e.reap_event_id"
        ))?;
        let rows = statement.query_map(named_params! { ":last": last }, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn reap_events_after(&self, reap_event_id: i64, limit: u32) -> TxResult<Vec<ReapEvent>> {
        let mut statement = self.conn().prepare_cached(select_reap_events!(
            "reap_events",
            "WHERE e.reap_event_id > :reap_event_id
             ORDER BY e.reap_event_id
             LIMIT :limit"
        ))?;
        let parameters = named_params! { ":reap_event_id": reap_event_id, ":limit": limit };
        let rows = statement.query_map(parameters, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn surplus_reap_events(&self, kept: Option<u64>, before: Option<Timestamp>) -> TxResult<(i64, i64)> {
        let mut statement = self.conn().prepare_cached(
            "WITH surplus (up_to) AS (
               SELECT max(
                 iif(:kept IS NULL, 0, coalesce((
                   SELECT reap_event_id FROM reap_events
                   ORDER BY reap_event_id DESC LIMIT 1 OFFSET coalesce(:kept, 0)), 0)),
                 iif(:before IS NULL, 0, coalesce((
                   SELECT max(reap_event_id) FROM reap_events
                   WHERE recorded_at < :before AND reap_event_id < coalesce(
                     (SELECT min(reap_event_id) FROM reap_events WHERE recorded_at >= :before),
                     9223372036854775807)), 0)))
             )
             SELECT up_to, (SELECT count(*) FROM reap_events WHERE reap_event_id <= up_to) FROM surplus",
        )?;
        let parameters = named_params! {
            ":kept": kept.map(|kept| i64::try_from(kept).unwrap_or(i64::MAX)),
            ":before": before.map(|at| at.to_string()),
        };
        Ok(statement.query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    fn reaped_from(&self, first_process_id: i64) -> TxResult<HashMap<i64, ReapEvent>> {
        let mut statement = self.conn().prepare_cached(select_reap_events!(
            "reap_events",
            "WHERE e.process_id >= :first_process_id
               AND e.outcome IN ('terminated', 'killed', 'gone', 'forgotten')
             ORDER BY e.reap_event_id"
        ))?;
        let rows = statement.query_map(named_params! { ":first_process_id": first_process_id }, from_row)?;
        Ok(rows.map(|event| event.map(|event| (event.process_id, event))).collect::<rusqlite::Result<_>>()?)
    }
}

impl LedgerWrites for WriteTransaction<'_> {
    fn remove_reap_events(&self, up_to: i64, rows: i64) -> TxResult<u64> {
        let removed = self
            .conn()
            .prepare_cached(
                "DELETE FROM reap_events WHERE reap_event_id IN (
                   SELECT reap_event_id FROM reap_events WHERE reap_event_id <= :up_to
                   ORDER BY reap_event_id LIMIT :rows)",
            )?
            .execute(named_params! { ":up_to": up_to, ":rows": rows })?;
        Ok(removed as u64)
    }

    fn append_reap_event(&self, event: &ReapEvent, process: &Process, kept: i64) -> TxResult<i64> {
        let reap_event_id = self
            .conn()
            .prepare_cached(
                "INSERT INTO reap_events (
                   recorded_at, process_id, name, version, pid, boot_id, pid_namespace, start_ticks, verdict, evidence,
                   heartbeat_age_ms, activity_age_ms, claimed_at, signals, took_ms, outcome, reaper_pid,
                   reaper_process_id
                 ) VALUES (
                   :recorded_at, :process_id, :name, :version, :pid, :boot_id, :pid_namespace, :start_ticks, :verdict,
                   :evidence, :heartbeat_age_ms, :activity_age_ms, :claimed_at, :signals, :took_ms, :outcome,
                   :reaper_pid, :reaper_process_id
                 )",
            )?
            .insert(named_params! {
                ":recorded_at": event.recorded_at.to_string(),
                ":process_id": event.process_id,
                ":name": event.name,
                ":version": event.version,
                ":pid": event.pid,
                ":boot_id": process.boot_id,
                ":pid_namespace": process.pid_namespace,
                ":start_ticks": process.start_ticks,
                ":verdict": event.verdict.as_str(),
                ":evidence": event.evidence,
                ":heartbeat_age_ms": event.heartbeat_age_ms,
                ":activity_age_ms": event.activity_age_ms,
                ":claimed_at": event.claimed_at.map(|at| at.to_string()),
                ":signals": event.signals,
                ":took_ms": event.took_ms,
                ":outcome": event.outcome.as_str(),
                ":reaper_pid": event.reaper_pid,
                ":reaper_process_id": event.reaper_process_id,
            })?;
        self.conn()
            .prepare_cached("DELETE FROM reap_events WHERE reap_event_id <= :newest - :kept")?
            .execute(named_params! { ":newest": reap_event_id, ":kept": kept })?;
        Ok(reap_event_id)
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ReapEvent> {
    Ok(ReapEvent {
        reap_event_id: row.get("reap_event_id")?,
        recorded_at: row.get::<_, Parsed<_>>("recorded_at")?.0,
        process_id: row.get("process_id")?,
        name: row.get("name")?,
        version: row.get("version")?,
        client_name: row.get("client_name")?,
        client_version: row.get("client_version")?,
        pid: row.get("pid")?,
        verdict: row.get::<_, Parsed<_>>("verdict")?.0,
        evidence: row.get("evidence")?,
        heartbeat_age_ms: row.get("heartbeat_age_ms")?,
        activity_age_ms: row.get("activity_age_ms")?,
        claimed_at: row.get::<_, Option<Parsed<_>>>("claimed_at")?.map(|parsed| parsed.0),
        signals: row.get("signals")?,
        took_ms: row.get("took_ms")?,
        outcome: row.get::<_, Parsed<_>>("outcome")?.0,
        reaper_pid: row.get("reaper_pid")?,
        reaper_process_id: row.get("reaper_process_id")?,
    })
}
