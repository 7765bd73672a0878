//! What is past goes by number and by age; what explains the present stays.

use std::time::Duration;

use govstore::{EventKind, ProcessInfo, Store, Update};
use govstore_testkit::{Database, TestResult, wait_until};

/// An agent whose health changes with every update.
fn flapping(store: &Store, agent: &str, updates: usize) -> TestResult {
    let batch: Vec<_> =
        (0..updates).map(|n| (agent, Update::new().complexity(if n % 2 == 0 { 0.1 } else { 0.9 }))).collect();
    for result in store.process_updates(&batch) {
        result?;
    }
    Ok(())
}

/// Makes everything of an agent up to an update, or an event, this many days older.
fn age(database: &Database, agent: &str, updates_up_to: i64, days: f64) -> TestResult {
    let then = chrono_days_ago(days);
    database.write(&[
        (
            "UPDATE agent_updates SET applied_at = $1 WHERE agent_id = $2 AND update_no <= $3",
            vec![then.clone().into(), agent.into(), updates_up_to.into()],
        ),
        ("UPDATE agent_events SET occurred_at = $1 WHERE agent_id = $2", vec![then.into(), agent.into()]),
    ])
}

/// The time so many days ago, as rows have it.
fn chrono_days_ago(days: f64) -> String {
    let ago = std::time::SystemTime::now() - Duration::from_secs_f64(days * 86_400.0);
    govstore::Timestamp::from(ago).to_string()
}

#[test]
fn events_go_with_the_updates_that_they_are_about() -> TestResult {
    let database = Database::new(&[("history_limit", "1000")])?;
    let store = database.store()?;
    flapping(&store, "flapping", 3_000)?;
    store.pause("flapping", Some("too restless"))?;
    assert_eq!(store.events("flapping")?.len(), 3_002);
    let planned = store.prune_plan()?;
    let pruned = store.prune()?;
    assert_eq!((pruned.updates, pruned.events, pruned.kept_for_statistics), (2_000, 2_001, 0));
    assert_eq!(pruned, planned);
    assert_eq!((store.history("flapping", None)?.len(), store.events("flapping")?.len()), (1_000, 1_001));
    assert_eq!(store.prune()?.updates, 0, "it is done");
    Ok(())
}

#[test]
fn what_stays_in_spite_of_the_limit_is_said() -> TestResult {
    let database = Database::new(&[("history_limit", "50")])?;
    let store = database.store()?;
    flapping(&store, "busy", 1_200)?;
    let pruned = store.prune()?;
    assert_eq!((pruned.updates, pruned.kept_for_statistics), (200, 950));
    assert_eq!(store.events("busy")?.len(), 51, "the newest 50, and the first of the database");
    assert_eq!(store.events("busy")?[0].event, EventKind::Created);
    assert_eq!(store.window_statistics("busy")?.history_size, 1_000);
    Ok(())
}

#[test]
fn an_age_leaves_what_explains_the_present() -> TestResult {
    let database = Database::new(&[("history_max_age_days", "30")])?;
    let store = database.store()?;
    for agent in ["old", "mixed", "young"] {
        flapping(&store, agent, 10)?;
    }
    store.pause("old", Some("gone for good"))?;
    flapping(&store, "mixed", 1)?;
    age(&database, "old", 10, 31.0)?;
    age(&database, "mixed", 4, 40.0)?;
    // One row with a wrong time, as of a clock that was set wrong: what comes before it is young, and it makes no gap.
    database.execute("UPDATE agent_updates SET applied_at = '2000-01-01T00:00:00.000Z' WHERE agent_id = 'young' AND update_no = 5")?;
    let pruned = store.prune()?;
    assert_eq!(pruned.updates, 9 + 4, "{pruned:?}");
    let numbers = |agent| -> govstore::Result<Vec<i64>> {
        Ok(store.history(agent, None)?.iter().map(|row| row.update_no).collect())
    };
    assert_eq!(numbers("old")?, [10], "the newest stays, however old");
    assert_eq!(numbers("mixed")?, (5..=11).collect::<Vec<_>>());
    assert_eq!(numbers("young")?, (1..=10).collect::<Vec<_>>());
    let left = store.events("old")?;
    assert_eq!(left.len(), 2, "the first of the database, and the newest");
    assert_eq!((left[1].event, left[1].reason.as_deref()), (EventKind::Paused, Some("gone for good")));
    assert_eq!(store.agent("old")?.total_updates, 10);
    database.assert_sound()
}

#[test]
fn the_ledger_goes_by_number_and_by_age() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    for (n, days) in [(1, 50.0), (2, 40.0), (3, 1.0), (4, 0.5)] {
        database.write(&[(
            "INSERT INTO reap_events (recorded_at, process_id, name, version, pid, boot_id, start_ticks, verdict,
               evidence, outcome, reaper_pid)
             VALUES ($1, $2, 'n', '1', 7, 'boot', 7, 'exited', 'why', 'forgotten', 7)",
            vec![chrono_days_ago(days).into(), n.into()],
        )])?;
    }
    store.set_setting("history_max_age_days", "45")?;
    assert_eq!(store.prune()?.reap_events, 1);
    store.set_setting("history_max_age_days", "none")?;
    store.set_setting("history_limit", "1")?;
    assert_eq!(store.prune()?.reap_events, 2);
    assert_eq!(store.reap_events(10)?.iter().map(|event| event.process_id).collect::<Vec<_>>(), [4]);
    Ok(())
}

#[test]
fn a_server_prunes_by_itself_where_it_is_told_to() -> TestResult {
    let database = Database::new(&[("history_limit", "1000"), ("prune_automatically", "true")])?;
    let store = database.store()?;
    flapping(&store, "busy", 1_500)?;
    let server = database.store()?;
    let registration = server.register(ProcessInfo::new("test", "1"))?;
    registration.start_heartbeat()?;
    wait_until("the history to be pruned", || {
        store.history("busy", None).is_ok_and(|history| history.len() == 1_000)
    });
    Ok(())
}
