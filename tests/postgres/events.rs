//! Who follows events, and who is told of them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::Store;
use govstore_testkit::{Connected, TestResult};

use crate::{database, update};

/// Reads on from the last event that was seen, as `events --follow` does, until nobody writes any more.
fn follow(store: &Store, is_over: &AtomicBool) -> govstore::Result<Vec<i64>> {
    let mut seen: Vec<i64> = Vec::new();
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        let page = store.events_after(seen.last().copied().unwrap_or(0), 100)?;
        if page.is_empty() && was_over {
            return Ok(seen);
        }
        seen.extend(page.iter().map(|event| event.event_id));
    }
}

#[test]
fn a_follower_misses_no_event_whoever_commits_first() -> TestResult {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 40;
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    for n in 0..WRITERS {
        update(&store, &format!("agent-{n}"))?;
    }
    let is_over = AtomicBool::new(false);
    let seen = thread::scope(|scope| -> TestResult<_> {
        let following = scope.spawn(|| follow(&store, &is_over));
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let address = database.address();
                scope.spawn(move || -> Result<(), String> {
                    let agent_id = format!("agent-{n}");
                    // Half of them are slow between the event and the commit, as somebody's own script may be.
                    if n % 2 == 0 {
                        let connected = Connected::to(&address).map_err(|e| e.to_string())?;
                        let slow = format!(
                            "BEGIN;
                             INSERT INTO agent_events (agent_id, event, occurred_at) VALUES ('{agent_id}', 'paused', now());
                             SELECT pg_sleep(0.003 * random());
                             COMMIT"
                        );
                        (0..ROUNDS).try_for_each(|_| connected.execute(&slow)).map_err(|e| e.to_string())
                    } else {
                        let store = Store::open(&address).map_err(|e| e.to_string())?;
                        (0..ROUNDS / 2).try_for_each(|_| {
                            store.pause(&agent_id, None).and_then(|_| store.resume(&agent_id)).map(drop)
                        }).map_err(|e| e.to_string())
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no panic")?;
        }
        is_over.store(true, Ordering::Release);
        Ok(following.join().expect("no panic")?)
    })?;
    let there: BTreeSet<i64> = database
        .rows("SELECT event_id FROM agent_events")?
        .iter()
        .filter_map(|row| row[0].as_i64())
        .collect();
    assert!(there.len() >= WRITERS * (ROUNDS + 1), "{}", there.len());
    assert_eq!(seen.len(), there.len());
    assert!(seen.into_iter().eq(there), "each once, in the order of their numbers");
    Ok(())
}

#[test]
fn what_began_earlier_and_is_committed_later_is_noticed() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    update(&store, "early")?;
    let slow = Connected::to(&database.address())?;
    slow.execute("BEGIN; UPDATE agents SET notes = 'slow' WHERE agent_id = 'early'")?;
    let mut watch = store.watch_changes()?;
    update(&store, "late")?;
    assert!(watch.has_changed()?);
    // Other tests use the same server: until it is quiet for a moment.
    while watch.has_changed()? {}
    slow.execute("COMMIT")?;
    assert!(watch.has_changed()?);
    assert_eq!(store.agent("early")?.notes, "slow");
    Ok(())
}

#[test]
fn an_event_wakes_whoever_waits_for_one_and_an_update_wakes_nobody() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    update(&store, "writer")?;
    let (tell, told) = mpsc::channel();
    let mut watch = store.watch_changes()?;
    watch.call_on_event(move || tell.send(()).expect("the test waits"))?;
    for _ in 0..5 {
        update(&store, "writer")?;
    }
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "no event was written");
    let other = database.store()?;
    other.pause("writer", None)?;
    told.recv_timeout(Duration::from_secs(10))?;

    // Its connection is lost: looking goes on, and in time it is told again.
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN govstore' AND datname = current_database()",
    )?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "nobody listens again");
        watch.has_changed()?;
        other.resume("writer").or_else(|_| other.pause("writer", None))?;
        if told.recv_timeout(Duration::from_millis(500)).is_ok() {
            break;
        }
    }
    Ok(())
}
