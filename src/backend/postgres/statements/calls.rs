//! Calls of the tools of wrapped servers.

use tokio_postgres::Row;

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, Statement, statement};
use crate::backend::statements::{CallReads, CallWrites, Transaction, TxResult};
use crate::model::{CallFigures, Timestamp, ToolCalls};

/// What goes of the hours of each tool, the oldest first: those before $1, and all but the newest $2; $3 of them at most.
macro_rules! surplus {
    () => {
        "SELECT server, tool, hour
         FROM (SELECT server, tool, hour, row_number() OVER (PARTITION BY server, tool ORDER BY hour DESC) AS age
               FROM tool_calls) AS hours
         WHERE coalesce(hour < $1, false) OR age > $2
         ORDER BY hour
         LIMIT $3"
    };
}

impl CallReads for Session<'_> {
    fn tool_calls(&self, since: Option<Timestamp>) -> TxResult<Vec<ToolCalls>> {
        let rows = self.rows(statement!(
            "SELECT server, tool, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors,
                    sum(total_us)::double precision AS total_us, max(max_us) AS max_us,
                    sum(within_1ms)::bigint AS within_1ms, sum(within_10ms)::bigint AS within_10ms,
                    sum(within_100ms)::bigint AS within_100ms, sum(within_1s)::bigint AS within_1s,
                    sum(within_10s)::bigint AS within_10s
             FROM tool_calls
             WHERE coalesce(hour >= date_trunc('hour', $1, 'UTC'), true)
             GROUP BY server, tool
             ORDER BY server, calls DESC, tool",
            since
        ))?;
        rows.iter().map(from_row).collect()
    }

    fn surplus_tool_calls(&self, kept: Option<u64>, before: Option<Timestamp>) -> TxResult<i64> {
        let counted =
            surplus(concat!("SELECT count(*) FROM (", surplus!(), ") AS surplus"), kept, before, i64::MAX);
        self.one_row(counted)?.take(0)
    }
}

impl CallWrites for Session<'_> {
    fn add_calls(&self, server: &str, figures: &CallFigures, most_tools: u32, others: &str) -> TxResult<()> {
        let within = figures.within;
        self.hold_back(statement!(
            "INSERT INTO tool_calls AS c (
               server, tool, hour, calls, errors, total_us, max_us, within_1ms, within_10ms, within_100ms, within_1s,
               within_10s
             )
             SELECT
               $1,
               CASE WHEN EXISTS (SELECT 1 FROM tool_calls WHERE server = $1 AND tool = $2 AND hour = h.hour)
                      OR (SELECT count(*) FROM tool_calls WHERE server = $1 AND hour = h.hour) < $4
                    THEN $2 ELSE $5 END,
               h.hour, $6, $7, $8, $9, $10, $11, $12, $13, $14
             FROM (SELECT date_trunc('hour', $3, 'UTC') AS hour) AS h
             ON CONFLICT (server, tool, hour) DO UPDATE SET
               calls = c.calls + excluded.calls,
               errors = c.errors + excluded.errors,
               total_us = least(c.total_us, 9223372036854775807 - excluded.total_us) + excluded.total_us,
               max_us = greatest(c.max_us, excluded.max_us),
               within_1ms = c.within_1ms + excluded.within_1ms,
               within_10ms = c.within_10ms + excluded.within_10ms,
               within_100ms = c.within_100ms + excluded.within_100ms,
               within_1s = c.within_1s + excluded.within_1s,
               within_10s = c.within_10s + excluded.within_10s",
            server,
            figures.tool.as_str(),
            self.at(),
            most_tools,
            others,
            figures.calls,
            figures.errors,
            figures.total_us,
            figures.max_us,
            within[0],
            within[1],
            within[2],
            within[3],
            within[4],
        ));
        Ok(())
    }

    fn remove_tool_calls(&self, kept: Option<u64>, before: Option<Timestamp>, rows: i64) -> TxResult<u64> {
        let sql = concat!("DELETE FROM tool_calls WHERE (server, tool, hour) IN (", surplus!(), ")");
        self.change(surplus(sql, kept, before, rows))
    }
}

/// A statement with the parameters of `surplus!`.
fn surplus(sql: &'static str, kept: Option<u64>, before: Option<Timestamp>, rows: i64) -> Statement {
    let kept = kept.map_or(i64::MAX, |kept| i64::try_from(kept).unwrap_or(i64::MAX).max(1));
    statement!(sql, before.map(Timestamp::full_hour), kept, rows)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of calls, for people")]
fn from_row(row: &Row) -> TxResult<ToolCalls> {
    let calls: u64 = row.whole("calls")?;
    let max_us: u64 = row.whole("max_us")?;
    let total_us: f64 = row.take("total_us")?;
    Ok(ToolCalls {
        server: row.take("server")?,
        tool: row.take("tool")?,
        calls,
        errors: row.whole("errors")?,
        mean_ms: total_us / calls as f64 / 1_000.0,
        max_ms: max_us as f64 / 1_000.0,
        within_1ms: row.whole("within_1ms")?,
        within_10ms: row.whole("within_10ms")?,
        within_100ms: row.whole("within_100ms")?,
        within_1s: row.whole("within_1s")?,
        within_10s: row.whole("within_10s")?,
    })
}
