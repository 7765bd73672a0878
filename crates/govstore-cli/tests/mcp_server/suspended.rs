//! Ctrl-Z in a terminal stops a client and its server together, and `fg` has both go on.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use crate::TestResult;
use crate::client::{Home, wait_until};
use govstore_testkit::McpClient;

#[test]
fn a_server_that_was_suspended_together_with_its_client_answers() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    store.set_setting("heartbeat_interval_s", "0.2")?;
    store.set_setting("stale_after_s", "1")?;
    let mut other = home.serving()?;

    // A shell is the client; stdin and stdout are the test's.
    let mut client = Command::new("sh");
    client.args(["-c", "exec 3<&0; \"$@\" <&3 & exec 3<&-; wait", "client"]);
    let serve = home.serve();
    client.arg(serve.get_program()).args(serve.get_args()).env("RUST_LOG", "off").process_group(0);
    let mut wire = McpClient::spawn(client)?;
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "writer" }))?;
    assert_eq!(wire.answer()?["result"]["structuredContent"]["success"], true);
    let newest = || Ok(store.processes()?.pop());
    let process_id = wait_until("its row", newest)?.process_id;

    let group = Pid::from_raw(i32::try_from(wire.child.id())?).ok_or("no PID")?;
    let shell = rusqlite::Connection::open(home.database())?;
    shell.execute_batch("BEGIN IMMEDIATE")?; // so that it stops outside its own transaction
    kill_process_group(group, Signal::TSTP)?;
    let pid = store.processes()?.pop().ok_or("its row")?.pid;
    wait_until("the server to stop", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.contains(") T ").then_some(()))
    })?;
    shell.execute_batch("ROLLBACK")?;
    wait_until("three times stale_after_s to pass", || {
        let silent = store.processes()?.into_iter().find(|process| process.process_id == process_id);
        let silent_s = silent.ok_or("its row is gone")?.heartbeat_age_s.ok_or("it has no heartbeat")?;
        Ok((silent_s > 3.0).then_some(()))
    })?;
    store.reap_with_second_look(|_, _| ())?; // beside the other server's own scans
    wire.call(2, "process_agent_update", &json!({ "agent_id": "writer" }))?; // typed while it was stopped
    kill_process_group(group, Signal::CONT)?;
    assert_eq!(wire.answer()?["result"]["structuredContent"]["success"], true);
    assert_eq!(store.agent("writer")?.total_updates, 2);
    let row = store.processes()?.into_iter().find(|process| process.process_id == process_id);
    assert!(row.is_some(), "nobody took it for dead meanwhile");
    let signalled = |outcome: govstore::Outcome| {
        matches!(outcome, govstore::Outcome::Terminated | govstore::Outcome::Killed)
    };
    assert!(!store.reap_events(100)?.iter().any(|event| signalled(event.outcome)));

    wire.close_stdin();
    assert!(wire.ended()?.success());
    other.close_stdin();
    assert!(other.ended()?.success());
    Ok(())
}
