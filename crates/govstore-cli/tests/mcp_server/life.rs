//! How a server starts, and how it lives.

use std::error::Error;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use govstore::{Outcome, ProcessState};
use rusqlite::Connection;
use serde_json::json;

use crate::TestResult;
use crate::client::{Home, registered, wait_until};
use govstore_testkit::McpClient;

#[test]
fn an_idle_server_beats_and_is_used_only_when_its_client_calls() -> TestResult {
    let home = Home::new()?;
    home.store()?.set_setting("heartbeat_interval_s", "0.05")?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let store = home.store()?;
    let me = || -> Result<govstore::Process, Box<dyn Error>> {
        Ok(store.processes()?.into_iter().next().ok_or("nobody is registered")?)
    };
    let first = me()?;
    assert_eq!((first.name.as_str(), first.version.as_str()), ("govstore", env!("CARGO_PKG_VERSION")));
    assert_eq!(first.parent_pid, Some(std::process::id()));
    let mut beats = vec![first.beat_at];
    while beats.len() < 4 {
        let newest = wait_until("another heartbeat", || {
            let now = me()?.beat_at;
            Ok((Some(&now) != beats.last()).then_some(now))
        })?;
        beats.push(newest);
    }
    assert_eq!(me()?.last_activity_at, first.last_activity_at, "beating is no activity");

    let mut used_at = first.last_activity_at;
    for (id, tool, arguments) in [
        (1, "list_agents", json!({})),
        (2, "process_agent_update", json!({ "agent_id": "a" })),
        (3, "process_agent_update", json!({ "agent_id": 7 })),
        (4, "get_server_info", json!({})),
    ] {
        wire.call(id, tool, &arguments)?;
        assert_eq!(wire.answer()?["id"], id);
        used_at = wait_until("the activity to be recorded", || {
            let at = me()?.last_activity_at;
            Ok((at > used_at).then_some(at))
        })?;
    }
    Ok(())
}

#[test]
fn a_server_whose_row_vanished_registers_again() -> TestResult {
    let home = Home::new()?;
    home.store()?.set_setting("heartbeat_interval_s", "0.05")?;
    let wire = home.serving()?;
    let store = home.store()?;
    let before = store.processes()?[0].process_id;
    Connection::open(home.database())?.execute_batch("DELETE FROM heartbeats; DELETE FROM processes")?;
    wait_until("the server to register again", || {
        let rows = store.processes()?;
        Ok(rows.iter().any(|row| row.pid == wire.child.id() && row.process_id > before).then_some(()))
    })
}

#[test]
fn a_server_clears_away_the_dead_when_it_starts() -> TestResult {
    let home = Home::new()?;
    let mut killed = home.serving()?;
    let pid = killed.child.id();
    killed.child.kill()?;
    killed.child.wait()?;
    let store = home.store()?;
    assert_eq!(registered(&store)?, [pid], "killed, it could not say so");
    let next = home.serving()?;
    wait_until("the dead to be cleared away", || {
        Ok((registered(&store)? == [next.child.id()]).then_some(()))
    })?;
    let ledger = store.reap_events(1)?;
    assert_eq!(ledger.first().map(|event| event.pid), Some(pid));
    Ok(())
}

#[test]
fn a_newcomer_too_many_is_told_who_is_there() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    store.set_setting("max_processes", "1")?;
    store.set_setting("limit_policy", "refuse")?;
    let first = home.serving()?;
    let output = home.serve().stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let complaint = String::from_utf8(output.stderr)?;
    assert!(complaint.contains(&format!("PID {}", first.child.id())), "{complaint}");
    assert_eq!(registered(&store)?, [first.child.id()]);
    Ok(())
}

#[test]
fn with_the_policy_evict_a_newcomer_too_many_may_end_one_that_nobody_uses() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    for (key, value) in [
        ("max_processes", "1"),
        ("limit_policy", "evict"),
        ("heartbeat_interval_s", "0.2"),
        ("stale_after_s", "1"),
    ] {
        store.set_setting(key, value)?;
    }
    let log = home.path().join("first.log");
    let mut first = home.serving_with(&["--log-file", log.to_str().ok_or("a path")?])?;
    let too_early = home.serve().stdin(Stdio::null()).output()?;
    assert_eq!(too_early.status.code(), Some(1), "the first one may yet be used");
    std::thread::sleep(Duration::from_millis(1_100)); // until it was not used for stale_after_s
    let second = home.serving()?;
    assert!(first.ended()?.success(), "it obeys the reaper");
    wait_until("the reaper to record it", || {
        let mut acts = store.reap_events(10)?.into_iter().filter(|event| event.outcome != Outcome::Postponed);
        Ok(acts.next_back().is_some_and(|event| event.pid == first.child.id()).then_some(()))
    })?;
    let rows = store.processes()?;
    assert_eq!((rows.len(), rows[0].pid, rows[0].state), (1, second.child.id(), ProcessState::Running));
    let log = fs::read_to_string(log)?;
    let by = format!("PID {}", second.child.id());
    for part in ["surplus", by.as_str(), "over max_processes 1", "was last used"] {
        assert!(log.contains(part), "the ended server's own log lacks {part:?}: {log}");
    }
    Ok(())
}

#[test]
fn logs_go_to_stderr_or_to_a_file_at_the_level_that_is_asked_for() -> TestResult {
    let home = Home::new()?;
    let run = |level: Option<&str>, file: Option<&str>| -> Result<(String, String), Box<dyn Error>> {
        let mut command = home.serve();
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        if let Some(level) = level {
            command.env("RUST_LOG", level);
        }
        if let Some(file) = file {
            command.arg("--log-file").arg(home.path().join(file));
        }
        let output = command.output()?;
        assert!(output.status.success());
        Ok((String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    };
    let (stdout, stderr) = run(None, None)?;
    assert_eq!(stdout, "");
    assert!(stderr.contains("INFO govstore_mcp: serving"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "no colours in a pipe");
    assert_eq!(run(Some("error"), None)?, (String::new(), String::new()));
    let (_, stderr) = run(Some("no=such=level"), None)?;
    assert!(stderr.contains("WARN") && stderr.contains("no=such=level"), "{stderr}");

    for _ in 0..2 {
        assert_eq!(run(None, Some("server.log"))?, (String::new(), String::new()));
    }
    let log = fs::read_to_string(home.path().join("server.log"))?;
    assert_eq!(log.matches("serving").count(), 2, "the second server adds to it");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(home.path().join("server.log"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let mut command = home.serve();
    let output = command.arg("--log-file").arg(home.path()).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr)?.contains("cannot open the log"));
    Ok(())
}

#[test]
fn a_database_that_can_not_be_opened_is_an_error_before_the_conversation() -> TestResult {
    let home = Home::new()?;
    fs::write(
        home.database(),
        "this is no database, and it is long enough to be looked at closely. ".repeat(99),
    )?;
    let output = home.serve().stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr)?.contains("is not a SQLite database"));
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_client_that_closed_stderr_does_not_break_the_server() -> TestResult {
    let home = Home::new()?;
    let mut command = home.serve();
    command.env("RUST_LOG", "trace").stderr(Stdio::piped());
    let mut wire = McpClient::spawn(command)?;
    drop(wire.child.stderr.take());
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
    assert_eq!(wire.answer()?["result"]["isError"], false);
    wire.close_stdin();
    assert!(wire.ended()?.success());
    Ok(())
}
