//! What no client should send, and what a client may that is in a hurry.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::Home;
use crate::listing::NAMES;
use govstore_testkit::McpClient;

/// The message that answers `id`, after whatever comes before it.
fn answer_to(wire: &McpClient, id: u64) -> Result<Value, Box<dyn std::error::Error>> {
    loop {
        let answer = wire.answer()?;
        if answer["id"] == id {
            return Ok(answer);
        }
    }
}

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_default()
}

#[test]
fn what_is_not_json_is_a_parse_error_and_the_conversation_goes_on() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let deep = "[".repeat(100_000);
    for line in ["{", "nonsense", "{\"jsonrpc\": NaN}", "\"open", deep.as_str()] {
        wire.line(line)?;
        let answer = wire.answer()?;
        assert_eq!(code(&answer), -32700, "{answer}");
        assert_eq!(answer.get("id"), Some(&Value::Null), "JSON-RPC wants an id, which could not be read");
    }
    wire.bytes(b"\xff\xfe\n")?;
    assert_eq!(code(&wire.answer()?), -32700);
    wire.line("\r\n\n")?; // blank lines are nothing
    wire.request(1, "ping", &json!({}))?;
    assert_eq!(answer_to(&wire, 1)?["result"], json!({}));
    Ok(())
}

#[test]
fn what_is_no_message_is_an_invalid_request_with_its_id_if_it_has_one() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    for (line, id) in [
        ("[]", Value::Null),
        ("7", Value::Null),
        ("{}", Value::Null),
        (r#"[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]"#, json!(1)),
        (r#"{"jsonrpc": "2.0", "id": null, "method": "ping"}"#, Value::Null),
        (r#"{"jsonrpc": "2.0", "id": {}, "method": "ping"}"#, Value::Null),
        (r#"{"jsonrpc": "1.0", "id": 5, "method": "ping"}"#, json!(5)),
        (r#"{"id": "six", "method": "ping"}"#, json!("six")),
        (r#"{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": []}"#, json!(7)),
    ] {
        wire.line(line)?;
        let answer = wire.answer()?;
        assert_eq!((code(&answer), &answer["id"]), (-32600, &id), "{line}: {answer}");
    }
    wire.line(r#"{"jsonrpc": "2.0", "method": "notifications/unheard_of"}"#)?; // takes no answer
    wire.line(r#"{"jsonrpc": "2.0", "id": 99, "result": {}}"#)?; // an answer that nobody asked for
    wire.request(7, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["id"], 7);
    Ok(())
}

#[test]
fn unknown_tools_methods_and_parameters_are_protocol_errors_that_name_them() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.call(1, "destroy_everything", &json!({}))?;
    let answer = wire.answer()?;
    assert_eq!((code(&answer), &answer["id"]), (-32602, &json!(1)));
    assert_eq!(answer["error"]["message"], "there is no tool \"destroy_everything\"");
    wire.request(2, "tools/destroy", &json!({}))?;
    let answer = wire.answer()?;
    assert_eq!((code(&answer), &answer["id"]), (-32601, &json!(2)));
    for (id, params) in
        [(3, json!({})), (4, json!({ "name": 7 })), (5, json!({ "name": "list_agents", "arguments": [] }))]
    {
        wire.request(id, "tools/call", &params)?;
        let answer = wire.answer()?;
        assert_eq!((code(&answer), &answer["id"]), (-32602, &json!(id)), "{params}: {answer}");
    }
    wire.request(8, "tools/call", &json!({ "name": "get_server_info" }))?; // no arguments at all
    assert_eq!(wire.answer()?["result"]["isError"], false);
    wire.request(9, "tools/call", &json!({ "name": "pause_agent" }))?;
    let result = wire.answer()?["result"].clone();
    assert_eq!(result["isError"], true);
    assert_eq!(result["structuredContent"]["error"], "missing field `agent_id`");
    Ok(())
}

#[test]
fn a_call_before_initialize_is_refused_and_a_ping_is_not() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.call(1, "list_agents", &json!({}))?;
    assert!(code(&wire.answer()?) < 0);
    wire.request(2, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["result"], json!({}));
    wire.initialize()?;
    wire.call(3, "list_agents", &json!({}))?;
    assert_eq!(wire.answer()?["result"]["isError"], false);
    Ok(())
}

#[test]
fn what_comes_before_the_first_request_is_ignored() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.line(r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#)?;
    wire.line(r#"{"jsonrpc": "2.0", "id": 3, "result": {}}"#)?;
    wire.initialize()?;
    Ok(())
}

#[test]
fn a_script_that_pipes_its_requests_gets_its_answers() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    let client = json!({ "name": "sh", "version": "1" });
    let begin = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    wire.request(0, "initialize", &begin)?;
    for id in 1..=3 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
    }
    wire.bytes(br#"{"jsonrpc": "2.0", "id": 4, "method": "ping"}"#)?; // no line end, and that is the end
    wire.close_stdin();
    let mut ids: Vec<_> = wire.remaining()?.iter().filter_map(|answer| answer["id"].as_u64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    assert!(wire.ended()?.success());
    Ok(())
}

#[test]
fn a_text_that_was_cut_in_the_middle_of_an_emoji_is_taken() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let arguments = json!({ "agent_id": "a", "response_text": "done 🚀 HALF" });
    let call = json!({ "name": "process_agent_update", "arguments": arguments });
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call });
    wire.line(&request.to_string().replace("HALF", r"\ud83d"))?;
    assert_eq!(wire.answer()?["result"]["structuredContent"]["success"], true);
    Ok(())
}

#[test]
fn a_thousand_pipelined_calls_are_answered_and_one_agents_keep_their_order() -> TestResult {
    const CALLS: u64 = 1_000;
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let mut lines = String::new();
    for id in 1..=CALLS {
        let call = match id % 10 {
            0 => json!({ "name": "get_governance_metrics", "arguments": { "agent_id": "nobody" } }),
            5 => json!({ "name": "process_agent_update", "arguments": { "agent_id": "other" } }),
            _ => json!({ "name": "process_agent_update", "arguments": { "agent_id": "one" } }),
        };
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call });
        writeln!(lines, "{request}")?;
    }
    wire.bytes(lines.as_bytes())?; // more than pipes hold, and nothing is read before all is written
    let mut answers = HashMap::new();
    for _ in 0..CALLS {
        let answer = wire.answer()?;
        let id = answer["id"].as_u64().ok_or("no id")?;
        assert!(answers.insert(id, answer["result"]["structuredContent"].clone()).is_none());
    }
    let (mut one, mut other) = (0, 0);
    for id in 1..=CALLS {
        let result = &answers[&id];
        let counted = match id % 10 {
            0 => {
                assert_eq!(result["success"], false);
                continue;
            }
            5 => &mut other,
            _ => &mut one,
        };
        *counted += 1;
        assert_eq!(result["metrics"]["total_updates"], *counted, "request {id}");
    }
    let store = home.store()?;
    assert_eq!((store.agent("one")?.total_updates, store.agent("other")?.total_updates), (800, 100));
    Ok(())
}

#[test]
fn a_cancelled_call_that_waits_is_never_made_and_has_no_answer() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
    assert_eq!(wire.answer()?["id"], 1);
    let blocker = Connection::open(home.database())?;
    blocker.execute_batch("BEGIN IMMEDIATE")?;
    wire.call(2, "process_agent_update", &json!({ "agent_id": "a" }))?; // waits for the lock
    wire.call(3, "process_agent_update", &json!({ "agent_id": "a" }))?; // waits for its turn
    wire.call(4, "process_agent_update", &json!({ "agent_id": "a" }))?;
    for id in [3, 77] {
        let cancelled = json!({ "requestId": id, "reason": "the user said so" });
        let notification =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled });
        wire.line(&notification.to_string())?;
    }
    wire.request(5, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["id"], 5, "what was sent before the ping has been read");
    blocker.execute_batch("ROLLBACK")?;
    assert_eq!(wire.answer()?["id"], 2);
    let last = wire.answer()?;
    assert_eq!(last["id"], 4);
    assert_eq!(last["result"]["structuredContent"]["metrics"]["total_updates"], 3);
    assert_eq!(home.store()?.agent("a")?.total_updates, 3);
    Ok(())
}

#[test]
fn a_slow_call_does_not_hold_up_pings_or_reads() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
    assert_eq!(wire.answer()?["id"], 1);
    let blocker = Connection::open(home.database())?;
    blocker.execute_batch("BEGIN IMMEDIATE")?;
    for id in 10..110 {
        wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
    }
    wire.request(2, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["id"], 2);
    for (id, tool) in [(3, "list_agents"), (4, "get_server_info")] {
        wire.call(id, tool, &json!({}))?;
        assert_eq!(wire.answer()?["id"], id);
    }
    blocker.execute_batch("ROLLBACK")?;
    for id in 10..110 {
        let answer = wire.answer()?;
        assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(id), &json!(false)));
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_line_without_an_end_is_refused_and_eats_no_memory() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        wire.bytes(&megabyte)?;
    }
    wire.bytes(b"\n")?;
    let answer = wire.answer()?;
    assert_eq!(code(&answer), -32600);
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("16777216 bytes")));
    let peak_kb = crate::client::peak_kb(wire.child.id())?;
    assert!(peak_kb < 70_000, "{peak_kb} kB for a line of which 16 MiB may be kept");
    wire.request(1, "ping", &json!({}))?;
    assert_eq!(wire.answer()?["id"], 1);
    Ok(())
}

#[test]
fn no_argument_breaks_the_server() -> TestResult {
    const ARGUMENTS: [&str; 16] = [
        "agent_id",
        "parameters",
        "ethical_drift",
        "response_text",
        "complexity",
        "format",
        "filename",
        "confirm",
        "backup_first",
        "reason",
        "keep_in_memory",
        "tags",
        "notes",
        "append_notes",
        "__proto__",
        "",
    ];
    let mut random = fastrand::Rng::with_seed(20_251_119);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e308),
        json!(-0.0),
        json!(""),
        json!("a"),
        json!("b"),
        json!("json"),
        json!("../../x"),
        json!("\u{0}\u{1b}[2J\u{202e}"),
        json!("é".repeat(5_000)),
        json!([]),
        json!([1e308, -1e308, null, 0.1]),
        json!(["a", "b", ""]),
        json!([[[[]]]]),
        json!({ "a": { "b": [] } }),
    ];
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    for id in 1..=3_000 {
        let tool = random.choice(NAMES).ok_or("no tool")?;
        let mut arguments = serde_json::Map::new();
        for _ in 0..random.usize(0..6) {
            let argument = random.choice(ARGUMENTS).ok_or("no argument")?;
            let value = random.choice(&values).ok_or("no value")?;
            arguments.insert(argument.to_owned(), value.clone());
        }
        if random.bool() {
            arguments.insert("agent_id".to_owned(), json!(random.choice(["a", "b"])));
        }
        let arguments = Value::Object(arguments);
        wire.call(id, tool, &arguments)?;
        let answer = wire.answer()?;
        assert_eq!(answer["id"], id);
        let content = &answer["result"]["structuredContent"];
        assert!(content["success"].is_boolean(), "{tool} {arguments}: {answer}");
        let error = content["error"].as_str().unwrap_or_default();
        assert!(!error.contains("the tool failed"), "{tool} {arguments}: {error}");
    }
    let outside: Vec<_> = fs::read_dir(home.path())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with("governance.db"))
        .collect();
    assert!(outside.iter().all(|name| name == "exports"), "{outside:?}");
    Ok(())
}

#[test]
fn a_client_that_vanishes_in_the_middle_leaves_what_was_committed_and_the_next_one_works() -> TestResult {
    let home = Home::new()?;
    for round in 1..=3 {
        let mut wire = home.wire()?;
        wire.initialize()?;
        for id in 1..=50 {
            wire.call(id, "process_agent_update", &json!({ "agent_id": "a" }))?;
        }
        wire.bytes(br#"{"jsonrpc": "2.0", "id": 51, "method": "tools/call", "par"#)?;
        assert_eq!(wire.answer()?["result"]["structuredContent"]["success"], true, "round {round}");
        wire.close_stdin();
        assert!(wire.ended()?.success());
    }
    let stored = home.store()?;
    let agent = stored.agent("a")?;
    let history = stored.history("a", None)?;
    assert_eq!(i64::try_from(history.len())?, agent.total_updates);
    assert!((3..=150).contains(&agent.total_updates));
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
    let next = &wire.answer()?["result"]["structuredContent"];
    assert_eq!(next["metrics"]["total_updates"], agent.total_updates + 1);
    Ok(())
}

#[test]
fn stdout_has_messages_alone_whatever_is_asked() -> TestResult {
    let home = Home::new()?;
    let mut command = home.serve();
    command.env("RUST_LOG", "trace").stderr(std::process::Stdio::null());
    let mut wire = McpClient::spawn(command)?;
    wire.initialize()?;
    wire.line("{")?;
    wire.call(1, "nonsense", &json!({}))?;
    wire.call(2, "process_agent_update", &json!({ "agent_id": 7 }))?;
    wire.call(3, "process_agent_update", &json!({ "agent_id": "a\u{1b}[31m" }))?;
    wire.call(4, "process_agent_update", &json!({ "agent_id": "a", "response_text": "\n\n{}\n\u{0}" }))?;
    wire.call(5, "get_system_history", &json!({ "agent_id": "a", "format": "csv" }))?;
    for _ in 0..6 {
        wire.answer()?; // every line parses
    }
    wire.close_stdin();
    assert!(wire.remaining()?.is_empty());
    assert!(wire.ended()?.success());
    Ok(())
}
