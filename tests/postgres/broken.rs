//! Sessions that end at any moment: what was acknowledged is there, nothing is there twice.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, ProcessInfo, Store, Update};
use govstore_testkit::{Cluster, Proxy, TestResult};

use crate::{durable_cluster, update};

const WRITERS: usize = 8;

/// What a writer was told.
#[derive(Default)]
pub struct Told {
    /// Updates that were acknowledged.
    pub acknowledged: i64,
    /// Those of which the library could not find out what became of them.
    pub in_doubt: i64,
    /// Those that were said not to be made.
    pub refused: i64,
}

/// Eight writers with keys and eight without, on agents of their own, until `trouble` returns. What they were told.
pub fn storm(
    address: &str,
    patience: Duration,
    trouble: impl FnOnce() -> TestResult,
) -> TestResult<Vec<Told>> {
    let store = Store::options().lock_timeout(patience).max_connections(20).open(address)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (store, is_over) = (&store, &is_over);
        let writers: Vec<_> = (0..2 * WRITERS)
            .map(|n| {
                scope.spawn(
                    move || if n < WRITERS { keyed(store, n, is_over) } else { unkeyed(store, n, is_over) },
                )
            })
            .collect();
        let troubled = trouble();
        is_over.store(true, Ordering::Release);
        let told = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        troubled.map(|()| told)
    })
}

/// Each update is made again under its key until it is acknowledged.
fn keyed(store: &Store, n: usize, is_over: &AtomicBool) -> Told {
    let mut told = Told::default();
    while !is_over.load(Ordering::Acquire) {
        let update = Update::new().key(format!("k{}", told.acknowledged));
        let give_up = Instant::now() + Duration::from_mins(1);
        loop {
            match store.process_update(&agent(n), &update) {
                Ok(report) => {
                    assert_eq!(report.metrics.total_updates, told.acknowledged + 1, "{report:?}");
                    break;
                }
                Err(error @ (Error::Unreachable { .. } | Error::Unsettled { .. })) => {
                    assert!(Instant::now() < give_up, "{error}");
                    told.in_doubt += i64::from(error.is_in_doubt());
                    told.refused += i64::from(!error.is_in_doubt());
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        told.acknowledged += 1;
    }
    told
}

fn unkeyed(store: &Store, n: usize, is_over: &AtomicBool) -> Told {
    let mut told = Told::default();
    while !is_over.load(Ordering::Acquire) {
        match store.process_update(&agent(n), &Update::new()) {
            Ok(_) => told.acknowledged += 1,
            Err(error) if error.is_in_doubt() => told.in_doubt += 1,
            Err(Error::Unreachable { .. }) => told.refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    told
}

pub fn agent(n: usize) -> String {
    format!("agent-{n}")
}

/// Every acknowledged update is there, and each of the others at most once. Returns how many are there.
pub fn assert_nothing_lost(store: &Store, told: &[Told]) -> TestResult<i64> {
    let mut all = 0;
    for (n, told) in told.iter().enumerate() {
        let rows = store.history(&agent(n), None)?;
        let numbers: HashSet<i64> = rows.iter().map(|row| row.update_no).collect();
        let there = i64::try_from(rows.len())?;
        assert_eq!(numbers.len(), rows.len(), "agent {n}: a number twice");
        assert_eq!(store.agent(&agent(n))?.total_updates, there, "agent {n}");
        if n < WRITERS {
            let keys: HashSet<_> = rows.iter().map(|row| row.key.clone()).collect();
            assert_eq!((keys.len(), there), (rows.len(), told.acknowledged), "agent {n}: each key once");
        } else {
            let most = told.acknowledged + told.in_doubt;
            assert!(
                (told.acknowledged..=most).contains(&there),
                "agent {n}: {there} of {}",
                told.acknowledged
            );
        }
        all += there;
    }
    Ok(all)
}

fn end_some_session(cluster: &Cluster, name: &str) -> TestResult {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name LIKE 'govstore%' AND datname = current_database() ORDER BY random() LIMIT 1";
    cluster.with(name, |connected| {
        for _ in 0..20 {
            connected.query(sql, &[])?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    })
}

#[test]
fn sessions_that_are_ended_at_any_moment_cost_nobody_an_update() -> TestResult {
    let Some(cluster) = durable_cluster(&["synchronous_commit=on"])? else { return Ok(()) };
    let rounds: usize = std::env::var("GOVSTORE_TERMINATIONS").map_or(Ok(3), |rounds| rounds.parse())?;
    for _ in 0..rounds {
        let name = cluster.make_database()?;
        let address = cluster.address(&name);
        let told = storm(&address, Duration::from_secs(5), || {
            (0..10).try_for_each(|_| end_some_session(&cluster, &name))
        })?;
        // The server is there all the time: every doubt is settled.
        assert!(told.iter().all(|told| told.in_doubt + told.refused == 0));
        let there = assert_nothing_lost(&Store::open(&address)?, &told)?;
        assert!(there > 100, "{there}");
    }
    Ok(())
}

#[test]
fn a_server_that_crashes_and_comes_back_has_lost_nothing() -> TestResult {
    let Some(mut cluster) = durable_cluster(&["synchronous_commit=on"])? else { return Ok(()) };
    let name = cluster.make_database()?;
    let address = cluster.address(&name);
    for _ in 0..2 {
        let told = storm(&address, Duration::from_secs(30), || {
            thread::sleep(Duration::from_millis(500));
            cluster.down("immediate")?;
            thread::sleep(Duration::from_millis(200));
            cluster.up()?;
            thread::sleep(Duration::from_millis(500));
            Ok(())
        })?;
        assert!(told.iter().all(|told| told.in_doubt + told.refused == 0), "everybody waited for it");
        let store = Store::open(&address)?;
        assert_nothing_lost(&store, &told)?;
        drop(store);
        cluster.with(&name, |connected| {
            connected.execute("TRUNCATE agent_updates, agent_events, agent_locks, agents")
        })?;
    }
    Ok(())
}

/// The connection breaks at each piece that goes over it during an update, in either direction, before and after it has
/// arrived: each update is acknowledged, and there once.
#[test]
fn a_connection_that_breaks_at_any_message_costs_nobody_an_update() -> TestResult {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let name = cluster.make_database()?;
    let proxy = Proxy::to(cluster.port())?;
    let address = proxy.address(&name);
    let store = Store::options().lock_timeout(Duration::from_secs(20)).open(address)?;
    let registration = store.register(ProcessInfo::new("test", "1.0"))?;
    let mut made = 0;
    for (arrives, has_key) in [(false, false), (true, false), (false, true), (true, true)] {
        for piece in 1.. {
            update(&store, "writer")?; // on a connection that is sound
            proxy.cut_at(piece, arrives);
            let update = Update::new();
            let update = if has_key { update.key(format!("{arrives}-{piece}")) } else { update };
            let report = store.process_update("writer", &update)?;
            made += 2;
            assert_eq!(
                (report.metrics.total_updates, report.repeated),
                (made, false),
                "{arrives} {has_key} {piece}"
            );
            if !proxy.has_cut() {
                assert!(piece > 3, "an update is more than {piece} pieces");
                break;
            }
        }
        proxy.cut_at(i64::MAX, true);
    }
    registration.deregister()?;
    let there = store.history("writer", None)?;
    assert!(there.iter().map(|row| row.update_no).eq(1..=made), "each once");
    Ok(())
}
