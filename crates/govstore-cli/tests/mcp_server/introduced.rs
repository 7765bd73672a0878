//! Which client each server serves, as its handshake said.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use govstore::{Process, Store};
use govstore_testkit::McpClient;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Home, wait_until};

/// Begins as a client of this name.
fn initialize(wire: &mut McpClient, name: &str, version: &str) -> TestResult {
    let client = json!({ "name": name, "version": version });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    wire.request(0, "initialize", &params)?;
    assert_eq!(wire.answer()?["id"], 0);
    Ok(())
}

/// The row of a server once it says which client it serves.
fn introduced(store: &Store, wire: &McpClient) -> Result<Process, Box<dyn Error>> {
    let pid = wire.child.id();
    wait_until("the client to be recorded", || {
        let processes = store.processes()?;
        Ok(processes.into_iter().find(|process| process.pid == pid && process.client_name.is_some()))
    })
}

fn govstore(home: &Home, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_govstore"));
    let ran = command.arg("--db").arg(home.database()).args(arguments).output()?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(String::from_utf8(ran.stdout)?)
}

#[test]
fn nine_servers_are_told_apart_by_their_clients() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    let mut servers = Vec::new();
    for n in 0..9 {
        let mut wire = home.wire()?;
        initialize(&mut wire, &format!("editor-{n}"), "2.1")?;
        let began = Instant::now();
        let process = introduced(&store, &wire)?;
        assert!(began.elapsed() < Duration::from_secs(5), "it doesn't wait for the next heartbeat");
        assert_eq!(process.client_name, Some(format!("editor-{n}")));
        assert_eq!(process.client_version.as_deref(), Some("2.1"));
        assert_eq!(process.protocol_version.as_deref(), Some("2025-11-25"));
        assert_eq!(process.last_activity_at, None, "a handshake is no use");
        servers.push(wire);
    }
    let listing = govstore(&home, &["ps"])?;
    for (n, wire) in servers.iter().enumerate() {
        let (pid, client) = (wire.child.id().to_string(), format!("editor-{n} 2.1 (MCP 2025-11-25)"));
        let is_row = |line: &&str| line.split_whitespace().next() == Some(&pid);
        let row = listing.lines().find(is_row).ok_or_else(|| format!("no row of {pid}: {listing}"))?;
        assert!(row.ends_with(&client), "{row}");
    }
    let wire = &mut servers[0];
    wire.call(1, "get_server_info", &json!({}))?;
    let info = wire.answer()?["result"]["structuredContent"].clone();
    let listed = info["server_processes"].as_array().ok_or("no list")?;
    let clients: Value = listed.iter().map(|server| server["client_name"].clone()).collect();
    assert_eq!(clients, (0..9).map(|n| format!("editor-{n}")).collect::<Value>());
    assert_eq!(
        (&listed[0]["client_version"], &listed[0]["protocol_version"]),
        (&json!("2.1"), &json!("2025-11-25"))
    );

    let page = home.path().join("report.html");
    govstore(&home, &["report", "--out", page.to_str().ok_or("a path")?])?;
    assert!(std::fs::read_to_string(page)?.contains("editor-8 2.1 (MCP 2025-11-25)"));
    Ok(())
}

#[test]
fn a_client_of_today_is_known_from_its_first_request() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    let mut wire = home.wire()?;
    let today = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "today", "version": "3" },
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    wire.request(1, "server/discover", &today)?;
    assert_eq!(wire.answer()?["id"], 1);
    let process = introduced(&store, &wire)?;
    let known = (process.client_name, process.client_version, process.protocol_version);
    assert_eq!(known, (Some("today".into()), Some("3".into()), Some("2026-07-28".into())));

    let mut call = today;
    call["name"] = json!("process_agent_update");
    call["arguments"] = json!({ "agent_id": "a" });
    wire.request(2, "tools/call", &call)?;
    assert_eq!(wire.answer()?["result"]["isError"], false);
    assert_eq!(store.events("a")?[0].actor_name.as_deref(), Some("today 3"));
    Ok(())
}

#[test]
fn what_a_client_calls_itself_does_nothing_to_a_terminal_and_is_cut() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    initialize(&mut wire, "\u{1b}[2J\u{202e}evil\r\n", &"9".repeat(100_000))?;
    let process = introduced(&home.store()?, &wire)?;
    assert_eq!(process.client_name.as_deref(), Some("[2J\u{202e}evil"));
    assert_eq!(process.client_version.map(|version| version.len()), Some(128));
    let listing = govstore(&home, &["ps"])?;
    assert!(listing.contains(r"[2J\u{202e}evil 999") && !listing.contains('\u{202e}'), "{listing}");

    let mut nameless = home.wire()?;
    initialize(&mut nameless, "", "")?;
    nameless.call(1, "list_agents", &json!({}))?;
    assert_eq!(nameless.answer()?["result"]["isError"], false);
    Ok(())
}

#[test]
fn a_locked_database_delays_the_record_and_not_the_handshake() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    for (key, value) in [("heartbeat_interval_s", "0.2"), ("lock_timeout_ms", "300")] {
        store.set_setting(key, value)?;
    }
    let mut wire = home.wire()?;
    wait_until("the server to register", || Ok(store.processes()?.first().map(drop)))?;
    let blocker = Connection::open(home.database())?;
    blocker.execute_batch("BEGIN IMMEDIATE")?;
    let began = Instant::now();
    initialize(&mut wire, "patient", "1")?;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    std::thread::sleep(Duration::from_secs(2)); // the beat that would record it fails at least once
    assert_eq!(store.processes()?[0].client_name, None);
    blocker.execute_batch("ROLLBACK")?;
    assert_eq!(introduced(&store, &wire)?.client_name.as_deref(), Some("patient"));

    // The row vanishes, and comes back with the client.
    blocker.execute_batch("DELETE FROM heartbeats; DELETE FROM processes")?;
    assert_eq!(introduced(&store, &wire)?.client_name.as_deref(), Some("patient"));
    Ok(())
}
