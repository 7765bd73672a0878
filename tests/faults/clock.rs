//! The wall clock was wrong for a while, and so are the times of all that was written then. Nothing is decided by
//! them: order is by number, staleness by another clock. (That reapers spare the living then is in
//! `tests/reaper_spares.rs`.)

use std::process::Command;

use govstore::{Error, ProcessInfo, Update};

use crate::server::{Database, Server, TestResult};

/// Every column with a time that a person reads, by table.
const TIMES: [(&str, &[&str]); 6] = [
    ("agents", &["created_at", "last_update_at"]),
    ("agent_updates", &["applied_at"]),
    ("agent_events", &["occurred_at"]),
    ("agent_locks", &["acquired_at", "renewed_at"]),
    ("processes", &["registered_at", "last_activity_at"]),
    ("heartbeats", &["beat_at"]),
];

#[test]
fn rows_of_another_year_change_nothing() -> TestResult {
    for step in ["-30 years", "+30 years"] {
        let database = Database::new(&[("lock_timeout_ms", "50")])?;
        let store = database.store()?;
        let _registration = store.register(ProcessInfo::new("test", "1"))?;
        let mut holder = Server::worker(&database, &["holder"]);
        let mut killed = Server::worker(&database, &["killed"]);
        for (worker, agent_id) in [(&mut holder, "held"), (&mut killed, "abandoned")] {
            worker.tell(&format!("update {agent_id}"));
            worker.expect_line("updated");
            worker.tell(&format!("lock {agent_id}"));
            worker.expect_line("locked");
        }
        killed.crash();
        for (table, columns) in TIMES {
            for column in columns {
                let sql = format!(
                    "UPDATE {table} SET {column} = strftime('%Y-%m-%dT%H:%M:%fZ', {column}, '{step}')
                     WHERE {column} IS NOT NULL"
                );
                assert!(database.sql()?.execute(&sql, ())? > 0, "{sql}");
            }
        }

        // Who lives keeps its lock, who is gone does not, and updates are numbered on.
        let refused = store.process_update("held", &Update::default());
        assert!(matches!(refused, Err(Error::AgentLocked { .. })), "{step}: {refused:?}");
        let metrics = store.process_update("abandoned", &Update::default())?.metrics;
        assert_eq!(metrics.total_updates, 2, "{step}");
        let numbers: Vec<i64> = store.history("abandoned", None)?.iter().map(|row| row.update_no).collect();
        assert_eq!(numbers, [1, 2], "{step}");
        holder.tell("update held");
        assert_eq!(holder.expect_line("updated"), "2");
        let reaped: Vec<u32> = store.reap()?.events.iter().map(|event| event.pid).collect();
        assert!(!reaped.contains(&holder.pid()), "{step}: {reaped:?}");
        everything_is_shown(&database)?;
        holder.end();
    }
    Ok(())
}

#[cfg(feature = "cli")]
fn everything_is_shown(database: &Database) -> TestResult {
    let report = database.folder().join("report.html");
    let report = report.to_str().ok_or("a path that can't be read")?;
    for arguments in [
        &["agents"][..],
        &["agent", "held"],
        &["history", "abandoned"],
        &["events"],
        &["locks"],
        &["ps"],
        &["health"],
        &["check"],
        &["report", "--out", report],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_govstore"))
            .arg("--db")
            .arg(database.path())
            .args(arguments)
            .output()?;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    Ok(())
}

#[cfg(not(feature = "cli"))]
fn everything_is_shown(_database: &Database) -> TestResult {
    Ok(())
}
