//! Servers that are started again when they fail.

use std::fs::File;

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, answerer};
use crate::tree::Home;

/// It counts its starts in a file, and says what it was told.
fn strict(home: &Home) -> TestResult<Client> {
    let starts = home.path().join("starts");
    let starts = starts.to_str().ok_or("a path that is no text")?;
    let mut command = home.run(&["--restart", "on-failure"], &[answerer(), starts]);
    command.stderr(File::create(home.path().join("errors"))?);
    Client::spawn(command)
}

fn starts(home: &Home) -> usize {
    std::fs::read_to_string(home.path().join("starts")).unwrap_or_default().lines().count()
}

#[test]
fn the_next_one_knows_the_handshake_and_what_was_asked_is_answered_in_vain() -> TestResult {
    let home = Home::new()?;
    let mut client = strict(&home)?;
    let first = client.initialize()?;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
    for restarts in 1..=3 {
        client.send(
            r#"{"jsonrpc":"2.0","id":"unanswered","method":"tools/call","params":{"name":"vanish"}}"#,
        )?;
        client.send(r#"{"jsonrpc":"2.0","id":"kill","method":"tools/call","params":{"name":"kill"}}"#)?;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let failed = client.line()?;
            let message = failed["error"]["message"].as_str().ok_or("no error")?;
            assert!(message.contains("was ended by signal 9 before it answered"), "{failed}");
            ids.push(failed["id"].as_str().ok_or("no id")?.to_owned());
        }
        ids.sort();
        assert_eq!(ids, ["kill", "unanswered"]);
        let next = client.request("tools/list", &json!({}))?;
        assert_ne!(next["result"]["pid"], first["result"]["pid"]);
        assert_eq!(
            next["result"]["told"],
            json!(["initialize", "notifications/initialized", "tools/list"]),
            "and the client has not heard a second answer to initialize"
        );
        assert_eq!(starts(&home), restarts + 1);
    }
    assert!(client.hang_up()?.success());
    home.wait_until_nothing_is_left()?;
    Ok(())
}

#[test]
fn one_that_goes_on_failing_is_given_up() -> TestResult {
    let home = Home::new()?;
    let starts = home.path().join("starts");
    let starts_text = starts.to_str().ok_or("a path that is no text")?;
    let script = r#"echo started >> "$1"; exit 3"#;
    let mut command = home.run(&["--restart", "on-failure"], &["sh", "-c", script, "sh", starts_text]);
    command.stderr(File::create(home.path().join("errors"))?);
    let mut client = Client::spawn(command)?;
    assert_eq!(client.child.wait()?.code(), Some(3));
    assert_eq!(std::fs::read_to_string(starts)?.lines().count(), 6);
    Ok(())
}

#[test]
fn one_that_ends_well_or_with_its_client_is_not_started_again() -> TestResult {
    let home = Home::new()?;
    let mut client = strict(&home)?;
    client.initialize()?;
    client.stdin = None;
    assert!(client.child.wait()?.success());
    assert_eq!(starts(&home), 1);
    let output =
        home.run(&["--restart", "on-failure"], &["true"]).stdin(std::process::Stdio::null()).output()?;
    assert!(output.status.success());
    Ok(())
}

/// Without it, the failure is the end.
#[test]
fn it_is_not_done_unasked() -> TestResult {
    let home = Home::new()?;
    let mut client = Client::spawn(home.run(&[], &[answerer()]))?;
    assert_eq!(client.initialize()?["error"], Value::Null);
    client.send(r#"{"id":2,"method":"tools/call","params":{"name":"crash"}}"#)?;
    assert!(client.line().is_err(), "the end");
    assert_eq!(client.child.wait()?.code(), Some(3));
    Ok(())
}
