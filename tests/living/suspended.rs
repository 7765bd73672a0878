//! Client and server suspended together, as by Ctrl-Z in a terminal: whoever did that will have both go on.

use std::os::unix::process::CommandExt;
use std::process::Command;

use govstore::Update;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{SETTINGS, assert_no_signal, done, govstore};
use govstore_testkit::{Database, Server, TestResult, state_letter, test_worker, wait_until};

/// A shell that has a worker for a server, in a process group of its own as in a terminal.
fn client_with_worker(database: &Database) -> Server {
    let mut client = Command::new("sh");
    // A shell gives a job in the background /dev/null for stdin, unless told otherwise.
    client.args(["-c", "exec 3<&0; \"$@\" <&3 & exec 3<&-; wait", "client"]);
    client.arg(test_worker()).arg(database.address()).arg("suspended").process_group(0);
    Server::launch_command(client).registered()
}

fn survive(signal: Signal) -> TestResult {
    let database = Database::new(&SETTINGS)?;
    let store = database.store()?;
    let mut suspended = client_with_worker(&database);
    let process_id = suspended.process_id;
    suspended.tell("update writer\nlock writer");
    suspended.expect_line("locked");
    let silent = || store.processes().unwrap().into_iter().find(|p| p.process_id == process_id);
    let pid = silent().ok_or("it is registered")?.pid;
    let others = [Server::start(&database, &[]), Server::start(&database, &["--agent", "other"])];

    let group = Pid::from_raw(i32::try_from(suspended.pid())?).ok_or("no PID")?;
    let write_lock = database.hold_write_lock()?; // so that it stops outside its own transaction
    kill_process_group(group, signal)?;
    for pid in [suspended.pid(), pid] {
        wait_until("client and server to stop", || state_letter(pid) == Some('T'));
    }
    drop(write_lock);

    wait_until("three times stale_after_s to pass", || {
        silent().and_then(|process| process.heartbeat_age_s).is_some_and(|age_s| age_s > 3.0)
    });
    done(govstore(&database, &["reap"]));
    assert_eq!(database.ledger_of(process_id)?, [("alive".to_owned(), String::new(), "released".to_owned())]);
    assert_eq!(database.state_of(process_id)?, "running");
    assert_eq!(state_letter(pid), Some('T'), "nobody has woken it");
    store.process_update("writer", &Update::default())?; // its lock doesn't keep others waiting

    kill_process_group(group, Signal::CONT)?;
    suspended.tell("beat");
    assert_eq!(suspended.expect_line("beat"), "Alive");
    suspended.tell("update newcomer");
    assert_eq!(suspended.expect_line("updated"), "1");
    suspended.tell("total writer");
    assert_eq!(suspended.expect_line("total"), "2");
    suspended.tell("update writer");
    let told = suspended.expect_line("failed after");
    assert!(told.contains("lost its lock"), "{told}");
    suspended.close_stdin();
    assert_eq!(suspended.expect_line("ended:"), "stdin closed");
    for other in others {
        other.end();
    }
    assert_no_signal(&database)
}

#[test]
fn a_server_that_was_suspended_together_with_its_client_goes_on() -> TestResult {
    survive(Signal::STOP)
}

#[test]
fn so_does_one_that_was_suspended_as_a_terminal_does_it() -> TestResult {
    survive(Signal::TSTP)
}
