//! History: one row an update.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{HistoryReads, HistoryWrites, Receipt, Transaction, TxResult};
use crate::governance::{Assessment, Patterns, RiskBasis, State};
use crate::health::Health;
use crate::model::{HistoryRow, KeyedUpdate, SurplusHistory, Timestamp, WindowStatistics};

const DIGEST_BYTES: usize = size_of::<u64>();
const RECEIPT_BYTES: usize = DIGEST_BYTES + size_of::<i64>();

/// The column `key_receipt`.
fn receipt_bytes(digest: u64, update_count: i64) -> [u8; RECEIPT_BYTES] {
    let mut bytes = [0; RECEIPT_BYTES];
    bytes[..DIGEST_BYTES].copy_from_slice(&digest.to_le_bytes());
    bytes[DIGEST_BYTES..].copy_from_slice(&update_count.to_le_bytes());
    bytes
}

/// An agent's newest updates, oldest first.
macro_rules! newest_updates {
    ($condition:literal) => {
        concat!(
            "SELECT * FROM (
               SELECT update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                      risk_score, void_active, elapsed, decision, decision_reason, health_status, complexity,
                      text_length, patterns, key
               FROM agent_updates
               WHERE agent_id = :agent_id ",
            $condition,
            "
               ORDER BY update_no DESC
               LIMIT coalesce(:last, -1)
             )
             ORDER BY update_no"
        )
    };
}

impl<C: OnConnection> HistoryReads for C {
    fn history(&self, agent_id: &str, before: Option<i64>, last: Option<u32>) -> TxResult<Vec<HistoryRow>> {
        // SQLite plans anew for each value that a range is compared with, and for each that is a limit by itself: so there
        // is a range only where it is asked for, and the limit is an expression. A negative one is none.
        let mut statement = self.conn().prepare_cached(match before {
            None => newest_updates!(""),
            Some(_) => newest_updates!("AND update_no < :before"),
        })?;
        let rows = match before {
            None => statement.query_map(named_params! { ":agent_id": agent_id, ":last": last }, from_row)?,
            Some(before) => statement.query_map(
                named_params! { ":agent_id": agent_id, ":before": before, ":last": last },
                from_row,
            )?,
        };
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn window_statistics(&self, agent_id: &str, window: i64, void_limit: f64) -> TxResult<WindowStatistics> {
        let mut statement = self.conn().prepare_cached(
            "SELECT
               count(*) AS history_size,
               coalesce(avg(u.risk_score), 0.0) AS mean_risk,
               coalesce(avg(abs(u.void_integral) > :void_limit), 0.0) AS void_frequency,
               count(*) FILTER (WHERE u.decision = 'approve') AS approve,
               count(*) FILTER (WHERE u.decision = 'revise') AS revise,
               count(*) FILTER (WHERE u.decision = 'reject') AS reject
             FROM agents AS a
             JOIN agent_updates AS u
               ON u.agent_id = a.agent_id AND u.update_no > a.total_updates - min(a.update_count, :window)
             WHERE a.agent_id = :agent_id",
        )?;
        let parameters = named_params! {
            ":agent_id": agent_id,
            ":void_limit": void_limit,
            ":window": window,
        };
        Ok(statement.query_row(parameters, |row| {
            Ok(WindowStatistics {
                history_size: row.get("history_size")?,
                mean_risk: row.get("mean_risk")?,
                void_frequency: row.get("void_frequency")?,
                approve: row.get("approve")?,
                revise: row.get("revise")?,
                reject: row.get("reject")?,
            })
        })?)
    }

    /// Old rows are those before the first that is young enough: a clock that was set back makes no gap. Rows without a
    /// time, which were imported, are as old as the next one that has one.
    fn surplus_history(
        &self,
        history_limit: Option<u64>,
        before: Option<Timestamp>,
        window: i64,
    ) -> TxResult<Vec<SurplusHistory>> {
        let mut statement = self.conn().prepare_cached(
            // Each step is computed once an agent: in one statement, a search for the first young row would be made anew
            // for each old one.
            "WITH ends AS MATERIALIZED (
               SELECT
                 a.agent_id, a.total_updates, a.update_count,
                 iif(:before IS NULL, NULL, (
                   SELECT u.update_no FROM agent_updates AS u
                   WHERE u.agent_id = a.agent_id AND u.applied_at >= :before
                   ORDER BY u.update_no LIMIT 1)) AS young_update,
                 iif(:before IS NULL, NULL, (
                   SELECT e.event_id FROM agent_events AS e
                   WHERE e.agent_id = a.agent_id AND e.occurred_at >= :before
                   ORDER BY e.event_id LIMIT 1)) AS young_event,
                 (SELECT max(e.event_id) FROM agent_events AS e WHERE e.agent_id = a.agent_id) AS newest_event,
                 coalesce((SELECT e.event_id FROM agent_events AS e
                           WHERE e.agent_id = a.agent_id AND e.event <> 'health_changed'
                           ORDER BY e.event_id DESC LIMIT 1), 0) AS kept_event
               FROM agents AS a
             ),
             limits AS MATERIALIZED (
               SELECT
                 n.agent_id, n.total_updates, n.newest_event, n.kept_event,
                 iif(:history_limit IS NULL, 0, n.total_updates - :history_limit) AS wanted,
                 iif(:history_limit IS NULL, 0, n.total_updates - max(:history_limit, min(n.update_count, :window)))
                   AS by_number,
                 iif(:before IS NULL, 0, coalesce((
                   SELECT u.update_no FROM agent_updates AS u
                   WHERE u.agent_id = n.agent_id AND u.applied_at < :before
                     AND u.update_no < coalesce(n.young_update, n.total_updates)
                   ORDER BY u.update_no DESC LIMIT 1), 0)) AS by_age,
                 iif(:history_limit IS NULL, 0, coalesce((
                   SELECT e.event_id FROM agent_events AS e WHERE e.agent_id = n.agent_id
                   ORDER BY e.event_id DESC LIMIT 1 OFFSET coalesce(:history_limit, 0)), 0)) AS events_by_number,
                 iif(:before IS NULL, 0, coalesce((
                   SELECT e.event_id FROM agent_events AS e
                   WHERE e.agent_id = n.agent_id AND e.occurred_at < :before
                     AND e.event_id < coalesce(n.young_event, 9223372036854775807)
                   ORDER BY e.event_id DESC LIMIT 1), 0)) AS events_by_age
               FROM ends AS n
             ),
             surplus AS MATERIALIZED (
               SELECT
                 agent_id, wanted, kept_event,
                 min(max(by_number, by_age), total_updates - 1) AS updates_up_to,
                 min(max(events_by_number, events_by_age), coalesce(newest_event, 0) - 1) AS events_up_to
               FROM limits
             ),
             counted AS MATERIALIZED (
               SELECT
                 *,
                 (SELECT count(*) FROM agent_updates AS u
                  WHERE u.agent_id = s.agent_id AND u.update_no <= s.updates_up_to) AS updates,
                 (SELECT count(*) FROM agent_updates AS u
                  WHERE u.agent_id = s.agent_id AND u.update_no > s.updates_up_to AND u.update_no <= s.wanted)
                   AS kept_for_statistics,
                 (SELECT count(*) FROM agent_events AS e
                  WHERE e.agent_id = s.agent_id AND e.event_id <= s.events_up_to AND e.event_id <> s.kept_event
                    AND e.event_id <> (SELECT min(event_id) FROM agent_events)) AS events
               FROM surplus AS s
             )
             SELECT agent_id, updates_up_to, updates, kept_for_statistics, events_up_to, kept_event, events
             FROM counted
             WHERE updates > 0 OR events > 0 OR kept_for_statistics > 0",
        )?;
        let parameters = named_params! {
            ":history_limit": history_limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            ":before": before.map(|at| at.to_string()),
            ":window": window,
        };
        let rows = statement.query_map(parameters, |row| {
            Ok(SurplusHistory {
                agent_id: row.get(0)?,
                updates_up_to: row.get(1)?,
                updates: row.get(2)?,
                kept_for_statistics: row.get(3)?,
                events_up_to: row.get(4)?,
                kept_event: row.get(5)?,
                events: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// An agent's update that was made under a key.
pub(super) fn update_by_key(conn: &Connection, agent_id: &str, key: &str) -> TxResult<Option<KeyedUpdate>> {
    let mut statement = conn.prepare_cached(
        "SELECT update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                risk_score, void_active, elapsed, decision, decision_reason, health_status, complexity,
                text_length, patterns, key, key_receipt
         FROM agent_updates
         WHERE agent_id = :agent_id AND key = :key",
    )?;
    let keyed = statement.query_row(named_params! { ":agent_id": agent_id, ":key": key }, |row| {
        let receipt: [u8; RECEIPT_BYTES] = row.get(18)?;
        let (digest, update_count) = receipt.split_at(DIGEST_BYTES);
        Ok(KeyedUpdate {
            row: from_row(row)?,
            digest: u64::from_le_bytes(digest.try_into().unwrap_or_default()),
            update_count: i64::from_le_bytes(update_count.try_into().unwrap_or_default()),
        })
    });
    Ok(keyed.optional()?)
}

impl HistoryWrites for WriteTransaction<'_> {
    fn append_update(
        &self,
        agent_id: &str,
        state: &State,
        assessment: &Assessment,
        health: &Health,
        update_no: i64,
        receipt: Option<&Receipt<'_>>,
    ) -> TxResult<()> {
        let key_receipt = receipt.map(|receipt| receipt_bytes(receipt.digest, state.update_count));
        self.with_statement(
                "INSERT INTO agent_updates ( \
                   agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1, \
                   risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id, \
                   complexity, text_length, patterns, key, key_receipt \
                 ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            |statement| statement.execute(params![
                agent_id,
                update_no,
                self.at_text(),
                state.energy,
                state.integrity,
                state.entropy,
                state.void_integral,
                state.measured_coherence,
                state.lambda1,
                assessment.risk_score,
                assessment.void_active,
                state.elapsed,
                assessment.decision.action.as_str(),
                assessment.decision.reason,
                health.status.as_str(),
                self.process_id(),
                assessment.risk_basis.complexity,
                assessment.risk_basis.text_length,
                assessment.risk_basis.patterns.bits(),
                receipt.map(|receipt| receipt.key),
                key_receipt,
            ]))?;
        Ok(())
    }

    fn import_updates(&self, agent_id: &str, rows: &[HistoryRow]) -> TxResult<()> {
        let mut statement = self.conn().prepare_cached(
            "INSERT INTO agent_updates (
               agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
               risk_score, void_active, elapsed, decision, decision_reason, health_status
             ) VALUES (
               :agent_id, :update_no, :applied_at, :energy, :integrity, :entropy, :void_integral, :coherence,
               :lambda1, :risk_score, :void_active, :elapsed, :decision, :decision_reason, :health_status
             )",
        )?;
        for row in rows {
            statement.execute(named_params! {
                ":agent_id": agent_id,
                ":update_no": row.update_no,
                ":applied_at": row.applied_at.map(|at| at.to_string()),
                ":energy": row.energy,
                ":integrity": row.integrity,
                ":entropy": row.entropy,
                ":void_integral": row.void_integral,
                ":coherence": row.coherence,
                ":lambda1": row.lambda1,
                ":risk_score": row.risk_score,
                ":void_active": row.void_active,
                ":elapsed": row.elapsed,
                ":decision": row.decision.as_str(),
                ":decision_reason": row.decision_reason,
                ":health_status": row.health_status.as_str(),
            })?;
        }
        Ok(())
    }

    fn remove_updates(&self, agent_id: &str, up_to: i64, rows: i64) -> TxResult<u64> {
        let removed = self
            .conn()
            .prepare_cached(
                "DELETE FROM agent_updates
                 WHERE agent_id = :agent_id
                   AND update_no < :rows + (SELECT min(update_no) FROM agent_updates WHERE agent_id = :agent_id)
                   AND update_no <= :up_to",
            )?
            .execute(named_params! { ":agent_id": agent_id, ":rows": rows, ":up_to": up_to })?;
        Ok(removed as u64)
    }
}

/// By position, in the order of the SELECT: finding columns by name costs a tenth of reading a long history.
fn from_row(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    Ok(HistoryRow {
        update_no: row.get(0)?,
        applied_at: row.get::<_, Option<Parsed<_>>>(1)?.map(|parsed| parsed.0),
        energy: row.get(2)?,
        integrity: row.get(3)?,
        entropy: row.get(4)?,
        void_integral: row.get(5)?,
        coherence: row.get(6)?,
        lambda1: row.get(7)?,
        risk_score: row.get(8)?,
        void_active: row.get(9)?,
        elapsed: row.get(10)?,
        decision: row.get::<_, Parsed<_>>(11)?.0,
        decision_reason: row.get(12)?,
        health_status: row.get::<_, Parsed<_>>(13)?.0,
        risk_basis: match row.get(14)? {
            Some(complexity) => {
                Some(RiskBasis::from_row(complexity, row.get(15)?, Patterns::from_bits(row.get(16)?)))
            }
            None => None,
        },
        key: row.get(17)?,
    })
}
