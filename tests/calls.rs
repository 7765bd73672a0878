//! Figures of the calls of wrapped servers' tools.

use std::thread;
use std::time::Duration;

use govstore::{CallFigures, Store};
use govstore_testkit::{Database, TestResult};

/// So many calls of a tool that took a millisecond each, one of which failed.
fn calls(tool: &str, number: usize) -> CallFigures {
    let mut figures = CallFigures::new(tool);
    (0..number).for_each(|at| figures.add(Duration::from_millis(1), at == 0));
    figures
}

/// What is recorded: server, tool, calls, errors.
fn recorded(store: &Store) -> govstore::Result<Vec<(String, String, u64, u64)>> {
    let all = store.calls(None)?.into_iter();
    Ok(all.map(|calls| (calls.server, calls.tool, calls.calls, calls.errors)).collect())
}

fn row(server: &str, tool: &str, calls: u64, errors: u64) -> (String, String, u64, u64) {
    (server.to_owned(), tool.to_owned(), calls, errors)
}

#[test]
fn whoever_records_at_the_same_time_nothing_is_lost() -> TestResult {
    let database = Database::new(&[])?;
    thread::scope(|scope| -> TestResult {
        let recording: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> govstore::Result<()> {
                    let store = database.store()?.with_lock_timeout(Duration::from_secs(30));
                    for _ in 0..25 {
                        while let Err(error) =
                            store.record_calls("files", &[calls("read", 3), calls("write", 1)])
                        {
                            assert!(error.is_busy(), "{error}"); // figures wait for a second at most
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in recording {
            thread.join().map_err(|_| "it panicked")??;
        }
        Ok(())
    })?;
    let store = database.store()?;
    assert_eq!(recorded(&store)?, [row("files", "read", 300, 100), row("files", "write", 100, 100)]);
    let read = &store.calls(None)?[0];
    assert_eq!((read.within_1ms, read.within_10s), (300, 300));
    assert!((read.mean_ms - 1.0).abs() < 1e-9 && (read.max_ms - 1.0).abs() < 1e-9, "{read:?}");
    Ok(())
}

#[test]
fn a_share_of_the_calls_was_answered_within_a_power_of_ten() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let mut figures = CallFigures::new("read");
    for ms in [1, 5, 50, 500, 5_000, 50_000, 50_000, 50_000, 50_000, 50_000] {
        figures.add(Duration::from_millis(ms), false);
    }
    store.record_calls("files", &[figures])?;
    let read = &store.calls(None)?[0];
    let within = |share| read.within(share);
    assert_eq!(within(0.1), Some(Duration::from_millis(1)));
    assert_eq!(within(0.11), Some(Duration::from_millis(10)));
    assert_eq!(within(0.5), Some(Duration::from_secs(10)));
    assert_eq!(within(0.51), None, "longer than ten seconds");
    Ok(())
}

#[test]
fn names_and_their_number_are_bounded() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    for first in (0..300).step_by(50) {
        let many: Vec<_> = (first..first + 50).map(|n| calls(&format!("tool-{n:03}"), 1)).collect();
        store.record_calls("files", &many)?;
    }
    store.record_calls("files", &[calls("tool-000", 1), calls("tool-299", 1)])?;
    let kept = recorded(&store)?;
    assert_eq!(kept.len(), 201);
    assert_eq!(kept[0], row("files", "(others)", 101, 101));
    assert_eq!(kept[1], row("files", "tool-000", 2, 2));
    store.record_calls(&"\n".repeat(500), &[calls("\u{1b}", 1)])?;
    assert!(recorded(&store)?.contains(&row("unnamed", "unnamed", 1, 1)));
    store.record_calls("quiet", &[CallFigures::new("never called")])?;
    assert!(!recorded(&store)?.iter().any(|(server, ..)| server == "quiet"));
    Ok(())
}

/// Five hours of a busy tool, and one, long ago, of a quiet one.
fn hours(database: &Database) -> TestResult<Store> {
    let store = database.store()?;
    for hour in ["2025-03-01T01", "2025-03-01T02", "2025-03-01T03", "2026-01-01T04", "2026-01-01T05"] {
        store.record_calls("busy", &[calls("read", 1)])?;
        database.execute(&format!(
            "UPDATE tool_calls SET hour = '{hour}:00:00.000Z' WHERE hour > '2026-01-02' AND server = 'busy'"
        ))?;
    }
    store.record_calls("quiet", &[calls("read", 1)])?;
    database.execute("UPDATE tool_calls SET hour = '2025-01-01T00:00:00.000Z' WHERE server = 'quiet'")?;
    Ok(store)
}

#[test]
fn by_number_each_tool_keeps_its_newest_hours() -> TestResult {
    let database = Database::new(&[("history_limit", "3")])?;
    let store = hours(&database)?;
    assert_eq!(store.prune_plan()?.tool_calls, 2);
    assert_eq!(store.prune()?.tool_calls, 2);
    assert_eq!(recorded(&store)?, [row("busy", "read", 3, 3), row("quiet", "read", 1, 1)]);
    assert_eq!(store.prune()?.tool_calls, 0);
    Ok(())
}

#[test]
fn by_age_all_that_is_older_goes() -> TestResult {
    let database = Database::new(&[("history_max_age_days", "36500")])?;
    let store = hours(&database)?;
    assert_eq!(store.prune()?.tool_calls, 0);
    store.record_calls("busy", &[calls("read", 1)])?;
    assert_eq!(store.calls(Some(Duration::from_hours(1)))?[0].calls, 1, "those of now");
    store.set_setting("history_max_age_days", "0.5")?;
    assert_eq!(store.prune()?.tool_calls, 6);
    assert_eq!(recorded(&store)?, [row("busy", "read", 1, 1)]);
    Ok(())
}
