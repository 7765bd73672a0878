//! How a server lives and ends.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use govstore::{ProcessState, Store};
use rusqlite::Connection;
use serde_json::json;

use crate::TestResult;
use crate::client::{Home, Wire, wait_until};

/// A second is what the server has. The rest is for a busy machine; a call that blocks takes a minute.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const LOCK_TIMEOUT_MS: &str = "60000";

/// Who is registered.
fn registered(store: &Store) -> Result<Vec<u32>, Box<dyn Error>> {
    Ok(store.processes()?.iter().map(|process| process.pid).collect())
}

/// A home whose servers wait a minute for locks.
fn patient_home() -> Result<Home, Box<dyn Error>> {
    let home = Home::new()?;
    home.store()?.set_setting("lock_timeout_ms", LOCK_TIMEOUT_MS)?;
    Ok(home)
}

/// A server that has answered `initialize` and made one update.
fn serving(home: &Home) -> Result<Wire, Box<dyn Error>> {
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
    assert_eq!(wire.answer()?["id"], 1);
    Ok(wire)
}

/// Ends a server by `how`, with calls under way that wait for a lock, and checks how it ends.
fn ends_with_calls_in_flight(how: impl FnOnce(&mut Wire) -> TestResult) -> TestResult {
    let home = patient_home()?;
    let mut wire = serving(&home)?;
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
fn ends_and_deregisters(how: impl FnOnce(&mut Wire) -> TestResult) -> TestResult {
    let home = Home::new()?;
    let mut wire = serving(&home)?;
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

#[test]
fn a_server_that_ends_in_the_middle_of_much_work_deregisters_and_keeps_what_it_committed() -> TestResult {
    let home = Home::new()?;
    let mut wire = serving(&home)?;
    for id in 2..500 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
    }
    assert_eq!(wire.answer()?["id"], 2, "the others are under way");
    wire.close_stdin();
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

#[cfg(unix)]
mod unix {
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn signal(wire: &Wire, signal: Signal) -> TestResult {
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
        let _stdin = fs::OpenOptions::new().read(true).write(true).open(&fifo)?;
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
        let mut wire = serving(&home)?;
        let claim = Connection::open(home.database())?;
        claim.execute(
            "UPDATE processes SET state = 'terminating', claim_verdict = 'surplus',
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
        let writer = std::thread::spawn(move || {
            let begin = json!({
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": { "name": "deaf", "version": "1" },
            });
            let first = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": begin });
            let mut written = writeln!(stdin, "{first}");
            let again = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
            while written.is_ok() {
                written = writeln!(stdin, "{again}"); // answers of which a pipe holds two
            }
        });
        let store = home.store()?;
        wait_until("the server to register", || Ok((!registered(&store)?.is_empty()).then_some(())))?;
        std::thread::sleep(Duration::from_millis(300)); // for the pipes to fill; less would show less
        let began = Instant::now();
        kill_process(pid, Signal::TERM)?;
        let status = wait_until("the server to end", || Ok(child.try_wait()?))?;
        assert!(status.success() && began.elapsed() < ENDS_WITHIN, "{status} {:?}", began.elapsed());
        assert!(registered(&store)?.is_empty());
        writer.join().map_err(|_| "the writer panicked")?;
        Ok(())
    }
}

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
    let wire = serving(&home)?;
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
    let mut killed = serving(&home)?;
    let pid = killed.child.id();
    killed.child.kill()?;
    killed.child.wait()?;
    let store = home.store()?;
    assert_eq!(registered(&store)?, [pid], "killed, it could not say so");
    let next = serving(&home)?;
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
    let first = serving(&home)?;
    let output = home.serve().stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let complaint = String::from_utf8(output.stderr)?;
    assert!(complaint.contains(&format!("PID {}", first.child.id())), "{complaint}");
    assert_eq!(registered(&store)?, [first.child.id()]);
    Ok(())
}

#[test]
fn a_newcomer_too_many_may_end_another() -> TestResult {
    let home = Home::new()?;
    home.store()?.set_setting("max_processes", "1")?;
    let mut first = serving(&home)?;
    let second = serving(&home)?;
    assert!(first.ended()?.success(), "it obeys the reaper");
    let store = home.store()?;
    wait_until("the reaper to record it", || {
        Ok(store.reap_events(1)?.first().is_some_and(|event| event.pid == first.child.id()).then_some(()))
    })?;
    let rows = store.processes()?;
    assert_eq!((rows.len(), rows[0].pid, rows[0].state), (1, second.child.id(), ProcessState::Running));
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
    assert!(stderr.contains("INFO govstore::mcp: serving"), "{stderr}");
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
    let mut wire = Wire::spawn(command)?;
    drop(wire.child.stderr.take());
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
    assert_eq!(wire.answer()?["result"]["isError"], false);
    wire.close_stdin();
    assert!(wire.ended()?.success());
    Ok(())
}
