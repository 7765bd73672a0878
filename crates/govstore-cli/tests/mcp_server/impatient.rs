//! Clients that can't wait: they send everything at once, close stdin, read nothing, or cancel.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
#[cfg(unix)]
use std::process::ChildStderr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use govstore::Update;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Home, wait_until};
use govstore_testkit::McpClient;

/// How long a ping may take, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What a client begins with, as lines.
fn hello() -> String {
    let client = json!({ "name": "impatient", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let begin = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    format!("{begin}\n{}\n", json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
}

fn call(id: u64, tool: &str, arguments: &Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }))
}

fn cancel(wire: &mut McpClient, id: u64) -> TestResult {
    let params = json!({ "requestId": id, "reason": "the user said so" });
    wire.line(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string())
}

fn ping(wire: &mut McpClient, id: u64) -> TestResult {
    let sent = Instant::now();
    wire.request(id, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["id"], id);
    assert!(sent.elapsed() < AT_ONCE, "{:?}", sent.elapsed());
    Ok(())
}

/// The id of an answer of rmcp's, without parsing what may be a long line.
fn id_of(line: &str) -> Option<u64> {
    let digits = line.strip_prefix(r#"{"jsonrpc":"2.0","id":"#)?;
    digits[..digits.find(',')?].parse().ok()
}

#[test]
fn all_calls_before_the_end_of_input_are_answered() -> TestResult {
    const CALLS: u64 = 5_000;
    let home = Home::new()?;
    let mut wire = home.wire()?;
    let mut lines = hello();
    for id in 1..=CALLS {
        let agent = json!({ "agent_id": format!("agent-{}", id / 5 % 20) });
        let tool = if id % 5 == 0 { "get_governance_metrics" } else { "process_agent_update" };
        write!(lines, "{}", call(id, tool, &agent))?;
    }
    wire.bytes(lines.as_bytes())?;
    wire.close_stdin();
    let answers = wire.remaining()?;
    let ids: HashSet<_> = answers.iter().filter_map(|answer| answer["id"].as_u64()).collect();
    assert_eq!((answers.len(), ids.len()), (5_001, 5_001), "each is answered once");
    assert!(wire.ended()?.success());
    assert_eq!(home.total_updates()?, 4_000);
    Ok(())
}

/// At the end of input a server answers what it has read, and goes on for as long as somebody may read it.
#[test]
fn calls_that_can_not_be_made_are_answered_too_after_the_end_of_input() -> TestResult {
    let home = Home::new()?;
    home.store()?.set_setting("lock_timeout_ms", "60000")?;
    let mut wire = home.serving()?;
    let blocker = Connection::open(home.database())?;
    blocker.execute_batch("BEGIN IMMEDIATE")?;
    for id in 2..22 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": format!("agent-{}", id % 3) }))?;
    }
    wire.close_stdin();
    let answers = wire.remaining()?;
    assert!(wire.ended()?.success());
    drop(blocker);
    assert_eq!(answers.len(), 20);
    for answer in &answers {
        let error = answer["result"]["structuredContent"]["error"].as_str().unwrap_or_default();
        assert!(error.contains("the server is ending"), "{answer}");
    }
    assert_eq!(home.store()?.agents(&govstore::AgentFilter::default())?.len(), 1, "none was made");
    Ok(())
}

#[test]
fn a_call_that_waits_for_a_lock_is_called_off_when_it_is_cancelled() -> TestResult {
    const ROUNDS: u64 = 200;
    let home = Home::new()?;
    home.store()?.set_setting("lock_timeout_ms", "60000")?;
    let mut wire = home.serving()?;
    let blocker = Connection::open(home.database())?;
    let mut id = 1;
    for round in 1..=ROUNDS {
        blocker.execute_batch("BEGIN IMMEDIATE")?;
        // One waits for the lock, one for the commit that it would share, one for its turn.
        let calls = id + 1..id + 4;
        for (id, agent) in calls.clone().zip(["a", "b", "a"]) {
            wire.call(id, "process_agent_update", &json!({ "agent_id": agent }))?;
        }
        if round % 4 != 0 {
            thread::sleep(Duration::from_millis(3));
        }
        for id in calls {
            cancel(&mut wire, id)?;
        }
        ping(&mut wire, id + 4)?; // they are cancelled by now
        blocker.execute_batch("ROLLBACK")?;
        id += 5;
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
        let answer = wire.answer()?;
        assert_eq!(answer["id"], id, "what was cancelled has no answer");
        let metrics = &answer["result"]["structuredContent"]["metrics"];
        assert_eq!(metrics["total_updates"], 1 + round, "{answer}");
    }
    assert!(home.store()?.agent("b").is_err(), "no update of it was made");
    wire.close_stdin();
    assert!(wire.ended()?.success());
    let store = home.store()?;
    assert_eq!(store.history("a", None)?.len(), usize::try_from(1 + ROUNDS)?);
    assert!(store.agent("b").is_err());
    Ok(())
}

#[test]
fn pings_and_cancellations_do_not_wait_behind_calls() -> TestResult {
    const CALLS: u64 = 2_000;
    let home = Home::new()?;
    home.store()?.set_setting("lock_timeout_ms", "60000")?;
    let mut wire = home.serving()?;
    let blocker = Connection::open(home.database())?;
    blocker.execute_batch("BEGIN IMMEDIATE")?;
    let last = 10 + CALLS;
    let calls: String =
        (10..last).map(|id| call(id, "process_agent_update", &json!({ "agent_id": "a" }))).collect();
    wire.bytes(calls.as_bytes())?;
    ping(&mut wire, 2)?;
    // Of calls that run, that wait for their turn, and that nobody has looked at.
    let cancelled = [10, 11, 200, 1_000, last - 1];
    for id in cancelled {
        cancel(&mut wire, id)?;
    }
    ping(&mut wire, 3)?;
    blocker.execute_batch("ROLLBACK")?;
    for id in (10..last).filter(|id| !cancelled.contains(id)) {
        let answer = wire.answer()?;
        assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(id), &json!(false)), "{answer}");
    }
    ping(&mut wire, 4)?;
    let made = 1 + i64::try_from(CALLS)? - i64::try_from(cancelled.len())?;
    assert_eq!(home.store()?.agent("a")?.total_updates, made);
    Ok(())
}

/// A thread that writes to a server.
type Writing = thread::JoinHandle<std::io::Result<()>>;

/// A server with 100 agents, and a thread that writes so many calls of `list_agents` to it.
fn flooded(home: &Home, calls: u64) -> Result<(Child, Writing), Box<dyn Error>> {
    let store = home.store()?;
    for n in 0..100 {
        store.process_update(&format!("agent-{n}"), &Update::new())?;
    }
    let mut server = home.serve().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = server.stdin.take().ok_or("no stdin")?;
    let lines = hello() + &(1..=calls).map(|id| call(id, "list_agents", &json!({}))).collect::<String>();
    Ok((server, thread::spawn(move || stdin.write_all(lines.as_bytes()))))
}

/// How long nobody reads, and how many calls there are meanwhile. `GOVSTORE_UNREAD_SECONDS=60` is the whole test.
fn silence() -> Result<(Duration, u64), Box<dyn Error>> {
    match env::var("GOVSTORE_UNREAD_SECONDS") {
        Ok(seconds) => Ok((Duration::from_secs(seconds.parse()?), 10_000)),
        Err(_) => Ok((Duration::from_secs(2), 1_000)),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn answers_that_nobody_reads_take_little_memory_and_are_all_there_later() -> TestResult {
    const PEAK_KB: u64 = 64_000;
    let home = Home::new()?;
    let (silence, calls) = silence()?;
    let (mut server, written) = flooded(&home, calls)?;
    thread::sleep(silence);
    let peak = crate::client::peak_kb(server.id())?;
    eprintln!("{peak} kB after {silence:?} with {calls} calls unanswered");
    assert!(peak < PEAK_KB, "{peak} kB with {calls} calls whose answers nobody reads");
    written.join().expect("no panic")?; // it has read all of them
    let mut ids = HashSet::new();
    for line in BufReader::new(server.stdout.take().ok_or("no stdout")?).lines() {
        let line = line?;
        assert!(ids.insert(id_of(&line).ok_or("an answer without an id")?));
    }
    assert_eq!(ids.len(), usize::try_from(calls + 1)?);
    assert!(wait_until("the server to end", || Ok(server.try_wait()?))?.success());
    Ok(())
}

/// The client may have forgotten the server.
#[test]
#[ignore = "takes two minutes"]
fn answers_that_nobody_reads_after_the_end_of_input_do_not_keep_the_server() -> TestResult {
    let home = Home::new()?;
    let (mut server, written) = flooded(&home, 500)?;
    written.join().expect("no panic")?;
    thread::sleep(Duration::from_secs(110));
    assert_eq!(server.try_wait()?, None, "somebody may still read");
    assert!(wait_until("the server to end", || Ok(server.try_wait()?))?.success());
    assert!(home.store()?.processes()?.is_empty());
    Ok(())
}

/// A server that logs a lot to its stderr, which is to be read or not.
#[cfg(unix)]
fn with_unread_log(home: &Home) -> Result<(McpClient, ChildStderr), Box<dyn Error>> {
    let mut command: Command = home.serve();
    command.env("RUST_LOG", "trace").stderr(Stdio::piped());
    let mut wire = McpClient::spawn(command)?;
    let unread = wire.child.stderr.take().ok_or("no stderr")?;
    wire.initialize()?;
    Ok((wire, unread))
}

#[cfg(unix)]
#[test]
fn a_log_that_nobody_reads_holds_up_nothing() -> TestResult {
    use rustix::process::{Pid, Signal, kill_process};

    let home = Home::new()?;
    let (mut wire, unread) = with_unread_log(&home)?;
    for id in 1..=1_000 {
        wire.call(id, "get_governance_metrics", &json!({ "agent_id": "nobody" }))?; // each is logged several times
        assert_eq!(wire.answer()?["id"], id);
    }
    ping(&mut wire, 2_000)?;
    let asked = Instant::now();
    kill_process(Pid::from_child(&wire.child), Signal::TERM)?;
    assert!(wire.ended()?.success());
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    drop(unread);
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_log_that_is_read_again_says_what_is_missing() -> TestResult {
    let home = Home::new()?;
    let (mut wire, unread) = with_unread_log(&home)?;
    let text = json!({ "agent_id": "a", "response_text": "x".repeat(20_000) });
    for id in 1..=100 {
        wire.call(id, "process_agent_update", &text)?; // logged whole, and more than once
        assert_eq!(wire.answer()?["id"], id);
    }
    let mut lines = BufReader::new(unread).lines();
    let notice = loop {
        let line = lines.next().ok_or("the log ended without it")??;
        if line.contains("log lines were dropped") {
            break line;
        }
    };
    let dropped: u64 = notice.split(' ').next().unwrap_or_default().parse()?;
    assert!(dropped > 0, "{notice}");
    wire.close_stdin();
    assert!(wire.ended()?.success());
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_server_that_fails_ends_though_nobody_reads_why() -> TestResult {
    let home = Home::new()?;
    let (mut wire, unread) = with_unread_log(&home)?;
    for id in 1..=300 {
        wire.call(id, "get_governance_metrics", &json!({ "agent_id": "nobody" }))?;
        assert_eq!(wire.answer()?["id"], id);
    }
    fs::remove_file(home.path().join("governance.db-wal"))?;
    // It looks every few milliseconds; a refusal makes it look again and end.
    for id in 1_000.. {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
        if wire.answer()?["result"]["isError"] == true {
            break;
        }
    }
    assert_eq!(wire.ended()?.code(), Some(1));
    drop(unread);
    Ok(())
}

/// What is announced while nobody reads waits once for each resource.
#[test]
fn announcements_that_nobody_reads_wait_once() -> TestResult {
    const AGENTS: usize = 20;
    const ROUNDS: usize = 8;
    let home = Home::new()?;
    let (mut server, _) = flooded(&home, 0)?; // which has 100 agents
    drop(server.kill());
    server.wait()?;
    let mut server = home.serve().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = server.stdin.take().ok_or("no stdin")?;
    let mut out = BufReader::new(server.stdout.take().ok_or("no stdout")?).lines();
    stdin.write_all(hello().as_bytes())?;
    out.next().ok_or("no answer")??;
    let uri = |n: usize| format!("govstore://agents/agent-{n}");
    for n in 0..AGENTS {
        let subscribe = json!({ "jsonrpc": "2.0", "id": n, "method": "resources/subscribe", "params": { "uri": uri(n) } });
        stdin.write_all(format!("{subscribe}\n").as_bytes())?;
        out.next().ok_or("no answer")??;
    }
    let calls: String = (1_000..1_500).map(|id| call(id, "list_agents", &json!({}))).collect();
    stdin.write_all(calls.as_bytes())?;
    thread::sleep(Duration::from_secs(2)); // until there is no room for more
    let store = home.store()?;
    for _ in 0..ROUNDS {
        for n in 0..AGENTS {
            store.process_update(&format!("agent-{n}"), &Update::new())?;
        }
        thread::sleep(Duration::from_millis(400));
    }
    let mut announced = vec![0; AGENTS];
    let mut stdin = Some(stdin);
    for line in out {
        let message: Value = serde_json::from_str(&line?)?;
        if message["method"] == "notifications/resources/updated" {
            let told = (0..AGENTS).find(|n| message["params"]["uri"] == uri(*n));
            announced[told.ok_or("of another one")?] += 1;
        }
        if !announced.contains(&0) {
            stdin = None; // each is announced, in the end
        }
    }
    assert!(announced.iter().all(|times| (1..=2).contains(times)), "{announced:?}");
    drop(stdin);
    assert!(wait_until("the server to end", || Ok(server.try_wait()?))?.success());
    Ok(())
}
