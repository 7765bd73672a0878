//! Updates, metrics, metadata: each tool with a good call, each refusal, and what is stored then.

use govstore::{Action, AgentFilter, EventKind, Lifecycle};
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Home, rounded};

#[tokio::test]
async fn an_update_is_judged_and_stored() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let result = client
        .ok(
            "process_agent_update",
            json!({
                "agent_id": "writer",
                "parameters": [0.5, 0.4],
                "ethical_drift": [0.1, 0.0, 0.0],
                "response_text": "All tests pass.",
                "complexity": 0.2,
            }),
        )
        .await?;
    assert_eq!(result["decision"]["action"], "approve");
    assert_eq!(result["decision"]["require_human"], false);
    assert_eq!(result["metrics"]["updates"], 1);
    assert_eq!(result["metrics"]["health_status"], "healthy");
    assert_eq!(result["sampling_params"]["max_tokens"], 160);
    assert!(result.get("warning").is_none());

    let store = home.store()?;
    let agent = store.agent("writer")?;
    assert_eq!((agent.update_count, agent.total_updates), (1, 1));
    assert_eq!(json!(agent.last_update_at), result["timestamp"]);
    let history = store.history("writer", None)?;
    assert_eq!(history.len(), 1);
    assert_eq!(rounded(json!(history[0].risk_score)), result["metrics"]["risk_score"]);
    assert_eq!(rounded(json!(history[0].energy)), result["metrics"]["E"]);
    assert_eq!(history[0].decision, Action::Approve);
    client.close().await
}

#[tokio::test]
async fn null_stands_for_nan_and_for_what_is_left_out() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let bare = client.ok("process_agent_update", json!({ "agent_id": "bare" })).await?;
    let nulls = client
        .ok(
            "process_agent_update",
            json!({
                "agent_id": "nulls",
                "parameters": [null, 0, null],
                "ethical_drift": null,
                "response_text": null,
                "complexity": null,
            }),
        )
        .await?;
    assert_eq!(bare["metrics"], nulls["metrics"]);
    client.close().await
}

#[tokio::test]
async fn the_default_agent_gets_a_warning_with_every_update() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let result = client.ok("process_agent_update", json!({ "agent_id": "default_agent" })).await?;
    assert!(result["warning"].as_str().is_some_and(|warning| warning.contains("id of its own")));
    assert_eq!(home.store()?.agent("default_agent")?.tags, ["pioneer"]);
    client.close().await
}

#[tokio::test]
async fn an_argument_that_is_missing_misspelt_or_of_the_wrong_type_is_named() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let cases = [
        (json!({}), "missing field `agent_id`"),
        (json!({ "agent_id": null }), "agent_id: "),
        (json!({ "agent_id": 7 }), "agent_id: "),
        (
            json!({ "agent_id": "a", "complexty": 0.1 }),
            "complexty: unknown argument; did you mean complexity?",
        ),
        (json!({ "agent_id": "a", "complexity": "high" }), "complexity: "),
        (json!({ "agent_id": "a", "parameters": 1 }), "parameters: "),
        (json!({ "agent_id": "a", "parameters": [0.1, "b"] }), "parameters[1]: "),
        (json!({ "agent_id": "a", "ethical_drift": { "x": 1 } }), "ethical_drift: "),
        (json!({ "agent_id": "a", "response_text": ["b"] }), "response_text: "),
    ];
    for (arguments, expected) in cases {
        let error = client.refused("process_agent_update", arguments.clone()).await?;
        assert!(error.starts_with(expected), "{arguments}: {error}");
    }
    assert!(home.store()?.agents(&AgentFilter::default())?.is_empty());
    client.close().await
}

#[tokio::test]
async fn arguments_over_sensible_sizes_are_refused_before_they_reach_the_store() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let refused = [
        ("response_text", json!("x".repeat(10_000_000)), "has 10000000 characters; at most 1048576"),
        ("parameters", json!(vec![0.5; 1_000_000]), "has 1000000 numbers; at most 10000"),
        ("ethical_drift", json!(vec![0.5; 1_001]), "has 1001 numbers; at most 1000"),
    ];
    for (argument, value, expected) in refused {
        let error =
            client.refused("process_agent_update", json!({ "agent_id": "a", argument: value })).await?;
        assert!(error.starts_with(&format!("{argument}: {expected}")), "{error}");
    }
    let name = "n".repeat(1_000_000);
    let error = client.refused("process_agent_update", json!({ "agent_id": name })).await?;
    assert!(error.contains("is longer than 128 characters") && error.len() < 200, "{error}");
    assert!(home.store()?.agents(&AgentFilter::default())?.is_empty());

    let largest = json!({
        "agent_id": "a",
        "parameters": vec![0.5; 10_000],
        "ethical_drift": vec![0.5; 1_000],
        "response_text": "\u{1F680}".repeat(1 << 20), // four bytes each
    });
    client.ok("process_agent_update", largest).await?;
    client.close().await
}

#[tokio::test]
async fn a_name_that_no_agent_can_have_is_refused() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for name in [" a", "a\n", "a\u{0}b", "a\u{9b}31m"] {
        let error = client.refused("process_agent_update", json!({ "agent_id": name })).await?;
        assert!(error.starts_with("agent id "), "{error}");
    }
    for name in ["../../etc/passwd", "'; DROP TABLE agents; --", "👩‍🚀", "a b"] {
        let result = client.ok("process_agent_update", json!({ "agent_id": name })).await?;
        assert_eq!(result["agent_id"], name);
    }
    assert_eq!(home.store()?.agents(&AgentFilter::default())?.len(), 4);
    client.close().await
}

#[tokio::test]
async fn metrics_tell_the_state_and_what_the_updates_come_to() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let mut last = Value::Null;
    for n in 0..12 {
        let complexity = if n % 2 == 0 { 0.1 } else { 0.9 };
        last = client
            .ok("process_agent_update", json!({ "agent_id": "writer", "complexity": complexity }))
            .await?;
    }
    let metrics = client.ok("get_governance_metrics", json!({ "agent_id": "writer" })).await?;
    for figure in ["E", "I", "S", "V", "coherence", "lambda1", "void_active", "time"] {
        assert_eq!(metrics["state"][figure], last["metrics"][figure], "{figure}");
    }
    assert_eq!(metrics["state"]["update_count"], 12);
    assert_eq!(metrics["status"], "healthy");
    assert_eq!(metrics["health_status"], last["metrics"]["health_status"]);
    assert_eq!(metrics["health_message"], last["metrics"]["health_message"]);
    assert_eq!(metrics["sampling_params"], last["sampling_params"]);
    assert_eq!(metrics["history_size"], 12);
    let decisions = &metrics["decision_statistics"];
    assert_eq!(decisions["total"], 12);
    assert_eq!(
        decisions["approve"].as_u64().unwrap_or(0) + decisions["revise"].as_u64().unwrap_or(0),
        12,
        "{decisions}"
    );
    let window = home.store()?.window_statistics("writer")?;
    assert_eq!(metrics["mean_risk"], rounded(json!(window.mean_risk)));
    assert_eq!(metrics["void_frequency"], rounded(json!(window.void_frequency)));

    let error = client.refused("get_governance_metrics", json!({ "agent_id": "nobody" })).await?;
    assert!(error.contains("there is no agent \"nobody\"; list_agents"), "{error}");
    client.close().await
}

#[tokio::test]
async fn a_list_has_every_agent_with_its_health_and_a_summary() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let nobody = client.ok("list_agents", json!({})).await?;
    assert_eq!(nobody["agents"], json!([]));
    assert_eq!(nobody["summary"]["total_agents"], 0);

    for (name, complexity) in [("calm", 0.1), ("busy", 0.5), ("away", 1.0), ("gone", 1.0)] {
        client.ok("process_agent_update", json!({ "agent_id": name, "complexity": complexity })).await?;
    }
    client.ok("archive_agent", json!({ "agent_id": "away" })).await?;
    client.ok("delete_agent", json!({ "agent_id": "gone", "confirm": true })).await?;
    client.ok("pause_agent", json!({ "agent_id": "busy" })).await?;
    let list = client.ok("list_agents", json!({ "detail": "full" })).await?;
    let agents = list["agents"].as_array().ok_or("no list")?;
    let names: Vec<_> = agents.iter().filter_map(|agent| agent["agent_id"].as_str()).collect();
    assert_eq!(names, ["away", "busy", "calm", "gone"]);
    assert_eq!(agents[1]["lifecycle_status"], "paused");
    assert_eq!(agents[2]["health_status"], "healthy");
    assert_eq!(agents[2]["update_count"], 1);
    let stored = home.store()?.agent("calm")?;
    assert_eq!(agents[2]["metrics"]["risk_score"], rounded(json!(stored.risk_score)));
    assert_eq!(agents[2]["created"], json!(stored.created_at));
    assert_eq!((&agents[2]["loaded_in_process"], agents[2].get("note")), (&json!(true), None));
    let summary = json!({
        "fleet_status": "degraded", "total_agents": 4, "active": 1, "paused": 1, "archived": 1, "deleted": 1,
        "healthy": 1, "degraded": 1, "critical": 0,
    });
    assert_eq!(list["summary"], summary);
    assert_eq!(json!(home.store()?.health()?), summary);

    let brief = client.ok("list_agents", json!({})).await?;
    let names_of = |list: &Value| {
        let agents = list["agents"].as_array().into_iter().flatten();
        agents.map(|agent| agent["agent_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names_of(&brief), names);
    assert_eq!(
        brief["agents"][2],
        json!({
            "agent_id": "calm", "lifecycle_status": "active", "health_status": "healthy",
            "last_update": stored.last_update_at, "total_updates": 1,
            "metrics": { "coherence": 1.0, "risk_score": rounded(json!(stored.risk_score)) },
        })
    );
    for (filter, expected) in [
        (json!({ "lifecycle_status": "paused" }), vec!["busy"]),
        (json!({ "health_status": "healthy", "lifecycle_status": "active" }), vec!["calm"]),
        (json!({ "query": "A" }), vec!["away", "calm"]),
        (json!({ "query": "nobody" }), vec![]),
    ] {
        let list = client.ok("list_agents", filter.clone()).await?;
        assert_eq!(names_of(&list), expected, "{filter}");
        assert_eq!((&list["matching"], list.get("next_page")), (&json!(expected.len()), None), "{filter}");
        assert_eq!(list["summary"], summary, "which is of all");
    }
    client.close().await
}

#[tokio::test]
async fn metrics_have_the_parts_of_the_newest_risk() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let (tool, a) = ("get_governance_metrics", json!({ "agent_id": "a" }));
    for (text, complexity) in [("harmless", 0.1), ("sudo rm -rf /", 0.7)] {
        let call = json!({ "agent_id": "a", "response_text": text, "complexity": complexity });
        let report = client.ok("process_agent_update", call).await?;
        let parts = &client.ok(tool, a.clone()).await?["risk_parts"];
        assert_eq!(parts, &report["metrics"]["risk_parts"]);
        let sum: f64 = ["length", "complexity", "coherence", "patterns"]
            .iter()
            .filter_map(|part| parts[part].as_f64())
            .sum();
        let risk = report["metrics"]["risk_score"].as_f64().ok_or("no risk")?;
        assert!((sum - risk).abs() < 4e-6, "{parts} add up to {sum}, not {risk}");
    }
    client.ok("reset_monitor", a.clone()).await?;
    let reset = client.ok(tool, a.clone()).await?;
    assert_eq!((&reset["risk_parts"], &reset["state"]["coherence"]), (&Value::Null, &Value::Null));
    let note = reset["note"].as_str().ok_or("no note")?;
    assert!(note.contains("its coherence, risk and health are not known"), "{note}");
    for figure in ["E", "I", "S", "V", "lambda1", "time", "update_count"] {
        assert!(reset["state"][figure].is_number(), "{figure}");
    }
    assert_eq!((&reset["mean_risk"], &reset["history_size"]), (&json!(0.0), &json!(0)));
    let row = &client.ok("list_agents", json!({ "detail": "full" })).await?["agents"][0];
    assert_eq!((&row["loaded_in_process"], row["note"].as_str()), (&json!(false), Some(note)));
    client.close().await
}

#[tokio::test]
async fn metadata_has_everything_that_is_known_of_an_agent() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let update = client.ok("process_agent_update", json!({ "agent_id": "writer" })).await?;
    client.ok("pause_agent", json!({ "agent_id": "writer", "reason": "lunch" })).await?;
    client.ok("resume_agent", json!({ "agent_id": "writer" })).await?;
    home.store()?.update_agent("writer", |agent| {
        agent.attributes.insert("model".into(), "large".into());
        Ok::<_, govstore::Error>(())
    })?;
    let metadata = client.ok("get_agent_metadata", json!({ "agent_id": "writer" })).await?;
    assert_eq!(metadata["status"], "active");
    assert_eq!(metadata["last_update"], update["timestamp"]);
    assert_eq!(metadata["days_since_update"], 0);
    assert_eq!(metadata["total_updates"], 1);
    assert_eq!(metadata["attributes"], json!({ "model": "large" }));
    assert_eq!(metadata["last_decision"], "approve");
    assert_eq!(metadata["current_state"]["E"], update["metrics"]["E"]);
    assert_eq!(metadata["paused_at"], Value::Null);
    let events: Vec<_> = metadata["lifecycle_events"]
        .as_array()
        .ok_or("no events")?
        .iter()
        .map(|event| (event["event"].as_str().unwrap_or(""), event["reason"].as_str()))
        .collect();
    assert_eq!(events, [("created", None), ("paused", Some("lunch")), ("resumed", None)]);
    for event in metadata["lifecycle_events"].as_array().ok_or("no events")? {
        assert_eq!(event["actor"], "client", "{event}");
        let name = event["actor_name"].as_str().ok_or("no name")?;
        let (client, version) = name.split_once(' ').ok_or("no version")?;
        assert!(client == "rmcp" && version.contains('.'), "the name and version of the handshake: {name}");
    }

    let error = client.refused("get_agent_metadata", json!({ "agent_id": "nobody" })).await?;
    assert!(error.starts_with("there is no agent"), "{error}");
    client.close().await
}

#[tokio::test]
async fn tags_are_replaced_and_notes_are_replaced_or_added_to() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let tool = "update_agent_metadata";
    client.ok("process_agent_update", json!({ "agent_id": "writer" })).await?;
    let edit = json!({ "agent_id": "writer", "tags": ["a", "b"], "notes": "first" });
    let result = client.ok(tool, edit).await?;
    assert_eq!((&result["tags"], &result["notes"]), (&json!(["a", "b"]), &json!("first")));
    let more = json!({ "agent_id": "writer", "notes": "second", "append_notes": true });
    let result = client.ok(tool, more).await?;
    let notes = result["notes"].as_str().ok_or("no notes")?;
    assert!(notes.starts_with("first\n[20") && notes.ends_with("] second"), "{notes}");
    assert_eq!(result["tags"], json!(["a", "b"]), "tags that are left out stay");
    let stored = home.store()?.agent("writer")?;
    assert_eq!((stored.tags, stored.notes.as_str()), (vec!["a".to_owned(), "b".to_owned()], notes));

    let long = "x".repeat(100_000 - 10);
    client.ok(tool, json!({ "agent_id": "writer", "notes": long })).await?;
    let refusals = [
        (json!({ "agent_id": "nobody", "notes": "" }), "there is no agent"),
        (json!({ "agent_id": "writer", "notes": "more", "append_notes": true }), "notes: has "),
        (json!({ "agent_id": "writer", "notes": "x".repeat(100_001) }), "notes: has 100001 characters"),
        (json!({ "agent_id": "writer", "tags": vec!["t"; 101] }), "tags: has 101 tags"),
        (json!({ "agent_id": "writer", "tags": ["a", "x".repeat(101)] }), "tags[1]: has 101 characters"),
        (json!({ "agent_id": "writer", "tags": "a" }), "tags: "),
        (json!({ "agent_id": "writer", "append_notes": "yes" }), "append_notes: "),
    ];
    for (arguments, expected) in refusals {
        let error = client.refused(tool, arguments).await?;
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
    let stored = home.store()?.agent("writer")?;
    assert_eq!((stored.tags.len(), stored.notes.len()), (2, 100_000 - 10));
    client.ok("delete_agent", json!({ "agent_id": "writer", "confirm": true })).await?;
    let error = client.refused(tool, json!({ "agent_id": "writer", "notes": "" })).await?;
    assert!(error.contains("is deleted"), "{error}");
    client.close().await
}

#[tokio::test]
async fn state_survives_a_restart_and_coherence_is_measured_against_the_stored_parameters() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let parameters: Vec<f64> = (0..128).map(|n| f64::from(n) / 128.0).collect();
    for _ in 0..3 {
        client.ok("process_agent_update", json!({ "agent_id": "a", "parameters": parameters })).await?;
    }
    client.close().await?;

    let client = home.connect().await?;
    let same =
        client.ok("process_agent_update", json!({ "agent_id": "a", "parameters": parameters })).await?;
    assert_eq!(same["metrics"]["updates"], 4);
    assert_eq!(same["metrics"]["coherence"], 1.0, "nothing moved");
    client.close().await?;

    let client = home.connect().await?;
    let moved: Vec<f64> = parameters.iter().map(|parameter| parameter + 0.05).collect();
    let moved = client.ok("process_agent_update", json!({ "agent_id": "a", "parameters": moved })).await?;
    assert_eq!(moved["metrics"]["updates"], 5);
    let coherence = moved["metrics"]["coherence"].as_f64().ok_or("no coherence")?;
    assert!((coherence - (-0.5_f64).exp()).abs() < 1e-6, "every parameter moved by 0.05: {coherence}");
    let history = home.store()?.history("a", None)?;
    assert_eq!(history.iter().map(|row| row.update_no).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    client.close().await
}

#[tokio::test]
async fn a_refused_update_says_what_to_do_and_stores_nothing() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let steps = [
        (
            "pause_agent",
            json!({ "agent_id": "a" }),
            "is paused: it cannot be updated; resume_agent makes it active again",
        ),
        (
            "archive_agent",
            json!({ "agent_id": "a" }),
            "is archived: it cannot be updated; resume_agent makes it active again",
        ),
        ("delete_agent", json!({ "agent_id": "a", "confirm": true }), "is deleted: it cannot be updated"),
    ];
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    for (tool, arguments, expected) in steps {
        client.ok(tool, arguments).await?;
        let error = client.refused("process_agent_update", json!({ "agent_id": "a" })).await?;
        assert!(error.contains(expected), "{error}");
    }
    let agent = home.store()?.agent("a")?;
    assert_eq!((agent.total_updates, agent.lifecycle_status), (1, Lifecycle::Deleted));
    let events: Vec<_> = home.store()?.events("a")?.iter().map(|event| event.event).collect();
    assert_eq!(events.last(), Some(&EventKind::Deleted));
    client.close().await
}
