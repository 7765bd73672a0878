//! Calls that may pass, and calls that may not.

use std::fs::File;

use serde_json::json;

use crate::TestResult;
use crate::client::{Client, answerer};
use crate::tree::Home;

#[test]
fn a_paused_agent_calls_nothing_and_reads_why() -> TestResult {
    let home = Home::new()?;
    home.json(&["update", "writer"])?;
    let mut client = Client::spawn(home.run(&["--agent", "writer"], &[answerer()]))?;
    client.initialize()?;
    assert_eq!(client.call("echo", &json!({}))?["isError"], false);

    home.json(&["pause", "writer", "--reason", "looked into"])?;
    let refused = client.call("echo", &json!({ "big": "x".repeat(200_000) }))?;
    assert_eq!(refused["isError"], true);
    let reason = refused["content"][0]["text"].as_str().ok_or("no text")?;
    for saying in
        ["Agent writer is paused by operator", "was not made", "Reason: looked into.", "Do not retry"]
    {
        assert!(reason.contains(saying), "{reason}");
    }
    let listed = client.request("tools/list", &json!({}))?;
    assert_eq!(listed["result"]["isError"], false, "other requests pass");

    home.json(&["resume", "writer"])?;
    assert_eq!(client.call("echo", &json!({}))?["isError"], false);
    client.hang_up()?;
    let calls = home.json(&["ps", "--calls"])?;
    assert_eq!(calls["calls"][0]["calls"], 2, "a call that was not made is none: {calls}");
    assert_eq!(home.json(&["agent", "writer"])?["agent"]["total_updates"], 1, "without --update");
    Ok(())
}

/// A line that is too long to be held passes or not before it is known what it says; and a batch is refused as a whole.
#[test]
fn no_length_and_no_batch_gets_a_call_past_the_gate() -> TestResult {
    let home = Home::new()?;
    home.json(&["update", "writer"])?;
    let mut client = Client::spawn(home.run(&["--agent", "writer"], &[answerer()]))?;
    let long = |id: u64| {
        format!(
            r#"{{"jsonrpc":"2.0","params":{{"x":"{}","name":"t"}},"method":"tools/call","id":{id}}}"#,
            "x".repeat(5 << 20)
        )
    };
    client.send(&long(1))?;
    assert_eq!(client.line()?["result"]["isError"], false, "the server has answered");
    home.json(&["pause", "writer"])?;
    client.send(&long(2))?;
    let refused = client.line()?;
    assert_eq!((&refused["id"], &refused["result"]["isError"]), (&2.into(), &true.into()), "{refused}");
    client.send(
        r#"[{"id":3,"method":"ping"},{"id":"4","method":"tools/call","params":{"name":"t"}},{"method":"n"}]"#,
    )?;
    let refused = client.line()?;
    let answers = refused.as_array().ok_or("no batch")?;
    assert_eq!(answers.len(), 2, "{refused}");
    assert_eq!((&answers[0]["id"], &answers[0]["error"]["code"]), (&3.into(), &(-32000).into()));
    assert_eq!((&answers[1]["id"], &answers[1]["result"]["isError"]), (&"4".into(), &true.into()));
    client.send(r#"{"method":"tools/call","params":{"name":"t"}}"#)?; // asks for no answer, and is not passed on
    client.send(r#"{"id":5,"method":"ping"}"#)?;
    assert_eq!(client.line()?["id"], 5);
    client.hang_up()?;
    Ok(())
}

/// An answer of ours waits for the end of the line that the server is writing.
#[test]
fn a_refusal_does_not_cut_a_line_in_two() -> TestResult {
    let home = Home::new()?;
    home.json(&["update", "writer"])?;
    home.json(&["pause", "writer"])?;
    let script = r#"printf '{"half":'; read -r go; printf '"line"}\n'; cat >/dev/null"#;
    let mut client = Client::spawn(home.run(&["--agent", "writer"], &["sh", "-c", script]))?;
    std::thread::sleep(std::time::Duration::from_millis(300)); // until the half has passed
    client.send(r#"{"id":1,"method":"tools/call","params":{"name":"t"}}"#)?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    client.send(r#"{"method":"go"}"#)?;
    assert_eq!(client.line()?["half"], "line");
    assert_eq!(client.line()?["id"], 1);
    client.hang_up()?;
    Ok(())
}

#[test]
fn where_nobody_can_tell_calls_pass_unless_they_are_to_fail() -> TestResult {
    let home = Home::new()?;
    for (options, is_error) in
        [(&["--agent", "writer"][..], false), (&["--agent", "writer", "--fail-closed"], true)]
    {
        let mut command = home.run(options, &[answerer()]);
        command
            .env("GOVSTORE_DB", "/no/such/folder/governance.db")
            .stderr(File::create(home.path().join("errors"))?);
        let mut client = Client::spawn(command)?;
        client.initialize()?;
        for _ in 0..3 {
            assert_eq!(client.call("echo", &json!({}))?["isError"], is_error);
        }
        client.hang_up()?;
        let said = std::fs::read_to_string(home.path().join("errors"))?;
        assert_eq!(said.matches("calls of tools ").count(), 1, "said once: {said}");
    }
    // An agent that nobody knows is not paused.
    let mut client = Client::spawn(home.run(&["--agent", "unknown", "--fail-closed"], &[answerer()]))?;
    assert_eq!(client.call("echo", &json!({}))?["isError"], false);
    client.hang_up()?;
    Ok(())
}

#[test]
fn each_call_is_an_update_of_the_agent_that_is_named_as_the_client() -> TestResult {
    let home = Home::new()?;
    let mut client = Client::spawn(home.run(&["--agent-from", "client", "--update"], &[answerer()]))?;
    client.initialize()?;
    client.call("echo", &json!({ "text": "sudo rm -rf /", "complexity": 0.9 }))?;
    client.call("echo", &json!({ "complexity": "high" }))?;
    client.hang_up()?;
    let agent = home.json(&["agent", "test-client"])?;
    assert_eq!(agent["agent"]["total_updates"], 2, "{agent}");
    let history = home.json(&["history", "test-client"])?;
    let rows = history["history"].as_array().or(history["updates"].as_array()).ok_or("no history")?;
    let complexity: Vec<_> = rows.iter().map(|row| row["complexity"].as_f64()).collect();
    assert_eq!(complexity, [Some(0.9), Some(0.5)]);
    assert_eq!(rows[0]["text_length"], r#"{"complexity":0.9,"text":"sudo rm -rf /"}"#.len());
    Ok(())
}

#[test]
fn options_without_an_agent_are_refused() -> TestResult {
    let home = Home::new()?;
    for option in ["--update", "--fail-closed"] {
        let output = home.run(&[option], &["cat"]).output()?;
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("needs --agent AGENT or --agent-from client")
        );
    }
    Ok(())
}
