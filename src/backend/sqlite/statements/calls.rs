//! Calls of the tools of wrapped servers.

use rusqlite::{Row, named_params};

use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{CallReads, CallWrites, TxResult};
use crate::model::{CallFigures, Timestamp, ToolCalls};

/// What goes of the hours of each tool, the oldest first: those before ?1, and all but the newest ?2; ?3 of them at most.
macro_rules! surplus {
    () => {
        "SELECT server, tool, hour
         FROM (SELECT server, tool, hour, row_number() OVER (PARTITION BY server, tool ORDER BY hour DESC) AS age
               FROM tool_calls)
         WHERE hour < ?1 OR age > ?2
         ORDER BY hour
         LIMIT ?3"
    };
}

impl<C: OnConnection> CallReads for C {
    fn tool_calls(&self, since: Option<Timestamp>) -> TxResult<Vec<ToolCalls>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT server, tool, sum(calls) AS calls, sum(errors) AS errors, total(total_us) AS total_us,
                    max(max_us) AS max_us, sum(within_1ms) AS within_1ms, sum(within_10ms) AS within_10ms,
                    sum(within_100ms) AS within_100ms, sum(within_1s) AS within_1s, sum(within_10s) AS within_10s
             FROM tool_calls
             WHERE hour >= :since
             GROUP BY server, tool
             ORDER BY server, calls DESC, tool",
        )?;
        let since = since.map_or_else(String::new, |since| hour_of(&since.to_string()));
        let rows = statement.query_map(named_params! { ":since": since }, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn surplus_tool_calls(&self, kept: Option<u64>, before: Option<Timestamp>) -> TxResult<i64> {
        let mut statement = self.conn().prepare_cached(concat!("SELECT count(*) FROM (", surplus!(), ")"))?;
        Ok(statement.query_row(surplus(kept, before, i64::MAX), |row| row.get(0))?)
    }
}

impl CallWrites for WriteTransaction<'_> {
    fn add_calls(&self, server: &str, figures: &CallFigures, most_tools: u32, others: &str) -> TxResult<()> {
        let within = figures.within;
        self.conn()
            .prepare_cached(
                "INSERT INTO tool_calls (
                   server, tool, hour, calls, errors, total_us, max_us, within_1ms, within_10ms, within_100ms, within_1s,
                   within_10s
                 ) VALUES (
                   :server,
                   CASE WHEN EXISTS (SELECT 1 FROM tool_calls
                                     WHERE server = :server AND tool = :tool AND hour = :hour)
                          OR (SELECT count(*) FROM tool_calls WHERE server = :server AND hour = :hour) < :most_tools
                        THEN :tool ELSE :others END,
                   :hour, :calls, :errors, :total_us, :max_us, :within_1ms, :within_10ms, :within_100ms, :within_1s,
                   :within_10s
                 )
                 ON CONFLICT (server, tool, hour) DO UPDATE SET
                   calls = calls + excluded.calls,
                   errors = errors + excluded.errors,
                   total_us = min(total_us, 9223372036854775807 - excluded.total_us) + excluded.total_us,
                   max_us = max(max_us, excluded.max_us),
                   within_1ms = within_1ms + excluded.within_1ms,
                   within_10ms = within_10ms + excluded.within_10ms,
                   within_100ms = within_100ms + excluded.within_100ms,
                   within_1s = within_1s + excluded.within_1s,
                   within_10s = within_10s + excluded.within_10s",
            )?
            .execute(named_params! {
                ":server": server,
                ":tool": figures.tool,
                ":hour": hour_of(self.at_text()),
                ":most_tools": most_tools,
                ":others": others,
                ":calls": figures.calls,
                ":errors": figures.errors,
                ":total_us": figures.total_us.min(i64::MAX.unsigned_abs()),
                ":max_us": figures.max_us,
                ":within_1ms": within[0],
                ":within_10ms": within[1],
                ":within_100ms": within[2],
                ":within_1s": within[3],
                ":within_10s": within[4],
            })?;
        Ok(())
    }

    fn remove_tool_calls(&self, kept: Option<u64>, before: Option<Timestamp>, rows: i64) -> TxResult<u64> {
        let removed = self
            .conn()
            .prepare_cached(concat!(
                "DELETE FROM tool_calls WHERE (server, tool, hour) IN (",
                surplus!(),
                ")"
            ))?
            .execute(surplus(kept, before, rows))?;
        Ok(removed as u64)
    }
}

/// The parameters of `surplus!`.
fn surplus(kept: Option<u64>, before: Option<Timestamp>, rows: i64) -> impl rusqlite::Params {
    let before = before.map_or_else(String::new, |before| hour_of(&before.to_string()));
    let kept = kept.map_or(i64::MAX, |kept| i64::try_from(kept).unwrap_or(i64::MAX).max(1));
    (before, kept, rows)
}

/// The full hour that a moment lies in.
fn hour_of(at: &str) -> String {
    let hour = at.get(.."2026-01-01T00".len()).unwrap_or_default();
    format!("{hour}:00:00.000Z")
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of calls, for people")]
fn from_row(row: &Row<'_>) -> rusqlite::Result<ToolCalls> {
    let calls: u64 = row.get("calls")?;
    let (total_us, max_us): (f64, u64) = (row.get("total_us")?, row.get("max_us")?);
    Ok(ToolCalls {
        server: row.get("server")?,
        tool: row.get("tool")?,
        calls,
        errors: row.get("errors")?,
        mean_ms: total_us / calls as f64 / 1_000.0,
        max_ms: max_us as f64 / 1_000.0,
        within_1ms: row.get("within_1ms")?,
        within_10ms: row.get("within_10ms")?,
        within_100ms: row.get("within_100ms")?,
        within_1s: row.get("within_1s")?,
        within_10s: row.get("within_10s")?,
    })
}
