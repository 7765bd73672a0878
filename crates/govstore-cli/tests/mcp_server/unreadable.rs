//! Messages that can't be read are answered with their ids, wherever these are.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::Home;
use govstore_testkit::McpClient;

/// How long an answer may take once the message is written.
const WITHIN: Duration = Duration::from_secs(1);

const LONG_BYTES: usize = 20_000_000;

/// Where the id of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Middle,
    Last,
    /// There is one in a string, and one deeper down, and both are something else.
    Missing,
}

const PLACES: [Place; 4] = [Place::First, Place::Middle, Place::Last, Place::Missing];

/// A message whose arguments have `value`, and `id` in its place.
fn message(value: &[u8], id: &str, place: Place) -> Vec<u8> {
    let id_at = |here| if place == here { format!(r#""id" : {id},"#) } else { String::new() };
    let last = if place == Place::Last { format!(r#","id":{id}"#) } else { String::new() };
    let head = format!(
        r#"{{{}"jsonrpc":"2.0","method":"tools/call",{}"params":{{"id":999,"name":"process_agent_update","arguments":{{"agent_id":"\"id\":998","response_text":"#,
        id_at(Place::First),
        id_at(Place::Middle),
    );
    [head.as_bytes(), value, br"}}", last.as_bytes(), b"}\n"].concat()
}

/// Sends a message and expects an error with this id, soon.
fn assert_refused(wire: &mut McpClient, message: &[u8], id: &Value, what: &str) -> TestResult {
    wire.bytes(message)?;
    let written = Instant::now();
    let answer = wire.answer()?;
    assert!(written.elapsed() < WITHIN, "{what}: {:?}", written.elapsed());
    assert_eq!(answer.get("id"), Some(id), "{what}: {answer}");
    let code = answer["error"]["code"].as_i64();
    assert!(matches!(code, Some(-32700 | -32600)), "{what}: {answer}");
    Ok(())
}

#[test]
fn whatever_is_wrong_with_a_message_its_id_is_answered() -> TestResult {
    let long = format!(r#""{}""#, r#"x \"id\":997, "#.repeat(LONG_BYTES / 13));
    let kinds: [(&str, Vec<u8>); 8] = [
        ("NaN", b"NaN".to_vec()),
        ("1e999", b"1e999".to_vec()),
        ("no UTF-8", b"\"\xff\xfe\"".to_vec()),
        ("too deep", ["[".repeat(200), "]".repeat(200)].concat().into_bytes()),
        ("brackets that don't match", b"[}".to_vec()),
        ("no value", Vec::new()),
        ("too long", long.clone().into_bytes()),
        ("too long and not JSON", [long.as_bytes(), b",\"x\":NaN"].concat()),
    ];
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let mut number = 0;
    for (kind, value) in &kinds {
        for place in PLACES {
            number += 1;
            for id in [json!(number), json!(format!("string \"{number}\" }}"))] {
                let expected = if place == Place::Missing { Value::Null } else { id.clone() };
                let message = message(value, &id.to_string(), place);
                assert_refused(&mut wire, &message, &expected, &format!("{kind}, {place:?}"))?;
            }
        }
    }
    wire.call(1_000, "process_agent_update", &json!({ "agent_id": "a" }))?;
    assert_eq!(wire.answer()?["result"]["structuredContent"]["metrics"]["total_updates"], 1);
    Ok(())
}

#[test]
fn ids_that_only_json_has_are_answered_as_they_are() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    for id in ["18446744073709551615", "1.5", r#""\u00e9 \"""#] {
        let message = format!("{{\"jsonrpc\":\"1.0\",\"method\":\"ping\",\"id\":{id}}}\n");
        assert_refused(&mut wire, message.as_bytes(), &serde_json::from_str(id)?, id)?;
    }
    Ok(())
}

#[test]
fn the_last_message_is_answered_though_it_is_cut_off() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.bytes(br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","par"#)?;
    wire.close_stdin();
    let answers = wire.remaining()?;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0]["id"], 7);
    assert!(wire.ended()?.success());
    Ok(())
}

/// A server that has agreed on a version of the protocol.
fn speaking(home: &Home, version: &str) -> Result<McpClient, Box<dyn std::error::Error>> {
    let mut wire = home.wire()?;
    let client = json!({ "name": "wire", "version": "1" });
    let begin = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    wire.request(0, "initialize", &begin)?;
    assert_eq!(wire.value()?["result"]["protocolVersion"], version);
    Ok(wire)
}

fn sorted_ids(answers: &Value) -> Vec<String> {
    let mut ids: Vec<_> =
        answers.as_array().into_iter().flatten().map(|answer| answer["id"].to_string()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn each_member_of_a_batch_is_answered_where_batches_exist() -> TestResult {
    let home = Home::new()?;
    let mut wire = speaking(&home, "2025-03-26")?;
    let update = json!({ "name": "process_agent_update", "arguments": { "agent_id": "a" } });
    let batch = json!([
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": update },
        { "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": update },
        { "jsonrpc": "1.0", "id": 4, "method": "ping" },
        { "jsonrpc": "2.0", "id": 5, "method": "unheard/of" },
        6,
    ]);
    wire.line(&batch.to_string())?;
    let answers = wire.value()?;
    assert_eq!(sorted_ids(&answers), ["\"two\"", "1", "3", "4", "5", "null"], "{answers}");
    let succeeded = answers.as_array().ok_or("no array")?.iter().filter(|one| one.get("result").is_some());
    assert_eq!(succeeded.count(), 3, "{answers}");
    assert_eq!(home.store()?.agent("a")?.total_updates, 2);

    wire.line(r#"[{"jsonrpc": "2.0", "method": "notifications/initialized"}]"#)?; // takes no answer
    wire.line(r#"[{"jsonrpc": "2.0", "id": 7, "method": "ping", "x": 1e999}]"#)?;
    assert_eq!(sorted_ids(&wire.value()?), ["7"]);
    wire.line("[]")?;
    assert_eq!(wire.value()?["id"], Value::Null);
    wire.line(r#"[{"jsonrpc": "2.0", "id": 8, "method": "ping"}, NaN, {"id": 9}"#)?; // as a whole no JSON
    for id in [8, 9] {
        let answer = wire.value()?;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32700)), "{answer}");
    }
    wire.request(10, "ping", &json!({}))?;
    assert_eq!(wire.value()?["id"], 10);
    Ok(())
}

#[test]
fn a_batch_of_many_members_is_answered() -> TestResult {
    const MEMBERS: usize = 20_000;
    let home = Home::new()?;
    let mut wire = speaking(&home, "2025-03-26")?;
    let members: Vec<_> =
        (1..=MEMBERS).map(|id| json!({ "jsonrpc": "2.0", "id": id, "method": "resources/list" })).collect();
    wire.line(&Value::Array(members).to_string())?;
    let mut ids = Vec::new();
    while ids.len() < MEMBERS {
        let answers = wire.value()?;
        ids.extend(answers.as_array().ok_or("no array")?.iter().filter_map(|answer| answer["id"].as_u64()));
    }
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(1..=u64::try_from(MEMBERS)?));
    Ok(())
}

#[test]
fn each_member_of_a_batch_is_refused_where_there_are_none() -> TestResult {
    for version in ["2024-11-05", "2025-06-18"] {
        let home = Home::new()?;
        let mut wire = speaking(&home, version)?;
        wire.line(r#"[{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": "two", "method": "ping"}]"#)?;
        for id in [json!(1), json!("two")] {
            let answer = wire.answer()?;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(-32600)), "{answer}");
        }
        for batch in
            ["[]", "[1, [2], null]", r#"[{"jsonrpc": "2.0", "method": "notifications/initialized"}]"#]
        {
            wire.line(batch)?;
            let answer = wire.answer()?;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32600)), "{answer}");
        }
        wire.request(3, "ping", &json!({}))?;
        assert_eq!(wire.answer()?["id"], 3);
    }
    Ok(())
}

#[test]
fn the_ids_of_a_batch_that_is_too_long_are_answered() -> TestResult {
    let home = Home::new()?;
    let mut wire = speaking(&home, "2025-03-26")?;
    let long = "x".repeat(LONG_BYTES);
    wire.line(&format!(r#"[{{"id":1,"method":"ping"}},{{"x":"{long}","id":2}},3,{{"id":"four"}}]"#))?;
    for id in [json!(1), json!(2), json!("four")] {
        let answer = wire.answer()?;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(-32600)), "{answer}");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_line_of_small_values_does_not_cost_a_server_its_memory() -> TestResult {
    const PEAK_KB: u64 = 100_000;
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let many = format!("[{}0]", "[],".repeat(5_000_000));
    let message = message(many.as_bytes(), "7", Place::Last);
    assert!(message.len() < 16 << 20);
    wire.bytes(&message)?;
    let answer = wire.answer()?;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32600)), "{answer}");
    let peak = crate::client::peak_kb(wire.child.id())?;
    assert!(peak < PEAK_KB, "{peak} kB");
    Ok(())
}
