//! The reaper's ledger. Append only.

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, statement};
use crate::backend::statements::{LedgerReads, LedgerWrites, TxResult};
use crate::model::{Process, ReapEvent, Timestamp};

/// Entries with the client that the victim served, for as long as the registry remembers the victim: what [`from_row`]
/// reads.
macro_rules! select_reap_events {
    ($entries:literal, $rest:literal) => {
        concat!(
            "SELECT e.*, p.client_name, p.client_version FROM ",
            $entries,
            " AS e LEFT JOIN processes AS p ON p.process_id = e.process_id ",
            $rest
        )
    };
}

impl LedgerReads for Session<'_> {
    fn reap_events(&self, last: u32) -> TxResult<Vec<ReapEvent>> {
        let rows = self.rows(statement!(
            select_reap_events!(
                "(SELECT * FROM reap_events ORDER BY reap_event_id DESC LIMIT $1)",
                "ORDER BY e.reap_event_id"
            ),
            last
        ))?;
        rows.iter().map(from_row).collect()
    }

    fn reap_events_after(&self, reap_event_id: i64, limit: u32) -> TxResult<Vec<ReapEvent>> {
        let rows = self.rows(statement!(
            select_reap_events!(
                "reap_events",
                "WHERE e.reap_event_id > $1 ORDER BY e.reap_event_id LIMIT $2"
            ),
            reap_event_id,
            limit
        ))?;
        rows.iter().map(from_row).collect()
    }

    fn surplus_reap_events(&self, kept: Option<u64>, before: Option<Timestamp>) -> TxResult<(i64, i64)> {
        let row = self.one_row(statement!(
            "WITH surplus (up_to) AS (
               SELECT greatest(
                 CASE WHEN $1 IS NULL THEN 0 ELSE coalesce((
                   SELECT reap_event_id FROM reap_events
                   ORDER BY reap_event_id DESC LIMIT 1 OFFSET coalesce($1, 0)), 0) END,
                 CASE WHEN $2 IS NULL THEN 0 ELSE coalesce((
                   SELECT max(reap_event_id) FROM reap_events
                   WHERE recorded_at < $2 AND reap_event_id < coalesce(
                     (SELECT min(reap_event_id) FROM reap_events WHERE recorded_at >= $2),
                     9223372036854775807)), 0) END)
             )
             SELECT up_to, (SELECT count(*) FROM reap_events WHERE reap_event_id <= up_to) FROM surplus",
            kept,
            before,
        ))?;
        Ok((row.take(0)?, row.take(1)?))
    }

    fn reaped_from(&self, first_process_id: i64) -> TxResult<HashMap<i64, ReapEvent>> {
        let rows = self.rows(statement!(
            select_reap_events!(
                "reap_events",
                "WHERE e.process_id >= $1 AND e.outcome IN ('terminated', 'killed', 'gone', 'forgotten')
                 ORDER BY e.reap_event_id"
            ),
            first_process_id
        ))?;
        rows.iter().map(|row| from_row(row).map(|event| (event.process_id, event))).collect()
    }
}

impl LedgerWrites for Session<'_> {
    fn remove_reap_events(&self, up_to: i64, rows: i64) -> TxResult<u64> {
        self.change(statement!(
            "DELETE FROM reap_events WHERE reap_event_id IN (
               SELECT reap_event_id FROM reap_events WHERE reap_event_id <= $1 ORDER BY reap_event_id LIMIT $2)",
            up_to,
            rows
        ))
    }

    fn append_reap_event(&self, event: &ReapEvent, process: &Process, kept: i64) -> TxResult<i64> {
        let row = self.change_returning(statement!(
            "INSERT INTO reap_events (
               recorded_at, process_id, name, version, pid, boot_id, pid_namespace, start_ticks, verdict, evidence,
               heartbeat_age_ms, activity_age_ms, claimed_at, signals, took_ms, outcome, reaper_pid, reaper_process_id
             ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
             RETURNING reap_event_id",
            event.recorded_at,
            event.process_id,
            event.name.as_str(),
            event.version.as_str(),
            event.pid,
            process.boot_id.as_str(),
            process.pid_namespace,
            process.start_ticks,
            event.verdict.as_str(),
            event.evidence.as_str(),
            event.heartbeat_age_ms,
            event.activity_age_ms,
            event.claimed_at,
            event.signals.as_str(),
            event.took_ms,
            event.outcome.as_str(),
            event.reaper_pid,
            event.reaper_process_id,
        ))?;
        let reap_event_id: i64 = row.take("reap_event_id")?;
        self.hold_back(statement!("DELETE FROM reap_events WHERE reap_event_id <= $1", reap_event_id - kept));
        Ok(reap_event_id)
    }
}

pub(super) fn from_row(row: &Row) -> TxResult<ReapEvent> {
    Ok(ReapEvent {
        reap_event_id: row.take("reap_event_id")?,
        recorded_at: row.time("recorded_at")?,
        process_id: row.take("process_id")?,
        name: row.take("name")?,
        version: row.take("version")?,
        client_name: row.take("client_name")?,
        client_version: row.take("client_version")?,
        pid: row.whole("pid")?,
        verdict: row.parsed("verdict")?,
        evidence: row.take("evidence")?,
        heartbeat_age_ms: row.whole_or_null("heartbeat_age_ms")?,
        activity_age_ms: row.whole_or_null("activity_age_ms")?,
        claimed_at: row.time_or_null("claimed_at")?,
        signals: row.take("signals")?,
        took_ms: row.whole_or_null("took_ms")?,
        outcome: row.parsed("outcome")?,
        reaper_pid: row.whole("reaper_pid")?,
        reaper_process_id: row.take("reaper_process_id")?,
    })
}
