//! Other machines: their processes are judged by the lease of their host alone.

use std::thread;

use govstore::{Error, ProcessInfo, Update, Verdict};
use govstore_testkit::TestResult;
use serde_json::json;

use crate::database;

/// Lets the lease of every host but this one lapse.
const LAPSE: &str =
    "UPDATE hosts SET lease_until = clock_timestamp() - interval '1 s' WHERE host_key LIKE 'other/%'";

#[test]
fn a_host_that_died_is_cleared_once_and_in_batches() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    database.execute(
        "INSERT INTO hosts (host_key, name, registered_at, beat_at, lease_until)
         VALUES ('other/boot', 'db-client-2', now(), now(), now() + interval '40 s');
         INSERT INTO processes (name, version, pid, host_id, boot_id, start_ticks, registered_at, last_activity_monotonic_ms)
         SELECT 'far', '1', n, 'other', 'boot', n, now(), 0 FROM generate_series(1, 1000) AS n;
         INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
         SELECT process_id, boot_id, 0, now() - interval '1 day', 1000 FROM processes WHERE name = 'far';
         INSERT INTO agents (agent_id, created_at) SELECT 'agent-' || n, now() FROM generate_series(1, 100) AS n;
         INSERT INTO agent_locks (agent_id, token, process_id, acquired_at, renewed_at)
         SELECT 'agent-' || p.pid, 7, p.process_id, now(), now() FROM processes AS p WHERE name = 'far' AND pid <= 100",
    )?;
    // While its lease holds nobody touches them, however old their heartbeats are.
    assert!(store.reap()?.events.is_empty());
    let plan = store.reap_plan()?;
    assert!(
        plan.judgements.iter().all(|judged| judged.verdict == Verdict::Remote),
        "{:?}",
        plan.judgements.first()
    );

    database.execute(LAPSE)?;
    let freed: usize = thread::scope(|scope| {
        let reapers: Vec<_> = (0..4).map(|_| scope.spawn(|| database.store()?.reap())).collect();
        reapers.into_iter().map(|reaper| reaper.join().expect("no panic").expect("reaped").events.len()).sum()
    });
    assert_eq!(freed, 1_000, "each once");
    let ledger = database.rows(
        "SELECT verdict, outcome, signals, count(*), count(DISTINCT process_id) FROM reap_events GROUP BY 1, 2, 3",
    )?;
    assert_eq!(ledger, [[json!("remote"), json!("forgotten"), json!(""), json!(1_000), json!(1_000)]]);
    assert_eq!(database.count("SELECT count(*) FROM heartbeats")?, 0);
    let locks =
        database.rows("SELECT count(*), min(token), max(token), count(process_id) FROM agent_locks")?;
    assert_eq!(locks, [[json!(100), json!(8), json!(8), json!(0)]]);
    assert!(store.reap()?.events.is_empty(), "it is cleared");
    Ok(())
}

#[test]
fn what_a_host_writes_after_its_lease_has_lapsed_is_refused() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let far = database.store()?;
    let registration = far.register(ProcessInfo::new("far", "1"))?;
    far.process_update("writer", &Update::new())?;
    let lock = far.lock_agent("writer", None)?;
    // As if it ran on another machine.
    database.execute(&format!(
        "UPDATE processes SET host_id = 'other', boot_id = 'boot' WHERE process_id = {};
         INSERT INTO hosts (host_key, name, registered_at, beat_at, lease_until)
         VALUES ('other/boot', 'db-client-2', now(), now(), now())",
        registration.process_id()
    ))?;
    database.execute(LAPSE)?;
    let near = database.store()?;
    let events = near.reap()?.events;
    assert_eq!(events.len(), 1);
    assert!(events[0].evidence.contains("db-client-2"), "{}", events[0].evidence);

    let late = far.process_update("writer", &Update::new());
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
    assert_eq!(near.process_update("writer", &Update::new())?.metrics.total_updates, 2);
    drop(lock);
    // Its next beat registers it again.
    assert_eq!(registration.beat()?, govstore::Beat::Superseded);
    Ok(())
}

/// A process of another machine has the lock: it is named with its machine.
#[test]
fn the_holder_of_a_lock_on_another_machine_is_left_alone_while_its_lease_holds() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    let _registration = store.register(ProcessInfo::new("near", "1"))?;
    store.process_update("writer", &Update::new())?;
    database.execute(
        "INSERT INTO hosts (host_key, name, registered_at, beat_at, lease_until)
         VALUES ('other/boot', 'db-client-2', now(), now(), now() + interval '40 s');
         INSERT INTO processes (name, version, pid, host_id, boot_id, start_ticks, registered_at, last_activity_monotonic_ms)
         VALUES ('far', '1', 4711, 'other', 'boot', 1, now(), 0);
         INSERT INTO agent_locks (agent_id, token, process_id, acquired_at, renewed_at)
         SELECT 'writer', 7, process_id, now(), now() FROM processes WHERE name = 'far'",
    )?;
    let limit = std::time::Duration::from_millis(300);
    let refused = store.with_lock_timeout(limit).process_update("writer", &Update::new());
    let Err(error @ Error::AgentLocked { .. }) = &refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("PID 4711"), "{error}");
    database.execute(LAPSE)?;
    assert_eq!(store.reap()?.events.len(), 1);
    store.process_update("writer", &Update::new())?;
    Ok(())
}
