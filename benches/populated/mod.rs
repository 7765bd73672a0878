//! Databases of any size, for the benches.

use std::error::Error;
use std::path::{Path, PathBuf};

use govstore::Store;
use rusqlite::{Connection, params};

const AT: &str = "2025-11-19T20:41:09.824Z";

/// A database with agents in the middle of their lives, and their history. It grows update by update over
/// all agents, so that its pages are as full as traffic leaves them and not packed.
pub fn populated(path: &Path, agents: u32, updates: u32) -> Result<PathBuf, Box<dyn Error>> {
    Store::open(path)?;
    let mut conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    let parameters: Vec<u8> =
        [0.5_f64, 0.4, 0.7, 0.9, 0.1, 0.1].iter().flat_map(|p| p.to_le_bytes()).collect();
    for update_no in 1..=updates {
        let tx = conn.transaction()?;
        if update_no == 1 {
            tx.execute(
                "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
                 INSERT INTO agents (agent_id, created_at, coherence, risk_score)
                 SELECT 'agent-' || i, ?2, 0.99, 0.101
                 FROM n",
                params![agents, AT],
            )?;
        }
        tx.execute(
            "UPDATE agents SET last_update_at = ?2, energy = 0.51, integrity = 0.91, entropy = 0.41,
               void_integral = -0.012, lambda1 = 0.151, pi_integral = 0.0021, elapsed = ?1 * 0.1,
               update_count = ?1, total_updates = ?1, last_decision = 'approve',
               last_decision_reason = 'Low risk (0.20)', parameters = ?3, recent_void = zeroblob(8 * min(?1, 100))",
            params![update_no, AT, parameters],
        )?;
        tx.execute(
            "INSERT INTO agent_updates (agent_id, update_no, applied_at, energy, integrity, entropy, void_integral,
               coherence, lambda1, risk_score, void_active, elapsed, decision, decision_reason, health_status)
             SELECT agent_id, ?1, ?2, 0.51, 0.91, 0.41, -0.012, 0.99, 0.151, 0.201, 0, ?1 * 0.1, 'approve',
                    'Low risk (0.20)', 'degraded'
             FROM agents",
            params![update_no, AT],
        )?;
        tx.commit()?;
    }
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(path.to_owned())
}
