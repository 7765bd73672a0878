//! The wall clock was wrong for a while, and so are the times of all that was written then. Nothing is decided by
//! them: order is by number, staleness by another clock. (That reapers spare the living then is in
//! `tests/reaper_spares.rs`.)

use std::process::Command;

use govstore::{Error, ProcessInfo, Update};

use govstore_testkit::{Database, Server, TestResult};

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

/// As on a board whose clock has no battery. It was a panic.
#[test]
fn a_clock_before_1970_is_believed() -> TestResult {
    /// The wall clock, forty years behind 1970, as Rust and SQLite ask for it.
    const SHIM: &str = r"
        #define _GNU_SOURCE
        #include <stddef.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        #define THEN (-40 * 365 * 86400L)
        int clock_gettime(clockid_t clock, struct timespec *at) {
            int outcome = syscall(SYS_clock_gettime, clock, at);
            if (outcome == 0 && clock == CLOCK_REALTIME) at->tv_sec = THEN + at->tv_sec % 86400;
            return outcome;
        }
        int gettimeofday(struct timeval *at, void *zone) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            at->tv_sec = now.tv_sec;
            at->tv_usec = now.tv_nsec / 1000;
            return 0;
        }
        time_t time(time_t *at) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (at) *at = now.tv_sec;
            return now.tv_sec;
        }";
    let database = Database::new(&[])?;
    let Some(shim) = govstore_testkit::compiled(database.folder(), SHIM)? else { return Ok(()) };
    let copy = database.folder().join("copy.db");
    let copy = copy.to_str().ok_or("a path that can't be read")?;
    let folder = database.folder().to_str().ok_or("a path that can't be read")?;
    let report = database.folder().join("report.html");
    let report = report.to_str().ok_or("a path that can't be read")?;
    for arguments in [
        &["update", "writer", "--text", "hello"][..],
        &["pause", "writer", "--reason", "a pause"],
        &["resume", "writer"],
        &["agents"],
        &["agent", "writer"],
        &["history", "writer"],
        &["events"],
        &["health"],
        &["ps"],
        &["reap"],
        &["check"],
        &["report", "--out", report],
        &["backup", copy],
        &["backup", "--keep", "2", folder],
        &["restore", copy],
        &["serve"], // until the end of an empty input
    ] {
        let output = Command::new(govstore_testkit::govstore())
            .arg("--db")
            .arg(database.path())
            .args(arguments)
            .env("LD_PRELOAD", &shim)
            .stdin(std::process::Stdio::null())
            .output()?;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let store = database.store()?;
    let applied_at = store.history("writer", None)?[0].applied_at.ok_or("it was not imported")?;
    assert!(applied_at.to_string().starts_with("1930-01-1"), "{applied_at}");
    assert_eq!(store.process_update("writer", &Update::default())?.metrics.total_updates, 2);
    Ok(())
}

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
        let output = Command::new(govstore_testkit::govstore())
            .arg("--db")
            .arg(database.path())
            .args(arguments)
            .output()?;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    Ok(())
}
