//! What `process_update` does to the database, typed by hand over bare rusqlite: the other side of the benches.

use std::error::Error;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

const AT: &str = "2025-11-19T20:41:09.824Z";

/// One update in a transaction of its own.
pub fn update(conn: &mut Connection, agent: &str, n: i64) -> Result<(), Box<dyn Error>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    statements(&tx, agent, n)?;
    tx.commit()?;
    Ok(())
}

/// The statements of one update, with figures that were worked out elsewhere.
pub fn statements(tx: &Transaction<'_>, agent: &str, n: i64) -> Result<(), Box<dyn Error>> {
    let _settings: (f64, f64, f64, f64, bool, i64) = tx
        .prepare_cached(
            "SELECT risk_healthy_max, risk_degraded_max, coherence_healthy_min, coherence_degraded_min,
                    coherence_overrides_risk, lock_timeout_ms
             FROM settings WHERE settings_id = 1",
        )?
        .query_row([], |row| row.try_into())?;
    let mut state = [None::<f64>; 10];
    let (total, mut window): (i64, Vec<u8>) = tx
        .prepare_cached(
            "SELECT total_updates, recent_void, parameters, lifecycle_status, energy, integrity, entropy,
                    void_integral, coherence, lambda1, pi_integral, elapsed, risk_score, void_active, update_count
             FROM agents WHERE agent_id = ?1",
        )?
        .query_row([agent], |row| {
            let (_parameters, _status): (Option<Vec<u8>>, String) = (row.get(2)?, row.get(3)?);
            for (column, value) in (4..).zip(&mut state) {
                *value = row.get(column)?;
            }
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if window.len() < 800 {
        window.extend([0; 8]);
    }
    tx.prepare_cached(
        "UPDATE agents SET last_update_at = ?2, energy = ?3, integrity = ?4, entropy = ?5, void_integral = ?6,
           coherence = ?7, lambda1 = ?8, pi_integral = ?9, elapsed = ?10, risk_score = ?11, void_active = ?12,
           update_count = ?13, total_updates = ?14, last_decision = ?15, last_decision_reason = ?16,
           parameters = ?17, recent_void = ?18
         WHERE agent_id = ?1",
    )?
    .execute(params![
        agent, AT, 0.6, 0.8, 0.1, -0.1, 1.0, 0.2, 0.1, 1.0, 0.15, 0, n, total + 1, "approve", "Low risk (0.15)", [0_u8; 48], window,
    ])?;
    tx.prepare_cached(
        "INSERT INTO agent_updates (agent_id, update_no, applied_at, energy, integrity, entropy, void_integral,
           coherence, lambda1, risk_score, void_active, elapsed, decision, decision_reason, health_status,
           complexity, text_length, patterns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?
    .execute(params![
        agent, total + 1, AT, 0.6, 0.8, 0.1, -0.1, 1.0, 0.2, 0.15, 0, 1.0, "approve", "Low risk (0.15)", "degraded",
        0.3, 47, 0,
    ])?;
    Ok(())
}
