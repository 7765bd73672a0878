//! A process that is stopped inside its write transaction blocks every writer. Those who wait help it, or end it,
//! with nobody's help; whom they can't identify they name and leave alone.
#![cfg(all(target_os = "linux", not(govstore_portable), debug_assertions))]

mod server;

use std::process::Command;
use std::time::{Duration, Instant};

use server::{Database, Server, TestResult, example, state_letter, wait_until};

/// Stops a process at a place in the code, once.
const STOP_AT: &str = "GOVSTORE_STOP_AT";

/// What is promised, `stale_after_s` and two intervals, by these settings.
const PROMISED: Duration = Duration::from_millis(1_400);
/// On a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(5);
const SETTINGS: [(&str, &str); 4] = [
    ("heartbeat_interval_s", "0.2"),
    ("stale_after_s", "1"),
    ("lock_timeout_ms", "300"),
    ("terminate_grace_ms", "300"),
];

fn database() -> Result<Database, Box<dyn std::error::Error>> {
    Database::new(&SETTINGS)
}

/// A worker that stops inside its first update.
fn victim(database: &Database, variable: &str) -> Server {
    let mut command = Command::new(example("worker"));
    command.arg(database.path()).arg("victim").env(variable, "after the read:1");
    let mut victim = Server::launch_command(command).registered();
    victim.tell("update writer");
    wait_until("the victim to stop", || state_letter(victim.pid()) == Some('T'));
    victim
}

#[test]
fn an_idle_fleet_wakes_a_server_that_was_stopped_inside_its_transaction() -> TestResult {
    let database = database()?;
    let fleet = [(); 3].map(|()| Server::start(&database, &[]));
    let mut victim = victim(&database, STOP_AT);
    let stopped = Instant::now();
    assert_eq!(victim.expect_line("updated"), "1", "nothing is lost");
    assert!(stopped.elapsed() < PROMISED + SLACK, "{:?}", stopped.elapsed());
    wait_until("the ledger", || database.ledger_of(victim.process_id).is_ok_and(|ledger| !ledger.is_empty()));
    let told = [("alive".to_owned(), "CONT".to_owned(), "continued".to_owned())];
    assert_eq!(database.ledger_of(victim.process_id)?, told);
    victim.tell("update writer");
    assert_eq!(victim.expect_line("updated"), "2");
    victim.end();
    fleet.into_iter().for_each(Server::end);
    Ok(())
}
