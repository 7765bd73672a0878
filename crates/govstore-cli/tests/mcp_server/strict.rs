//! Arguments that are not right: refused by name, or taken as a model meant them.

use std::collections::HashSet;
use std::fs;

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::Home;
use crate::listing::NAMES;

#[tokio::test]
async fn an_unknown_argument_of_any_tool_is_refused_with_the_nearest_name() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let cases = [
        ("list_agents", "limt", "limit"),
        ("list_agents", "status", "_status"),
        ("get_system_history", "lst", "last"),
        ("process_agent_update", "text", "response_text"),
        ("process_agent_update", "parameter", "parameters"),
        ("export_to_file", "file_name", "filename"),
        ("delete_agent", "confirmed", "confirm"),
        ("update_agent_metadata", "note", "notes"),
    ];
    for (tool, wrong, meant) in cases {
        let error = client.refused(tool, json!({ "agent_id": "a", wrong: 1 })).await;
        let error = match tool {
            "list_agents" => client.refused(tool, json!({ wrong: 1 })).await?,
            _ => error?,
        };
        assert!(error.starts_with(&format!("{wrong}: unknown argument; did you mean ")), "{tool}: {error}");
        assert!(error.ends_with(&format!("{meant}?")), "{tool}: {error}");
    }
    for tool in NAMES {
        let error = client.refused(tool, json!({ "zzz": 1 })).await?;
        assert!(error.starts_with("zzz: unknown argument; the tool takes "), "{tool}: {error}");
    }
    let error = client.refused("get_server_info", json!({ "random_string": "" })).await?;
    assert_eq!(error, "random_string: unknown argument; the tool takes none");
    assert!(home.store()?.agents(&govstore::AgentFilter::new())?.is_empty());
    client.close().await
}

#[tokio::test]
async fn every_argument_that_a_schema_has_is_taken_and_no_other() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for tool in client.connection.list_all_tools().await? {
        let name = NAMES.into_iter().find(|name| *name == tool.name).ok_or("no name")?;
        let properties = tool.input_schema.get("properties").and_then(Value::as_object);
        let in_schema: HashSet<&str> =
            properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let error = client.refused(name, json!({ "zzz": 1 })).await?;
        let taken = error.strip_prefix("zzz: unknown argument; the tool takes ").ok_or("another refusal")?;
        let taken: HashSet<&str> = taken.split(", ").filter(|argument| *argument != "none").collect();
        assert_eq!(taken, in_schema, "{name}");
    }
    client.close().await
}

#[tokio::test]
async fn an_empty_text_counts_as_left_out_where_it_means_nothing() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let update = json!({ "agent_id": "a", "response_text": "", "key": "" });
    for n in 1..=2 {
        let report = client.ok("process_agent_update", update.clone()).await?;
        assert_eq!(report["metrics"]["updates"], n, "an empty key is none");
        assert_eq!(report.get("key"), None);
    }
    let export = client.ok("export_to_file", json!({ "agent_id": "a", "filename": "" })).await?;
    assert!(export["filename"].as_str().is_some_and(|name| name.starts_with("a_history_20")), "{export}");
    let list = client.ok("list_agents", json!({ "query": "", "after": "" })).await?;
    assert_eq!(list["matching"], 1);
    client.ok("pause_agent", json!({ "agent_id": "a", "reason": "" })).await?;
    let events = home.store()?.events("a")?;
    assert_eq!(events.last().and_then(|event| event.reason.clone()), None);

    client.ok("update_agent_metadata", json!({ "agent_id": "a", "notes": "n", "tags": ["t"] })).await?;
    let cleared = client.ok("update_agent_metadata", json!({ "agent_id": "a", "notes": "" })).await?;
    assert_eq!((&cleared["notes"], &cleared["tags"]), (&json!(""), &json!(["t"])));
    assert_eq!(home.store()?.agent("a")?.notes, "");
    client.close().await
}

#[tokio::test]
async fn an_empty_agent_id_is_refused_with_where_ids_are() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for tool in NAMES.into_iter().filter(|tool| !["list_agents", "get_server_info"].contains(tool)) {
        let error = client.refused(tool, json!({ "agent_id": "" })).await?;
        assert_eq!(error, "agent_id: is empty; list_agents has the ids that there are", "{tool}");
    }
    client.close().await
}

#[tokio::test]
async fn a_complexity_out_of_range_is_clamped_and_the_result_says_so() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for (n, given, counted) in [(1, 7.0, 1.0), (2, -0.5, 0.0), (3, 1e300, 1.0)] {
        let update = |agent: &str, complexity: f64| json!({ "agent_id": agent, "complexity": complexity });
        let out = client.ok("process_agent_update", update(&format!("out {n}"), given)).await?;
        let within = client.ok("process_agent_update", update(&format!("in {n}"), counted)).await?;
        assert_eq!(out["metrics"], within["metrics"]);
        let note = out["note"].as_str().ok_or("no note")?;
        assert!(note.ends_with(&format!("is not within 0 and 1, and counted as {counted}")), "{note}");
        assert_eq!(within.get("note"), None);
    }
    client.close().await
}

#[tokio::test]
async fn metadata_that_stays_the_same_is_not_said_to_have_changed() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    let edits = [
        (json!({}), false),
        (json!({ "tags": [], "notes": "" }), false),
        (json!({ "notes": "", "append_notes": true }), false),
        (json!({ "tags": ["t"] }), true),
        (json!({ "tags": ["t"] }), false),
        (json!({ "notes": "n" }), true),
        (json!({ "notes": "n" }), false),
        (json!({ "notes": "n", "append_notes": true }), true),
        (json!({ "notes": null, "tags": null }), false),
        (json!({ "notes": "" }), true),
    ];
    for (mut edit, changes) in edits {
        edit["agent_id"] = json!("a");
        let message = client.ok("update_agent_metadata", edit.clone()).await?["message"].clone();
        let expected = if changes {
            "changed the metadata of agent \"a\""
        } else {
            "nothing changed: agent \"a\" has these tags and notes already"
        };
        assert_eq!(message, expected, "{edit}");
    }
    client.close().await
}

#[tokio::test]
async fn a_page_has_a_size_that_makes_sense() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for (tool, argument, value, reason) in [
        ("list_agents", "limit", json!(0), "is 0; from 1 to 1000 are allowed"),
        ("list_agents", "limit", json!(1_001), "is 1001; from 1 to 1000 are allowed"),
        ("list_agents", "limit", json!("many"), "invalid type: string \"many\", expected a whole number"),
        ("list_agents", "detail", json!("more"), "unknown variant `more`, expected `summary` or `full`"),
        ("list_agents", "health_status", json!("ill"), "unknown variant `ill`, expected one of `healthy`, "),
        ("get_system_history", "last", json!(0), "is 0; from 1 to 1000 are allowed"),
    ] {
        let mut arguments = json!({ argument: value });
        if tool != "list_agents" {
            arguments["agent_id"] = json!("a");
        }
        let error = client.refused(tool, arguments).await?;
        assert!(error.starts_with(&format!("{argument}: {reason}")), "{error}");
    }
    client.close().await
}

#[tokio::test]
async fn a_file_name_that_has_its_ending_gets_no_second_one() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    for (filename, format, expected) in [
        ("report.json", "json", "report.json"),
        ("report", "json", "report.json"),
        ("report.csv", "csv", "report.csv"),
        ("report.csv", "json", "report.csv.json"),
    ] {
        let call = json!({ "agent_id": "a", "filename": filename, "format": format });
        let export = client.ok("export_to_file", call).await?;
        assert_eq!(export["filename"], Value::from(expected));
        assert!(fs::exists(home.path().join("exports").join(expected))?);
    }
    client.close().await
}
