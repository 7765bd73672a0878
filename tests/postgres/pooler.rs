//! A pooler in transaction mode in between: nothing of a session lasts longer than its transaction.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use govstore::{Error, Store, Update};
use govstore_testkit::{Cluster, Database, Pooler, TestResult};

use crate::update;

#[test]
fn what_a_store_does_works_and_leaves_nothing_on_sessions_of_others() -> TestResult {
    let Some(database) = Database::behind_a_pooler()? else { return Ok(()) };
    let stores: Vec<Store> = (0..8).map(|_| database.store()).collect::<Result<_, _>>()?;
    thread::scope(|scope| {
        for (n, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..50 {
                    update(store, &format!("agent-{n}")).expect("an update of its own agent");
                    update(store, "shared").expect("one of all");
                    store.history("shared", Some(3)).expect("a read");
                }
            });
        }
    });
    assert_eq!(database.count("SELECT total_updates FROM agents WHERE agent_id = 'shared'")?, 400);
    database.assert_numbered_without_gaps()?;
    // What was set for a transaction is gone with it, and nothing was prepared.
    let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.count(left)?, 0);
    Ok(())
}

#[test]
fn nobody_waits_for_longer_than_the_deadline_and_the_holder_is_named() -> TestResult {
    let Some(database) = Database::behind_a_pooler()? else { return Ok(()) };
    let store = database.store()?;
    update(&store, "writer")?;
    let registration = store.register(govstore::ProcessInfo::new("holder", "1.0"))?;
    let _lock = store.lock_agent("writer", Some("by hand"))?;
    let other = database.store()?;
    let refused =
        other.with_lock_timeout(Duration::from_millis(300)).process_update("writer", &Update::new());
    assert!(matches!(&refused, Err(Error::AgentLocked { .. })), "{refused:?}");
    registration.deregister()?;
    Ok(())
}

#[test]
fn a_pooler_that_is_killed_and_comes_back_loses_nothing_and_doubles_nothing() -> TestResult {
    const WRITERS: usize = 8;
    const RESTARTS: usize = 6;
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let Some(mut pooler) = Pooler::start(cluster)? else { return Ok(()) };
    let name = cluster.make_database()?;
    let address = pooler.address(&name);
    for n in 0..WRITERS {
        update(&Store::open(&address)?, &format!("agent-{n}"))?;
    }
    let is_over = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| -> TestResult<_> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let (address, is_over) = (&address, &is_over);
                scope.spawn(move || {
                    let store = Store::options().lock_timeout(Duration::from_secs(20)).open(address);
                    let store = store.expect("it is there at the beginning");
                    let mut acknowledged = HashSet::from([1]);
                    while !is_over.load(Ordering::Acquire) {
                        let number = update(&store, &format!("agent-{n}")).expect("it comes back in time");
                        assert!(acknowledged.insert(number), "{number} was given twice");
                    }
                    acknowledged
                })
            })
            .collect();
        for _ in 0..RESTARTS {
            thread::sleep(Duration::from_millis(400));
            pooler.down()?;
            thread::sleep(Duration::from_millis(100));
            pooler.up(cluster)?;
        }
        is_over.store(true, Ordering::Release);
        Ok(writers.into_iter().map(|writer| writer.join().expect("no panic")).collect::<Vec<_>>())
    })?;
    for (n, acknowledged) in acknowledged.iter().enumerate() {
        let there = cluster.with(&name, |connected| {
            let sql = format!("SELECT update_no FROM agent_updates WHERE agent_id = 'agent-{n}'");
            Ok(connected.query(&sql, &[])?.iter().map(|row| row.get::<_, i64>(0)).collect::<HashSet<_>>())
        })?;
        assert_eq!(acknowledged, &there, "agent-{n}: what was acknowledged is what is there");
    }
    Ok(())
}
