//! Whatever a client sends, the server answers in whole JSON-RPC messages, each request with its id, and leaves a sound
//! database and nothing outside of its export folder.
//!
//! An input is what a client writes after the handshake; one that begins with `!` has to shake hands by itself. The last
//! message is the input's first line once more, inside of a message that has an id before it.
#![no_main]

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};

use govstore::ProcessInfo;
use govstore_fuzz::{Scratch, assert_sound};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const HANDSHAKE: &[u8] = br#"{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"fuzzer","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
"#;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let (greets, input) = match input.strip_prefix(b"!") {
        Some(all) => (false, all),
        None => (true, input),
    };
    let last = last_message(input);
    let input = [if greets { HANDSHAKE } else { b"" }, input, b"\n", &last].concat();
    let scratch = Scratch::get();
    let store = scratch.store();
    let registration = store.register(ProcessInfo::new("fuzzer", "1")).expect("a place in the registry");
    let output = Output::default();
    let client = Cursor::new(input.clone()).take(u64::MAX);
    let _ = govstore_mcp::serve_streams(store.clone(), client, output.clone()); // one that never says hello is no client

    let output = output.0.lock().expect("no panic");
    let mut answers = Vec::new();
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\n"), "an answer without an end");
        match serde_json::from_slice(line).expect("an answer is JSON") {
            Value::Array(batch) => answers.extend(batch),
            answer => answers.push(answer),
        }
    }
    answers.iter().for_each(assert_answer);
    // What is cancelled has no answer, and a name may be escaped.
    if greets && count(&input, b"cancelled") == 0 && count(&input, b"\\u") == 0 {
        for id in requests(&input) {
            assert!(answers.iter().any(|answer| is_same(&answer["id"], &id)), "nothing answers {id}");
        }
        let is_answered = answers.iter().any(|answer| answer["id"] == "the last");
        assert!(is_answered || count(&last, b"id") > 1, "nothing answers the last message");
    }
    assert_sound(&store);
    registration.deregister().expect("an end in the registry");
    drop(store);
    for entry in fs::read_dir(scratch.folder()).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name of ours");
        // A connection that the pool was just opening is closed a moment later, and its log with it.
        let ours = ["governance.db", "governance.db-wal", "governance.db-shm", "exports"];
        assert!(ours.contains(&name.as_str()), "{name} was written");
    }
});

/// How often something is in a text.
fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}

/// The last message, whose id is found whatever follows it.
fn last_message(input: &[u8]) -> Vec<u8> {
    let first_line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    [br#"{"id":"the last","method":"ping","params":"#, first_line, b"}"].concat()
}

/// The ids of the requests that are in an input, as far as its lines are JSON.
fn requests(input: &[u8]) -> Vec<Value> {
    let lines = input.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let messages = values.flat_map(|value| match value {
        Value::Array(members) => members,
        message => vec![message],
    });
    messages
        .filter(|message| message["method"].is_string() && (message["id"].is_string() || message["id"].is_number()))
        .map(|message| message["id"].clone())
        .collect()
}

/// Whether two ids are the same: rmcp writes 1.0 as 1.
fn is_same(id: &Value, other: &Value) -> bool {
    id == other || id.is_number() && id.as_f64() == other.as_f64()
}

/// An answer is what JSON-RPC and MCP say it is.
fn assert_answer(answer: &Value) {
    assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
    assert!(answer.get("id").is_some() || answer.get("method").is_some(), "{answer}");
    let Some(result) = answer.get("result") else { return };
    let Some(success) = result["structuredContent"].get("success") else { return };
    assert_eq!(success == false, result["isError"] == true, "{answer}");
    let text = result["content"][0]["text"].as_str().expect("a result has a text");
    let text: Value = serde_json::from_str(text).expect("the text is the result");
    assert_eq!(text, result["structuredContent"], "{answer}");
    assert_eq!(success == false, text["error"].is_string() && text.get("success").is_some(), "{answer}");
}
