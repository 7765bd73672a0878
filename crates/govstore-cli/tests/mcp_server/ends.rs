//! How a server ends.

use std::error::Error;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::TestResult;
use crate::client::{Home, registered, wait_until};
use govstore_testkit::McpClient;

/// A second is what the server has, and six more at the end of input. The rest is for a busy machine; a call that blocks
/// takes a minute.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const LOCK_TIMEOUT_MS: &str = "60000";

/// A home whose servers wait a minute for locks.
fn patient_home() -> Result<Home, Box<dyn Error>> {
    let home = Home::new()?;
    home.store()?.set_setting("lock_timeout_ms", LOCK_TIMEOUT_MS)?;
    Ok(home)
}

/// Ends a server by `how`, with calls under way that wait for a lock, and checks how it ends.
fn ends_with_calls_in_flight(how: impl FnOnce(&mut McpClient) -> TestResult) -> TestResult {
    let home = patient_home()?;
    let mut wire = home.serving()?;
    let blocker = Connection::open(home.database())?;
    blocker.execute_batch("BEGIN IMMEDIATE")?;
    for id in 2..12 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
    }
    wire.request(12, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["id"], 12);
    let began = Instant::now();
    how(&mut wire)?;
    assert!(wire.ended()?.success());
    assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());
    blocker.execute_batch("ROLLBACK")?;
    assert_eq!(home.store()?.agent("a")?.total_updates, 1, "what was committed stays");
    Ok(())
}

/// Ends a server by `how` and checks that it deregisters.
fn ends_and_deregisters(how: impl FnOnce(&mut McpClient) -> TestResult) -> TestResult {
    let home = Home::new()?;
    let mut wire = home.serving()?;
    let store = home.store()?;
    assert_eq!(registered(&store)?, [wire.child.id()]);
    let began = Instant::now();
    how(&mut wire)?;
    assert!(wire.ended()?.success());
    assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());
    assert!(registered(&store)?.is_empty());
    Ok(())
}

#[test]
fn a_server_whose_client_closes_stdin_ends_and_deregisters() -> TestResult {
    ends_and_deregisters(|wire| {
        wire.close_stdin();
        Ok(())
    })?;
    ends_with_calls_in_flight(|wire| {
        wire.close_stdin();
        Ok(())
    })
}

#[test]
fn a_server_whose_client_closes_stdout_ends_and_deregisters() -> TestResult {
    let home = Home::new()?;
    let mut child = home.serve().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    writeln!(stdin, "{}", json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))?;
    let status = wait_until("the server to end", || Ok(child.try_wait()?))?;
    assert!(status.success());
    assert!(registered(&home.store()?)?.is_empty());
    Ok(())
}

/// A client that can't wait sends a signal.
#[cfg(unix)]
#[test]
fn a_server_that_ends_in_the_middle_of_much_work_deregisters_and_keeps_what_it_committed() -> TestResult {
    use rustix::process::{Pid, Signal, kill_process};

    let home = Home::new()?;
    let mut wire = home.serving()?;
    for id in 2..2_000 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
    }
    assert_eq!(wire.answer()?["id"], 2, "the others are under way");
    wire.close_stdin();
    kill_process(Pid::from_child(&wire.child), Signal::TERM)?;
    let answered = wire.remaining()?;
    assert!(wire.ended()?.success());
    let store = home.store()?;
    assert!(registered(&store)?.is_empty());
    let agent = store.agent("a")?;
    assert_eq!(i64::try_from(store.history("a", None)?.len())?, agent.total_updates);
    let (made, refused): (Vec<_>, Vec<_>) =
        answered.iter().partition(|answer| answer["result"]["isError"] == false);
    assert!(agent.total_updates >= 2 + i64::try_from(made.len())?, "an answer means that it is stored");
    for answer in refused {
        let error = answer["result"]["structuredContent"]["error"].as_str().unwrap_or_default();
        assert!(error.contains("the server is ending"), "{answer}");
    }
    Ok(())
}

#[test]
fn a_server_that_was_never_initialized_ends_as_well() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    let store = home.store()?;
    wait_until("the server to register", || Ok((!registered(&store)?.is_empty()).then_some(())))?;
    wire.close_stdin();
    assert!(wire.ended()?.success());
    assert!(registered(&store)?.is_empty());
    Ok(())
}

/// Its client starts another, which finds everything: the last to leave has folded in the log that had no name.
#[cfg(unix)]
#[test]
fn a_server_whose_log_was_deleted_refuses_ends_and_loses_nothing() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.serving()?;
    for id in 2..=5 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
        assert_eq!(wire.answer()?["result"]["isError"], false);
    }
    std::fs::remove_file(home.path().join("governance.db-wal"))?;
    let mut acknowledged = 5;
    // It looks every few milliseconds; a refusal makes it look again and end.
    for id in 6.. {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
        let result = &wire.answer()?["result"];
        if result["isError"] == false {
            acknowledged += 1;
            continue;
        }
        let error = result["structuredContent"]["error"].as_str().unwrap_or_default();
        assert!(error.contains("governance.db-wal was moved, deleted or replaced"), "{error}");
        break;
    }
    assert_eq!(wire.ended()?.code(), Some(1));
    assert_eq!(home.store()?.agent("a")?.total_updates, acknowledged);
    Ok(())
}

#[cfg(unix)]
mod unix {
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn signal(wire: &McpClient, signal: Signal) -> TestResult {
        let pid = Pid::from_raw(i32::try_from(wire.child.id())?).ok_or("no PID")?;
        Ok(kill_process(pid, signal)?)
    }

    #[test]
    fn a_server_that_is_asked_to_terminate_ends_and_deregisters() -> TestResult {
        ends_and_deregisters(|wire| signal(wire, Signal::TERM))?;
        ends_with_calls_in_flight(|wire| signal(wire, Signal::TERM))
    }

    #[test]
    fn a_server_that_is_interrupted_ends_and_deregisters() -> TestResult {
        ends_and_deregisters(|wire| signal(wire, Signal::INT))?;
        ends_with_calls_in_flight(|wire| signal(wire, Signal::INT))
    }

    #[test]
    fn a_server_that_is_asked_before_initialize_ends_as_well() -> TestResult {
        let home = Home::new()?;
        let mut wire = home.wire()?;
        wire.request(1, "ping", &json!({}))?;
        assert_eq!(wire.answer()?["id"], 1);
        signal(&wire, Signal::TERM)?;
        assert!(wire.ended()?.success());
        assert!(registered(&home.store()?)?.is_empty());
        Ok(())
    }

    /// A shell starts the server with a stdin that stays open, and is killed. The test takes the shell's place
    /// as the parent of what it leaves behind, to see how that ends.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_server_whose_parent_is_gone_ends_though_stdin_is_open() -> TestResult {
        use std::io::{BufRead, BufReader};
        use std::process::Command;

        use rustix::process::{WaitOptions, getpid, set_child_subreaper, waitpid};

        set_child_subreaper(Some(getpid()))?;
        let home = Home::new()?;
        let fifo = home.path().join("stdin");
        assert!(Command::new("mkfifo").arg(&fifo).status()?.success());
        let script = r#""$0" --db "$1" serve <"$2" >"$3" & echo $!; read -r forever"#;
        let mut shell = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_govstore")])
            .args([home.database(), fifo.clone(), home.path().join("stdout")])
            .env("RUST_LOG", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // Open for reading too, so that it never says that the client is gone.
        let _stdin = std::fs::OpenOptions::new().read(true).write(true).open(&fifo)?;
        let mut line = String::new();
        BufReader::new(shell.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let server: u32 = line.trim().parse()?;
        let store = home.store()?;
        wait_until("the server to register", || Ok((registered(&store)? == [server]).then_some(())))?;
        assert_eq!(store.processes()?[0].parent_pid, Some(shell.id()));

        let began = Instant::now();
        shell.kill()?;
        shell.wait()?;
        let pid = Pid::from_raw(i32::try_from(server)?).ok_or("no PID")?;
        let status = wait_until("the server to end", || Ok(waitpid(Some(pid), WaitOptions::NOHANG)?))?;
        assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());
        assert_eq!(status.1.exit_status(), Some(0));
        assert!(registered(&store)?.is_empty());
        Ok(())
    }

    #[test]
    fn a_server_that_a_reaper_claims_ends_without_being_told_twice() -> TestResult {
        let home = Home::new()?;
        home.store()?.set_setting("heartbeat_interval_s", "0.05")?;
        let mut wire = home.serving()?;
        let claim = Connection::open(home.database())?;
        claim.execute(
            "UPDATE processes SET state = 'terminating', claim_verdict = 'surplus', claim_evidence = 'too many',
               claimed_at = '2025-11-19T20:41:09.824Z', claim_until_monotonic_ms = 1
             WHERE pid = ?1",
            [wire.child.id()],
        )?;
        assert!(wire.ended()?.success());
        Ok(())
    }

    /// A client that reads nothing any more: the server must not wait for it.
    #[test]
    fn a_server_whose_client_stopped_reading_can_still_be_ended() -> TestResult {
        let home = Home::new()?;
        let mut child = home.serve().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).ok_or("no PID")?;
        let client = json!({ "name": "deaf", "version": "1" });
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        writeln!(
            stdin,
            "{}",
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
        )?;
        for id in 1..=100 {
            // A hundred of its answers are twenty times what a pipe holds.
            writeln!(stdin, "{}", json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" }))?;
        }
        let call = json!({ "name": "process_agent_update", "arguments": { "agent_id": "a" } });
        writeln!(
            stdin,
            "{}",
            json!({ "jsonrpc": "2.0", "id": 101, "method": "tools/call", "params": call })
        )?;
        let store = home.store()?;
        wait_until("the server to get that far", || Ok(store.agent("a").ok()))?;
        let began = Instant::now();
        kill_process(pid, Signal::TERM)?;
        let status = wait_until("the server to end", || Ok(child.try_wait()?))?;
        assert!(status.success() && began.elapsed() < ENDS_WITHIN, "{status} {:?}", began.elapsed());
        assert!(registered(&store)?.is_empty());
        Ok(())
    }
}
