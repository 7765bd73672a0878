//! What a tool call may not do: what the server was set up without, and what an operator has done.

use std::process::Stdio;

use govstore::{AgentFilter, Lifecycle};
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, Home};
use crate::listing::NAMES;

async fn listed(client: &Client) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let tools = client.connection.list_all_tools().await?;
    Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
}

/// What the operator does on the command line.
fn operator(home: &Home, arguments: &[&str]) -> TestResult {
    let output = home.run(arguments)?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_read_only_server_lists_and_runs_what_changes_nothing_alone() -> TestResult {
    let home = Home::new()?;
    let client = home.connect_with(&["--read-only"]).await?;
    let offered = listed(&client).await?;
    assert_eq!(offered.len(), 5);
    assert!(offered.iter().all(|name| name.starts_with("get_") || name == "list_agents"), "{offered:?}");
    let instructions = client.connection.peer_info().and_then(|server| server.instructions.clone());
    assert!(!instructions.ok_or("no instructions")?.contains("process_agent_update"));

    home.store()?.process_update("a", &govstore::Update::new())?;
    let before = home.store()?.agents(&AgentFilter::new())?;
    for tool in NAMES.into_iter().filter(|name| !offered.iter().any(|offered| offered == name)) {
        let error = client.refused(tool, json!({ "agent_id": "a", "confirm": true })).await?;
        let sentence = format!(
            "this server is read-only: {tool} would change the database; ask the person who set it up"
        );
        assert_eq!(error, sentence);
    }
    assert_eq!(home.store()?.agents(&AgentFilter::new())?, before);
    assert!(!home.path().join("exports").exists());
    for (tool, arguments) in [
        ("list_agents", json!({})),
        ("get_server_info", json!({})),
        ("get_agent_metadata", json!({ "agent_id": "a" })),
        ("get_governance_metrics", json!({ "agent_id": "a" })),
        ("get_system_history", json!({ "agent_id": "a" })),
    ] {
        client.ok(tool, arguments).await?;
    }
    client.close().await
}

#[tokio::test]
async fn tools_that_were_left_out_are_neither_listed_nor_run_nor_recommended() -> TestResult {
    let home = Home::new()?;
    let client =
        home.connect_with(&["--without", "delete_agent,resume_agent", "--without", "list_agents"]).await?;
    let offered = listed(&client).await?;
    assert_eq!(offered.len(), 10);
    for tool in ["delete_agent", "resume_agent", "list_agents"] {
        assert!(!offered.iter().any(|offered| offered == tool));
        let error = client.refused(tool, json!({ "agent_id": "a" })).await?;
        assert_eq!(error, format!("this server was set up without {tool}; ask the person who set it up"));
    }
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    client.ok("pause_agent", json!({ "agent_id": "a" })).await?;
    let error = client.refused("process_agent_update", json!({ "agent_id": "a" })).await?;
    assert_eq!(error, "agent \"a\" is paused: it cannot be updated");
    let error = client.refused("get_agent_metadata", json!({ "agent_id": "nobody" })).await?;
    assert_eq!(error, "there is no agent \"nobody\"");
    let error = client.refused("get_agent_metadata", json!({ "agent_id": "" })).await?;
    assert!(error.starts_with("agent_id: is empty"), "{error}");
    client.close().await
}

#[test]
fn a_server_without_a_tool_that_there_is_not_does_not_start() -> TestResult {
    let home = Home::new()?;
    for unknown in ["delete_agnet", "pause_agent,", "Pause_Agent"] {
        let output = home.serve().args(["--without", unknown]).stdin(Stdio::null()).output()?;
        assert_eq!(output.status.code(), Some(2), "{unknown}");
        let said = String::from_utf8(output.stderr)?;
        for name in NAMES {
            assert!(said.contains(name), "{said}");
        }
        assert!(said.contains("there is no tool"), "{said}");
    }
    let output = home.serve().args(["--compat", "v2.0"]).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(2));
    assert!(!home.database().exists(), "nothing was begun");
    Ok(())
}

#[tokio::test]
async fn what_the_operator_paused_or_archived_no_tool_undoes() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for (command, done) in [("pause", "paused"), ("archive", "archived")] {
        let agent = json!({ "agent_id": done, "confirm": true });
        let only_agent = json!({ "agent_id": done });
        client.ok("process_agent_update", only_agent.clone()).await?;
        operator(&home, &[command, done, "--reason", "schema is being changed"])?;
        let before = home.store()?.agent(done)?;
        for (tool, action, arguments) in [
            ("process_agent_update", "updated", &only_agent),
            ("resume_agent", "resumed", &only_agent),
            ("reset_monitor", "reset", &only_agent),
            ("delete_agent", "deleted", &agent),
        ] {
            let error = client.refused(tool, arguments.clone()).await?;
            let sentence = format!(
                "agent \"{done}\" cannot be {action}: it was {done} by the operator: schema is being changed; ask them"
            );
            assert_eq!(error, sentence, "{tool}");
        }
        let other = if done == "paused" { "archive_agent" } else { "pause_agent" };
        let error = client.refused(other, only_agent.clone()).await?;
        assert!(
            error.contains(&format!("it was {done} by the operator: schema is being changed; ask them")),
            "{error}"
        );
        let same = if done == "paused" { "pause_agent" } else { "archive_agent" };
        let message = client.ok(same, only_agent.clone()).await?["message"].clone();
        assert_eq!(message, format!("nothing changed: agent \"{done}\" is {done} already"));
        assert_eq!(home.store()?.agent(done)?, before);

        let metadata = client.ok("get_agent_metadata", only_agent.clone()).await?;
        let newest =
            metadata["lifecycle_events"].as_array().and_then(|events| events.last()).ok_or("no event")?;
        assert_eq!((&newest["event"], &newest["actor"]), (&json!(done), &json!("operator")));
        operator(&home, &["resume", done])?;
        client.ok("process_agent_update", only_agent).await?;
    }
    assert!(!home.path().join("exports").exists(), "what is refused leaves no export");
    client.ok("process_agent_update", json!({ "agent_id": "c" })).await?;
    operator(&home, &["pause", "c"])?;
    let error = client.refused("process_agent_update", json!({ "agent_id": "c" })).await?;
    assert!(error.ends_with("paused by the operator, who gave no reason; ask them"), "{error}");
    client.close().await
}

#[tokio::test]
async fn what_a_tool_paused_another_client_undoes() -> TestResult {
    let home = Home::new()?;
    let (one, other) = (home.connect().await?, home.connect().await?);
    for (tool, arguments, now) in [
        ("resume_agent", json!({ "agent_id": "a" }), Lifecycle::Active),
        ("archive_agent", json!({ "agent_id": "a" }), Lifecycle::Archived),
        ("reset_monitor", json!({ "agent_id": "a" }), Lifecycle::Paused),
        ("delete_agent", json!({ "agent_id": "a", "confirm": true }), Lifecycle::Deleted),
    ] {
        if home.store()?.agent("a").is_ok_and(|agent| agent.lifecycle_status == Lifecycle::Archived) {
            one.ok("resume_agent", json!({ "agent_id": "a" })).await?;
        }
        if home.store()?.agent("a").is_ok_and(|agent| agent.lifecycle_status == Lifecycle::Paused) {
            one.ok("resume_agent", json!({ "agent_id": "a" })).await?;
        }
        one.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
        one.ok("pause_agent", json!({ "agent_id": "a", "reason": "thinking" })).await?;
        let error = other.refused("process_agent_update", json!({ "agent_id": "a" })).await?;
        assert!(error.ends_with("it cannot be updated; resume_agent makes it active again"), "{error}");
        let done = other.ok(tool, arguments).await?;
        assert!(
            !done["message"].as_str().unwrap_or("nothing changed").starts_with("nothing changed"),
            "{done}"
        );
        assert_eq!(home.store()?.agent("a")?.lifecycle_status, now, "{tool}");
    }
    one.close().await?;
    other.close().await
}

#[tokio::test]
async fn the_operator_takes_over_what_a_tool_paused() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let a = json!({ "agent_id": "a" });
    client.ok("process_agent_update", a.clone()).await?;
    client.ok("pause_agent", a.clone()).await?;
    operator(&home, &["pause", "a", "--reason", "mine now"])?;
    let error = client.refused("resume_agent", a.clone()).await?;
    assert!(error.ends_with("paused by the operator: mine now; ask them"), "{error}");
    assert_eq!(client.ok("get_agent_metadata", a).await?["status"], Value::from("paused"));
    client.close().await
}
