//! Databases of every released schema are brought up to date, with all that is in them.

use std::error::Error;
use std::path::Path;

use govstore::{LimitPolicy, Outcome, ProcessInfo, ProcessState, Store, Update, Verdict};
use rusqlite::Connection;

type TestResult = Result<(), Box<dyn Error>>;

/// A frozen dump for each schema version before the present one.
const FROZEN: [(i32, &str); 4] = [
    (1, include_str!("schemas/version_1.sql")),
    (2, include_str!("schemas/version_2.sql")),
    (3, include_str!("schemas/version_3.sql")),
    (4, include_str!("schemas/version_4.sql")),
];

/// Type, name, table and text of one thing in a schema.
type SchemaRow = (String, String, String, Option<String>);

/// Everything in the schema, as it was written.
fn schema(path: &Path) -> rusqlite::Result<Vec<SchemaRow>> {
    Connection::open(path)?
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect()
}

#[test]
fn an_old_database_becomes_a_new_one_and_keeps_what_is_in_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fresh = folder.path().join("fresh.db");
    let version = Store::open(&fresh)?.schema_version();
    assert_eq!(FROZEN.len(), usize::try_from(version - 1)?, "one dump for each earlier version");
    for (old_version, dump) in FROZEN {
        let path = folder.path().join(format!("version_{old_version}.db"));
        Connection::open(&path)?.execute_batch(dump)?;

        let store = Store::open(&path)?;
        let conn = Connection::open(&path)?;
        let migrated: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        assert_eq!(migrated, version);
        assert_eq!(schema(&path)?, schema(&fresh)?);
        let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(integrity, "ok");

        let settings = store.settings()?;
        assert_eq!((settings.heartbeat_interval_s, settings.max_processes), (12.5, 4));
        assert_eq!(settings.history_limit, Some(1000));
        assert_eq!(
            settings.limit_policy,
            LimitPolicy::Spare,
            "evict was the default, and is the default no more"
        );
        let writer = store.agent("writer")?;
        assert_eq!((writer.total_updates, writer.risk_score), (2, Some(0.154)));
        assert_eq!(writer.tags, ["pioneer"]);
        assert_eq!(store.history("writer", None)?.len(), 2);
        assert_eq!(store.events("idle")?.len(), 1);

        let _registration = store.register(ProcessInfo::new("test", "1"))?;
        assert_eq!(store.process_update("writer", &Update::default())?.metrics.total_updates, 3);
    }
    Ok(())
}

/// The registry, the ledger and the locks of schema 2.
#[test]
fn the_registry_of_an_old_database_is_kept() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("governance.db");
    Connection::open(&path)?.execute_batch(FROZEN[1].1)?;
    let store = Store::open(&path)?;

    let registered = store.processes()?;
    let names: Vec<_> = registered.iter().map(|process| (process.name.as_str(), process.state)).collect();
    assert_eq!(
        names,
        [("lost-server", ProcessState::Running), ("claimed-server", ProcessState::Running)],
        "what an old reaper has claimed is judged anew"
    );
    assert!(registered.iter().all(|process| process.beat_at.is_some()), "each has its heartbeat");
    assert!(registered.iter().all(|process| process.last_activity_at.is_some()));
    let ledger = store.reap_events(10)?;
    let told: Vec<_> =
        ledger.iter().map(|event| (event.reap_event_id, event.verdict, event.outcome)).collect();
    assert_eq!(
        told,
        [(2, Verdict::Stale, Outcome::Killed), (4, Verdict::Unverifiable, Outcome::Forgotten)],
        "what was foreign is unverifiable now"
    );
    assert_eq!(store.locks()?.iter().map(|lock| lock.token).collect::<Vec<_>>(), [7]);

    let conn = Connection::open(&path)?;
    let broken: i64 =
        conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    assert_eq!(broken, 0);
    let events =
        "INSERT INTO reap_events (recorded_at, process_id, name, version, pid, boot_id, start_ticks, verdict,
                    evidence, outcome, reaper_pid)
                  VALUES ('2025-11-19T20:41:10.000Z', 1, 'n', 'v', 2, 'b', 3, 'stale', 'e', 'gone', 4)
                  RETURNING reap_event_id";
    assert_eq!(conn.query_row(events, [], |row| row.get::<_, i64>(0))?, 5, "numbers are never given twice");
    drop(conn);
    let registration = store.register(ProcessInfo::new("test", "1"))?;
    assert_eq!(registration.process_id(), 10, "nor are those of processes: 9 was given, and is gone");
    Ok(())
}
