//! Servers of govstore 0.1.0 that still run when a database is migrated: their own statements, on the new schema.

use rusqlite::{Connection, ErrorCode, named_params};

use govstore::Store;
use govstore_testkit::TestResult;

/// A database of schema 2, which is 0.1.0's.
const SCHEMA_2: &str = include_str!("../schemas/version_2.sql");

/// The words of `limit_policy` that 0.1.0 knows. Another one fails its reading of the settings, and with that all that
/// it writes: updates and heartbeats read them first.
const POLICIES_OF_0_1_0: [&str; 2] = ["evict", "refuse"];

const REGISTER: &str = "INSERT INTO processes (
           name, version, pid, boot_id, pid_namespace, start_ticks, parent_pid, parent_start_ticks, uid,
           registered_at, last_activity_at, last_activity_monotonic_ms
         ) VALUES (
           :name, :version, :pid, :boot_id, :pid_namespace, :start_ticks, :parent_pid, :parent_start_ticks,
           :uid, :now, :now, :now_ms
         )";

const READ_SETTINGS: &str =
    "SELECT risk_healthy_max, risk_degraded_max, coherence_healthy_min, coherence_degraded_min,
                coherence_overrides_risk, heartbeat_interval_s, stale_after_s, max_processes, limit_policy,
                terminate_grace_ms, lock_timeout_ms, history_limit
         FROM settings WHERE settings_id = 1";

const TOUCH: &str = "UPDATE processes SET
               last_activity_at = :now, last_activity_monotonic_ms = :now_ms, parent_gone = :parent_gone
             WHERE process_id = :process_id AND state = 'running'";

const BEAT: &str = "INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
         VALUES (:process_id, :boot_id, :now_ms, :now, :interval_ms)
         ON CONFLICT (process_id) DO UPDATE SET
           recovered_monotonic_ms = CASE
             WHEN excluded.monotonic_ms - monotonic_ms > :late_after_ms THEN excluded.monotonic_ms
             ELSE recovered_monotonic_ms
           END,
           monotonic_ms = excluded.monotonic_ms,
           beat_at = excluded.beat_at,
           interval_ms = excluded.interval_ms,
           suspected_monotonic_ms = NULL";

const LOAD: &str =
    "SELECT a.lifecycle_status, a.energy, a.integrity, a.entropy, a.void_integral, a.coherence, a.lambda1,
                a.pi_integral, a.elapsed, a.update_count, a.parameters, a.recent_void, a.risk_score,
                a.void_active, a.total_updates, l.process_id, l.token
         FROM agents AS a
         LEFT JOIN agent_locks AS l ON l.agent_id = a.agent_id
         WHERE a.agent_id = :agent_id";

const SAVE: &str = "UPDATE agents SET
           last_update_at = :last_update_at,
           energy = :energy, integrity = :integrity, entropy = :entropy, void_integral = :void_integral,
           coherence = :coherence, lambda1 = :lambda1, pi_integral = :pi_integral, elapsed = :elapsed,
           risk_score = :risk_score, void_active = :void_active,
           update_count = :update_count, total_updates = :total_updates,
           last_decision = :last_decision, last_decision_reason = :last_decision_reason,
           parameters = :parameters, recent_void = :recent_void
         WHERE agent_id = :agent_id";

const APPEND_HISTORY: &str = "INSERT INTO agent_updates (
           agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
           risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id
         ) VALUES (
           :agent_id, :update_no, :applied_at, :energy, :integrity, :entropy, :void_integral, :coherence,
           :lambda1, :risk_score, :void_active, :elapsed, :decision, :decision_reason, :health_status,
           :process_id
         )";

const CLAIM: &str = "UPDATE processes SET
           state = 'terminating', claim_verdict = :verdict, claimed_at = :now,
           claimed_by_pid = :pid, claimed_by_pid_namespace = :pid_namespace,
           claimed_by_start_ticks = :start_ticks, claim_until_monotonic_ms = :until_monotonic_ms
         WHERE process_id = :process_id";

const END: &str = "UPDATE processes SET
           state = :state, ended_at = :now,
           claim_verdict = NULL, claimed_at = NULL, claimed_by_pid = NULL, claimed_by_pid_namespace = NULL,
           claimed_by_start_ticks = NULL, claim_until_monotonic_ms = NULL
         WHERE process_id = :process_id AND state IN ('running', 'terminating')";

const NOW: &str = "2025-11-19T20:50:00.000Z";

/// A server of 0.1.0: one connection, on which everything was prepared before the migration.
struct OldServer {
    conn: Connection,
    process_id: i64,
}

impl OldServer {
    fn register(conn: Connection) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare_cached(REGISTER)?;
        let process_id = statement.insert(named_params! {
            ":name": "old-server", ":version": "0.1.0", ":pid": 4_999, ":boot_id": "b0", ":pid_namespace": 1,
            ":start_ticks": 77, ":parent_pid": 4_000, ":parent_start_ticks": 900, ":uid": 1_000,
            ":now": NOW, ":now_ms": 9_000,
        })?;
        drop(statement);
        let old = Self { conn, process_id };
        old.beat()?;
        Ok(old)
    }

    /// What it reads first in every transaction, and refuses where the word is new to it.
    fn limit_policy(&self) -> rusqlite::Result<String> {
        self.conn.prepare_cached(READ_SETTINGS)?.query_row([], |row| row.get(8))
    }

    fn beat(&self) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(BEAT)?.execute(named_params! {
            ":process_id": self.process_id, ":boot_id": "b0", ":now_ms": 9_500, ":now": NOW,
            ":interval_ms": 12_500, ":late_after_ms": 150_000,
        })
    }

    /// One whole update, as 0.1.0 makes it. `None`: it refuses the settings, and nothing is written.
    fn update(&self, agent_id: &str) -> rusqlite::Result<Option<i64>> {
        let tx = self.conn.unchecked_transaction()?;
        if !POLICIES_OF_0_1_0.contains(&self.limit_policy()?.as_str()) {
            return Ok(None);
        }
        let touched = self.conn.prepare_cached(TOUCH)?.execute(named_params! {
            ":now": NOW, ":now_ms": 9_500, ":parent_gone": false, ":process_id": self.process_id,
        })?;
        assert_eq!(touched, 1, "its row is there, and running");
        self.beat()?;
        let load = named_params! { ":agent_id": agent_id };
        let before: i64 = self.conn.prepare_cached(LOAD)?.query_row(load, |row| row.get(14))?;
        let total = before + 1;
        self.conn.prepare_cached(SAVE)?.execute(named_params! {
            ":last_update_at": NOW, ":energy": 0.5, ":integrity": 0.9, ":entropy": 0.5, ":void_integral": 0.0,
            ":coherence": 1.0, ":lambda1": 0.15, ":pi_integral": 0.0, ":elapsed": 0.3, ":risk_score": 0.1,
            ":void_active": false, ":update_count": total, ":total_updates": total, ":last_decision": "approve",
            ":last_decision_reason": "Low risk", ":parameters": None::<Vec<u8>>, ":recent_void": [0_u8; 0],
            ":agent_id": agent_id,
        })?;
        self.conn.prepare_cached(APPEND_HISTORY)?.execute(named_params! {
            ":agent_id": agent_id, ":update_no": total, ":applied_at": NOW, ":energy": 0.5, ":integrity": 0.9,
            ":entropy": 0.5, ":void_integral": 0.0, ":coherence": 1.0, ":lambda1": 0.15, ":risk_score": 0.1,
            ":void_active": false, ":elapsed": 0.3, ":decision": "approve", ":decision_reason": "Low risk",
            ":health_status": "healthy", ":process_id": self.process_id,
        })?;
        tx.commit()?;
        Ok(Some(total))
    }

    /// What its reaper does to a victim.
    fn claim(&self, process_id: i64) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(CLAIM)?.execute(named_params! {
            ":verdict": "surplus", ":now": NOW, ":pid": 4_999, ":pid_namespace": 1, ":start_ticks": 77,
            ":until_monotonic_ms": 20_000, ":process_id": process_id,
        })
    }

    fn deregister(&self) -> rusqlite::Result<usize> {
        let end = named_params! { ":state": "ended", ":now": NOW, ":process_id": self.process_id };
        self.conn.prepare_cached(END)?.execute(end)
    }
}

/// A server of 0.1.0 that made an update, and the database migrated under it.
fn migrated_under_an_old_server() -> Result<(tempfile::TempDir, OldServer, Store), Box<dyn std::error::Error>>
{
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("governance.db");
    let conn = Connection::open(&path)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch(SCHEMA_2)?;
    let old = OldServer::register(conn)?;
    assert_eq!(old.update("writer")?, Some(3));
    let store = Store::open(path)?;
    Ok((folder, old, store))
}

#[test]
fn with_a_policy_that_it_knows_an_old_server_goes_on_updating() -> TestResult {
    let (_folder, old, store) = migrated_under_an_old_server()?;
    for (policy, total) in POLICIES_OF_0_1_0.into_iter().zip(4..) {
        store.set_setting("limit_policy", policy)?;
        assert_eq!(old.update("writer")?, Some(total), "{policy}");
        assert_eq!(store.agent("writer")?.total_updates, total);
    }
    let numbers: Vec<_> = store.history("writer", None)?.iter().map(|row| row.update_no).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let row = store.processes()?.into_iter().find(|process| process.process_id == old.process_id);
    let row = row.ok_or("it is registered")?;
    assert_eq!((row.host_id, row.time_namespace), (None, None), "which 0.1.0 knew nothing of");
    assert_eq!(old.deregister()?, 1);
    assert!(store.processes()?.iter().all(|process| process.process_id != old.process_id));
    Ok(())
}

#[test]
fn an_old_reaper_can_claim_nobody() -> TestResult {
    let (_folder, old, store) = migrated_under_an_old_server()?;
    for policy in ["spare", "evict", "refuse"] {
        store.set_setting("limit_policy", policy)?;
        let refused = old.claim(5).unwrap_err();
        assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::ConstraintViolation));
        let sentence = refused.to_string();
        assert!(sentence.contains("a reaper of govstore 0.1 ends nobody here: restart it"), "{sentence}");
    }
    Ok(())
}

#[test]
fn by_default_an_old_server_can_write_nothing_more_and_loses_nothing() -> TestResult {
    let (_folder, old, store) = migrated_under_an_old_server()?;
    assert_eq!(
        old.limit_policy()?,
        "spare",
        "which 0.1.0 refuses: the old default, evict, became the new one"
    );
    assert_eq!(old.update("writer")?, None);
    assert_eq!(store.agent("writer")?.total_updates, 3, "what it had said is there, and nothing more");
    assert_eq!(store.history("writer", None)?.len(), 3);
    Ok(())
}
