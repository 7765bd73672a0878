//! Kills, cut connections and cancelled calls, each with a client that tries again.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use govstore_testkit::{Database, McpClient, Server, TestResult, govstore};
use serde_json::json;

use super::{assert_each_once, times};

const CLIENTS: usize = 4;

/// Linked programs, killed while they are at it.
#[test]
fn a_client_of_killed_workers_that_tries_again_has_each_update_once() -> TestResult {
    let kills = times("GOVSTORE_STORM_KILLS", 40);
    let database = Database::new(&[])?;
    let killed = AtomicUsize::new(0);
    let keys = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (database, killed) = (&database, &killed);
                scope.spawn(move || update_by_workers(database, client, killed, kills))
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    eprintln!("{} kills, {} updates", killed.load(Ordering::Relaxed), keys.len());
    assert_each_once(&database, &keys)
}

/// Makes updates until enough workers were killed; the keys of those that were told.
fn update_by_workers(database: &Database, client: usize, killed: &AtomicUsize, kills: usize) -> Vec<String> {
    let start = || Server::worker(database, &["worker", "--no-heartbeat"]);
    let mut random = fastrand::Rng::new();
    let mut worker = start();
    let mut told = Vec::new();
    while killed.load(Ordering::Relaxed) < kills {
        let key = format!("client-{client}-update-{}", told.len());
        loop {
            worker.tell(&format!("update shared key {key}"));
            if random.u8(..4) == 0 {
                thread::sleep(Duration::from_micros(random.u64(..3_000)));
                worker.crash();
                killed.fetch_add(1, Ordering::Relaxed);
                worker = start();
            } else if worker.expect_line("").starts_with("updated") {
                break;
            }
        }
        told.push(key);
    }
    worker.end();
    told
}

/// Through the MCP server: calls are cancelled, and connections cut, at random.
#[test]
fn a_client_that_cancels_calls_and_loses_servers_has_each_update_once() -> TestResult {
    let calls = times("GOVSTORE_STORM_CALLS", 400) / CLIENTS;
    let database = Database::new(&[])?;
    let keys = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let database = &database;
                scope.spawn(move || call_until_told(database, client, calls).expect("a client"))
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    assert_each_once(&database, &keys)
}

/// Makes so many calls; the keys of the updates that were told.
fn call_until_told(database: &Database, client: usize, calls: usize) -> TestResult<Vec<String>> {
    let start = || -> TestResult<McpClient> {
        let mut command = Command::new(govstore());
        command.arg("--db").arg(database.address()).arg("serve").env("RUST_LOG", "off");
        let mut server = McpClient::spawn(command)?;
        server.initialize()?;
        Ok(server)
    };
    let mut random = fastrand::Rng::new();
    let mut server = start()?;
    let (mut told, mut id) = (Vec::new(), 0);
    while id < calls as u64 {
        let key = format!("client-{client}-update-{}", told.len());
        let arguments = json!({ "agent_id": "shared", "response_text": "done", "key": key });
        loop {
            id += 1;
            server.call(id, "process_agent_update", &arguments)?;
            match random.u8(..12) {
                // The answer of a cancelled call may have been on its way, or never comes.
                0..=3 => {
                    let params = json!({ "requestId": id, "reason": "no patience" });
                    server.line(
                        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })
                            .to_string(),
                    )?;
                }
                4 => {
                    thread::sleep(Duration::from_micros(random.u64(..3_000)));
                    server.child.kill()?;
                    server = start()?;
                }
                _ => {
                    let answer = answer_to(&server, id)?;
                    assert_eq!(answer["success"], true, "{answer}");
                    break;
                }
            }
        }
        told.push(key);
    }
    server.close_stdin();
    server.ended()?;
    Ok(told)
}

/// The answer to a call, past those to cancelled ones.
fn answer_to(server: &McpClient, id: u64) -> TestResult<serde_json::Value> {
    loop {
        let message = server.answer()?;
        if message["id"] == id {
            return Ok(message["result"]["structuredContent"].clone());
        }
    }
}
