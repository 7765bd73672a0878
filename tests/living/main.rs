//! The living are never harmed: not while the database can't be written, not for a newcomer, not by a reaper that sees
//! another clock, and not on the word of a forged row. Real servers, real reapers, and the binary's own `reap`.
//!
//! `outage` locks the database, `full_disk` fills its disk, `suspended` stops a server together with its client,
//! `elsewhere` has other namespaces and users, and `old_servers` runs what govstore 0.1.0 runs.
#![cfg(all(target_os = "linux", not(govstore_portable)))]

mod elsewhere;
mod full_disk;
mod old_servers;
mod outage;
mod suspended;

use std::process::{Command, Output, Stdio};

use govstore::Store;
use govstore_testkit::{Database, TestResult};

/// The second look comes soon, and so does staleness.
const SETTINGS: [(&str, &str); 3] =
    [("heartbeat_interval_s", "0.2"), ("stale_after_s", "1"), ("terminate_grace_ms", "500")];

/// The binary on this database.
fn govstore(database: &Database, arguments: &[&str]) -> Command {
    let mut command = Command::new(govstore_testkit::govstore());
    command.args(["--db", &database.address()]).args(arguments).stdin(Stdio::null());
    command
}

/// What a command says when it has done what it was asked to.
#[track_caller]
fn done(mut command: Command) -> Output {
    let output = command.output().expect("govstore starts");
    assert!(output.status.success(), "{output:?}");
    output
}

/// No reaper has signalled anybody.
fn assert_no_signal(database: &Database) -> TestResult {
    let signalled = database.rows("SELECT name, pid, evidence FROM reap_events WHERE signals <> ''")?;
    assert!(signalled.is_empty(), "{signalled:?}");
    Ok(())
}

/// For how long every server has not beaten; `None` if one of them never has.
fn shortest_silence_s(store: &Store) -> Option<f64> {
    let processes = store.processes().ok()?;
    processes
        .iter()
        .map(|process| process.heartbeat_age_s)
        .try_fold(f64::INFINITY, |least, age| Some(least.min(age?)))
}
