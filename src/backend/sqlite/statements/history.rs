//! History: one row an update.

use rusqlite::{OptionalExtension, Row, named_params, params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{HistoryReads, HistoryWrites, Receipt, Transaction, TxResult};
use crate::governance::{Assessment, Patterns, RiskBasis, State};
use crate::health::Health;
use crate::model::{HistoryRow, KeyedUpdate, SurplusHistory, WindowStatistics};

const DIGEST_BYTES: usize = size_of::<u128>();
const RECEIPT_BYTES: usize = DIGEST_BYTES + size_of::<i64>();

/// The column `key_receipt`.
fn receipt_bytes(digest: u128, update_count: i64) -> [u8; RECEIPT_BYTES] {
    let mut bytes = [0; RECEIPT_BYTES];
    bytes[..DIGEST_BYTES].copy_from_slice(&digest.to_le_bytes());
    bytes[DIGEST_BYTES..].copy_from_slice(&update_count.to_le_bytes());
    bytes
}

impl<C: OnConnection> HistoryReads for C {
    fn history(&self, agent_id: &str, last: Option<u32>) -> TxResult<Vec<HistoryRow>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT * FROM (
               SELECT update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                      risk_score, void_active, elapsed, decision, decision_reason, health_status, complexity,
                      text_length, patterns, key
               FROM agent_updates
               WHERE agent_id = :agent_id
               ORDER BY update_no DESC
               LIMIT :last
             )
             ORDER BY update_no",
        )?;
        let last = last.map_or(-1, i64::from); // SQLite: negative is no limit
        let rows = statement.query_map(named_params! { ":agent_id": agent_id, ":last": last }, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn update_by_key(&self, agent_id: &str, key: &str) -> TxResult<Option<KeyedUpdate>> {
        let mut statement = self.conn().prepare_cached(
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
                digest: u128::from_le_bytes(digest.try_into().unwrap_or_default()),
                update_count: i64::from_le_bytes(update_count.try_into().unwrap_or_default()),
            })
        });
        Ok(keyed.optional()?)
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

    fn surplus_history(&self, history_limit: u64, window: i64) -> TxResult<Vec<SurplusHistory>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT a.agent_id, count(*)
             FROM agents AS a
             CROSS JOIN agent_updates AS u
               ON u.agent_id = a.agent_id
              AND u.update_no <= a.total_updates - max(:history_limit, min(a.update_count, :window))
             GROUP BY a.agent_id",
        )?;
        let parameters = named_params! { ":history_limit": history_limit, ":window": window };
        let rows = statement
            .query_map(parameters, |row| Ok(SurplusHistory { agent_id: row.get(0)?, rows: row.get(1)? }))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
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
        self.conn()
            .prepare_cached(
                "INSERT INTO agent_updates (
                   agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                   risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id,
                   complexity, text_length, patterns, key, key_receipt
                 ) VALUES (
                   :agent_id, :update_no, :applied_at, :energy, :integrity, :entropy, :void_integral, :coherence,
                   :lambda1, :risk_score, :void_active, :elapsed, :decision, :decision_reason, :health_status,
                   :process_id, :complexity, :text_length, :patterns, :key, :key_receipt
                 )",
            )?
            .execute(params![
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
            ])?;
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

    fn remove_surplus_history(
        &self,
        agent_id: &str,
        rows: i64,
        history_limit: u64,
        window: i64,
    ) -> TxResult<u64> {
        let removed = self
            .conn()
            .prepare_cached(
                "DELETE FROM agent_updates
                 WHERE agent_id = :agent_id
                   AND update_no < :rows + (SELECT min(update_no) FROM agent_updates WHERE agent_id = :agent_id)
                   AND update_no <= (SELECT total_updates - max(:history_limit, min(update_count, :window))
                                     FROM agents WHERE agent_id = :agent_id)",
            )?
            .execute(named_params! {
                ":agent_id": agent_id,
                ":rows": rows,
                ":history_limit": history_limit,
                ":window": window,
            })?;
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
