//! What a database on a PostgreSQL server has that a file has not: connections that break, servers that are replaced,
//! other machines. The tests start servers of their own; where PostgreSQL is not installed they say so, and pass unless
//! `CI=true`. What a store does whatever its backend is tested by the others, with `GOVSTORE_TEST_BACKEND=postgres`.
#![cfg(unix)]

mod broken;
mod copying;
mod events;
mod failover;
mod hosts;
mod machines;
mod opening;
mod pooler;
mod rerun;
mod tls;
mod views;
mod waiting;

use std::time::{Duration, Instant};

use govstore::{Store, Update};
use govstore_testkit::{Cluster, Database, TestResult};

/// How much longer than its deadline a call may take.
const GRACE: Duration = Duration::from_secs(1);

/// A database on the shared server; `None` where there is no PostgreSQL.
fn database() -> TestResult<Option<Database>> {
    Database::on_a_server()
}

/// A server of the test's own whose commits are durable.
fn durable_cluster(more: &[&str]) -> TestResult<Option<Cluster>> {
    let mut settings = vec!["max_connections=100", "shared_buffers=32MB", "wal_level=replica"];
    settings.extend(more);
    Cluster::start(&settings)
}

fn update(store: &Store, agent_id: &str) -> govstore::Result<i64> {
    store.process_update(agent_id, &Update::new()).map(|report| report.metrics.total_updates)
}

/// Runs a call that has to end at its deadline, with a grace.
fn timed<T>(limit: Duration, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = call();
    let took = began.elapsed();
    assert!(took < limit + GRACE, "it took {took:?}, with a deadline of {limit:?}");
    outcome
}
