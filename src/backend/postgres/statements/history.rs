//! History: one row an update.

use tokio_postgres::Row;

use crate::backend::postgres::failure::Failure;
use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, Statement, statement, without_trailing_zeros};
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

macro_rules! append_update {
    () => {
        "INSERT INTO agent_updates (
           agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1, risk_score,
           void_active, elapsed, decision, decision_reason, health_status, process_id, complexity, text_length,
           patterns, key, key_receipt, receipt
         ) VALUES (
           $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22
         )"
    };
}

/// An update's row of the history.
const UPDATE: &str = append_update!();

/// The same with the agent's state, in one statement: it saves a tenth of an update.
const STATE_AND_UPDATE: &str = concat!(
    "WITH state AS (
       UPDATE agents SET
         last_update_at = $3, energy = $4, integrity = $5, entropy = $6, void_integral = $7, coherence = $8,
         lambda1 = $9, risk_score = $10, void_active = $11, elapsed = $12, last_decision = $13,
         last_decision_reason = $14, total_updates = $2, pi_integral = $23, update_count = $24, parameters = $25,
         recent_void = $26
       WHERE agent_id = $1
     ) ",
    append_update!()
);

impl HistoryReads for Session<'_> {
    fn history(&self, agent_id: &str, before: Option<i64>, last: Option<u32>) -> TxResult<Vec<HistoryRow>> {
        let rows = self.rows(statement!(
            "SELECT * FROM (
               SELECT update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1, risk_score,
                      void_active, elapsed, decision, decision_reason, health_status, complexity, text_length, patterns,
                      key
               FROM agent_updates
               WHERE agent_id = $1 AND update_no < coalesce($2, 9223372036854775807)
               ORDER BY update_no DESC
               LIMIT $3
             ) AS newest
             ORDER BY update_no",
            agent_id,
            before,
            last,
        ))?;
        rows.iter().map(from_row).collect()
    }

    fn window_statistics(&self, agent_id: &str, window: i64, void_limit: f64) -> TxResult<WindowStatistics> {
        let row = self.one_row(statement!(
            "SELECT
               count(*) AS history_size,
               coalesce(avg(u.risk_score), 0.0) AS mean_risk,
               coalesce(avg((abs(u.void_integral) > $3)::integer), 0.0)::double precision AS void_frequency,
               count(*) FILTER (WHERE u.decision = 'approve') AS approve,
               count(*) FILTER (WHERE u.decision = 'revise') AS revise,
               count(*) FILTER (WHERE u.decision = 'reject') AS reject
             FROM agents AS a
             JOIN agent_updates AS u
               ON u.agent_id = a.agent_id AND u.update_no > a.total_updates - least(a.update_count, $2)
             WHERE a.agent_id = $1",
            agent_id,
            window,
            void_limit,
        ))?;
        Ok(WindowStatistics {
            history_size: row.whole("history_size")?,
            mean_risk: row.take("mean_risk")?,
            void_frequency: row.take("void_frequency")?,
            approve: row.whole("approve")?,
            revise: row.whole("revise")?,
            reject: row.whole("reject")?,
        })
    }

    /// Old rows are those before the first that is young enough: a clock that was set back makes no gap. Rows without a
    /// time, which were imported, are as old as the next one that has one.
    fn surplus_history(
        &self,
        history_limit: Option<u64>,
        before: Option<Timestamp>,
        window: i64,
    ) -> TxResult<Vec<SurplusHistory>> {
        let rows = self.rows(statement!(
            "WITH ends AS MATERIALIZED (
               SELECT
                 a.agent_id, a.total_updates, a.update_count,
                 CASE WHEN $2 IS NOT NULL THEN (
                   SELECT u.update_no FROM agent_updates AS u
                   WHERE u.agent_id = a.agent_id AND u.applied_at >= $2
                   ORDER BY u.update_no LIMIT 1) END AS young_update,
                 CASE WHEN $2 IS NOT NULL THEN (
                   SELECT e.event_id FROM agent_events AS e
                   WHERE e.agent_id = a.agent_id AND e.occurred_at >= $2
                   ORDER BY e.event_id LIMIT 1) END AS young_event,
                 (SELECT max(e.event_id) FROM agent_events AS e WHERE e.agent_id = a.agent_id) AS newest_event,
                 coalesce((SELECT e.event_id FROM agent_events AS e
                           WHERE e.agent_id = a.agent_id AND e.event <> 'health_changed'
                           ORDER BY e.event_id DESC LIMIT 1), 0) AS kept_event
               FROM agents AS a
             ),
             limits AS MATERIALIZED (
               SELECT
                 n.agent_id, n.total_updates, n.newest_event, n.kept_event,
                 CASE WHEN $1 IS NULL THEN 0 ELSE n.total_updates - $1 END AS wanted,
                 CASE WHEN $1 IS NULL THEN 0
                      ELSE n.total_updates - greatest($1, least(n.update_count, $3)) END AS by_number,
                 CASE WHEN $2 IS NULL THEN 0 ELSE coalesce((
                   SELECT u.update_no FROM agent_updates AS u
                   WHERE u.agent_id = n.agent_id AND u.applied_at < $2
                     AND u.update_no < coalesce(n.young_update, n.total_updates)
                   ORDER BY u.update_no DESC LIMIT 1), 0) END AS by_age,
                 CASE WHEN $1 IS NULL THEN 0 ELSE coalesce((
                   SELECT e.event_id FROM agent_events AS e WHERE e.agent_id = n.agent_id
                   ORDER BY e.event_id DESC LIMIT 1 OFFSET coalesce($1, 0)), 0) END AS events_by_number,
                 CASE WHEN $2 IS NULL THEN 0 ELSE coalesce((
                   SELECT e.event_id FROM agent_events AS e
                   WHERE e.agent_id = n.agent_id AND e.occurred_at < $2
                     AND e.event_id < coalesce(n.young_event, 9223372036854775807)
                   ORDER BY e.event_id DESC LIMIT 1), 0) END AS events_by_age
               FROM ends AS n
             ),
             surplus AS MATERIALIZED (
               SELECT
                 agent_id, wanted, kept_event,
                 least(greatest(by_number, by_age), total_updates - 1) AS updates_up_to,
                 least(greatest(events_by_number, events_by_age), coalesce(newest_event, 0) - 1) AS events_up_to
               FROM limits
             ),
             counted AS MATERIALIZED (
               SELECT
                 s.*,
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
            history_limit,
            before,
            window,
        ))?;
        rows.iter()
            .map(|row| {
                Ok(SurplusHistory {
                    agent_id: row.take(0)?,
                    updates_up_to: row.take(1)?,
                    updates: row.whole(2)?,
                    kept_for_statistics: row.whole(3)?,
                    events_up_to: row.take(4)?,
                    kept_event: row.take(5)?,
                    events: row.whole(6)?,
                })
            })
            .collect()
    }
}

/// Asks for an agent's update that was made under a key.
pub(super) fn update_by_key(agent_id: &str, key: &str) -> Statement {
    statement!(
        "SELECT update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1, risk_score,
                void_active, elapsed, decision, decision_reason, health_status, complexity, text_length, patterns,
                key, key_receipt
         FROM agent_updates
         WHERE agent_id = $1 AND key = $2",
        agent_id,
        key,
    )
}

/// What [`update_by_key`] has found.
pub(super) fn keyed(row: &Row) -> TxResult<KeyedUpdate> {
    let receipt: &[u8] = row.take("key_receipt")?;
    let (digest, update_count) = receipt.split_at_checked(DIGEST_BYTES).unwrap_or_default();
    let number = |bytes: &[u8]| {
        bytes.try_into().map_err(|_| Failure::unreadable("key_receipt", "it doesn't hold 16 bytes"))
    };
    Ok(KeyedUpdate {
        row: from_row(row)?,
        digest: u64::from_le_bytes(number(digest)?),
        update_count: i64::from_le_bytes(number(update_count)?),
    })
}

impl HistoryWrites for Session<'_> {
    fn append_update(
        &self,
        agent_id: &str,
        state: &State,
        assessment: &Assessment,
        health: &Health,
        update_no: i64,
        receipt: Option<&Receipt<'_>>,
    ) -> TxResult<()> {
        let is_with_state = self.take_state(agent_id, update_no);
        let mut appended = statement!(
            if is_with_state { STATE_AND_UPDATE } else { UPDATE },
            agent_id,
            update_no,
            self.at(),
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
            assessment.decision.reason.as_str(),
            health.status.as_str(),
            self.process_id(),
            assessment.risk_basis.complexity,
            assessment.risk_basis.text_length,
            assessment.risk_basis.patterns.bits(),
            receipt.map(|receipt| receipt.key),
            receipt.map(|receipt| receipt_bytes(receipt.digest, state.update_count)),
            self.receipt_of(agent_id, update_no),
        );
        if is_with_state {
            let parameters = state.parameters.as_deref().map(without_trailing_zeros);
            appended.parameters.extend([
                state.pi_integral.into(),
                state.update_count.into(),
                parameters.into(),
                state.recent_void.clone().into(),
            ]);
        }
        self.hold_back(appended);
        Ok(())
    }

    fn import_updates(&self, agent_id: &str, rows: &[HistoryRow]) -> TxResult<()> {
        for row in rows {
            self.hold_back(statement!(
                "INSERT INTO agent_updates (
                   agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                   risk_score, void_active, elapsed, decision, decision_reason, health_status
                 ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
                agent_id,
                row.update_no,
                row.applied_at,
                row.energy,
                row.integrity,
                row.entropy,
                row.void_integral,
                row.coherence,
                row.lambda1,
                row.risk_score,
                row.void_active,
                row.elapsed,
                row.decision.as_str(),
                row.decision_reason.as_deref(),
                row.health_status.as_str(),
            ));
        }
        Ok(())
    }

    fn remove_updates(&self, agent_id: &str, up_to: i64, rows: i64) -> TxResult<u64> {
        self.change(statement!(
            "DELETE FROM agent_updates
             WHERE agent_id = $1
               AND update_no < $2 + (SELECT min(update_no) FROM agent_updates WHERE agent_id = $1)
               AND update_no <= $3",
            agent_id,
            rows,
            up_to,
        ))
    }
}

/// By position, in the order of the SELECT: finding columns by name costs a tenth of reading a long history.
fn from_row(row: &Row) -> TxResult<HistoryRow> {
    Ok(HistoryRow {
        update_no: row.take(0)?,
        applied_at: row.time_or_null(1)?,
        energy: row.take(2)?,
        integrity: row.take(3)?,
        entropy: row.take(4)?,
        void_integral: row.take(5)?,
        coherence: row.take(6)?,
        lambda1: row.take(7)?,
        risk_score: row.take(8)?,
        void_active: row.take(9)?,
        elapsed: row.take(10)?,
        decision: row.parsed(11)?,
        decision_reason: row.take(12)?,
        health_status: row.parsed(13)?,
        risk_basis: match row.take(14)? {
            Some(complexity) => {
                Some(RiskBasis::from_row(complexity, row.whole(15)?, Patterns::from_bits(row.whole(16)?)))
            }
            None => None,
        },
        key: row.take(17)?,
    })
}
