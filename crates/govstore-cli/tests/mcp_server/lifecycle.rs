//! Pause, resume, archive, delete, reset: good calls, refusals, and what is stored then.

use govstore::{EventKind, Lifecycle};
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::Home;

#[tokio::test]
async fn an_agent_is_paused_and_resumed() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    let paused = client.ok("pause_agent", json!({ "agent_id": "a", "reason": "lunch" })).await?;
    let stored = home.store()?.agent("a")?;
    assert_eq!(stored.lifecycle_status, Lifecycle::Paused);
    assert_eq!(paused["paused_at"], json!(stored.paused_at));
    assert_eq!(paused["agent_id"], "a");
    let again = client.ok("pause_agent", json!({ "agent_id": "a", "reason": "again" })).await?;
    assert_eq!(again["message"], "nothing changed: agent \"a\" is paused already");
    assert_eq!(again["paused_at"], paused["paused_at"]);

    client.ok("resume_agent", json!({ "agent_id": "a" })).await?;
    let stored = home.store()?.agent("a")?;
    assert_eq!((stored.lifecycle_status, stored.paused_at), (Lifecycle::Active, None));
    let again = client.refused("resume_agent", json!({ "agent_id": "a" })).await?;
    assert!(again.contains("is active: it cannot be resumed"), "{again}");

    let long = json!({ "agent_id": "a", "reason": "x".repeat(4_001) });
    let error = client.refused("pause_agent", long).await?;
    assert!(error.starts_with("reason: has 4001 characters"), "{error}");
    for tool in ["pause_agent", "resume_agent"] {
        let error = client.refused(tool, json!({ "agent_id": "nobody" })).await?;
        assert!(error.starts_with("there is no agent"), "{error}");
    }
    let events = home.store()?.events("a")?;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.event != EventKind::HealthChanged)
        .map(|event| (event.event, event.reason.as_deref()))
        .collect();
    let expected =
        [(EventKind::Created, None), (EventKind::Paused, Some("lunch")), (EventKind::Resumed, None)];
    assert_eq!(told, expected);
    client.close().await
}

#[tokio::test]
async fn an_archived_agent_can_be_brought_back() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    let call = json!({ "agent_id": "a", "reason": "done", "keep_in_memory": true });
    let archived = client.ok("archive_agent", call).await?;
    let stored = home.store()?.agent("a")?;
    assert_eq!(stored.lifecycle_status, Lifecycle::Archived);
    assert_eq!(archived["archived_at"], json!(stored.archived_at));
    assert_eq!(archived["kept_in_memory"], false);
    let again = client.ok("archive_agent", json!({ "agent_id": "a" })).await?;
    assert_eq!(again["message"], "nothing changed: agent \"a\" is archived already");
    assert_eq!(again["archived_at"], archived["archived_at"]);
    let paused = client.refused("pause_agent", json!({ "agent_id": "a" })).await?;
    assert!(paused.contains("is archived: it cannot be paused"), "{paused}");
    client.ok("resume_agent", json!({ "agent_id": "a" })).await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;

    let error = client.refused("archive_agent", json!({ "agent_id": "a", "keep_in_memory": 1 })).await?;
    assert!(error.starts_with("keep_in_memory: "), "{error}");
    let error = client.refused("archive_agent", json!({ "agent_id": "nobody" })).await?;
    assert!(error.starts_with("there is no agent"), "{error}");
    client.close().await
}

#[tokio::test]
async fn a_deleted_agent_is_exported_first_and_its_rows_stay() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for agent in ["a", "b", "default_agent"] {
        client.ok("process_agent_update", json!({ "agent_id": agent })).await?;
    }
    for unsure in [json!({ "agent_id": "a" }), json!({ "agent_id": "a", "confirm": false })] {
        let refusal = client.refusal("delete_agent", unsure).await?;
        assert_eq!(refusal["error"], "set confirm to true to delete agent \"a\"");
        let warning = refusal["warning"].as_str().ok_or("no warning")?;
        assert!(warning.starts_with("this takes agent \"a\" out of use for good"), "{warning}");
    }
    assert_eq!(home.store()?.agent("a")?.lifecycle_status, Lifecycle::Active);
    let pioneer =
        client.refused("delete_agent", json!({ "agent_id": "default_agent", "confirm": true })).await?;
    assert!(pioneer.contains("tagged pioneer"), "{pioneer}");
    let nobody = client.refused("delete_agent", json!({ "agent_id": "nobody", "confirm": true })).await?;
    assert!(nobody.starts_with("there is no agent"), "{nobody}");
    assert!(!home.path().join("exports").exists(), "what is refused leaves no export");

    let deleted = client.ok("delete_agent", json!({ "agent_id": "a", "confirm": true })).await?;
    let export = std::fs::read_to_string(deleted["archived_to"].as_str().ok_or("no export")?)?;
    assert_eq!(serde_json::from_str::<Value>(&export)?["total_updates"], 1);
    let stored = home.store()?.agent("a")?;
    assert_eq!((stored.lifecycle_status, stored.total_updates), (Lifecycle::Deleted, 1));
    assert_eq!(home.store()?.history("a", None)?.len(), 1);

    let again = client.ok("delete_agent", json!({ "agent_id": "a", "confirm": true })).await?;
    assert_eq!(again["message"], "nothing changed: agent \"a\" is deleted already");
    assert_eq!(again["archived_to"], Value::Null);
    let resumed = client.refused("resume_agent", json!({ "agent_id": "a" })).await?;
    assert!(resumed.contains("is deleted: it cannot be resumed"), "{resumed}");
    let bare = json!({ "agent_id": "b", "confirm": true, "backup_first": false });
    assert_eq!(client.ok("delete_agent", bare).await?["archived_to"], Value::Null);
    assert_eq!(std::fs::read_dir(home.path().join("exports"))?.count(), 1);
    client.close().await
}

#[tokio::test]
async fn a_reset_puts_the_state_back_and_keeps_the_history() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for _ in 0..3 {
        client.ok("process_agent_update", json!({ "agent_id": "a", "parameters": [1, 2] })).await?;
    }
    client.ok("reset_monitor", json!({ "agent_id": "a" })).await?;
    let stored = home.store()?.agent("a")?;
    assert_eq!((stored.update_count, stored.total_updates, stored.risk_score), (0, 3, None));
    assert_eq!(home.store()?.history("a", None)?.len(), 3);
    let metrics = client.ok("get_governance_metrics", json!({ "agent_id": "a" })).await?;
    assert_eq!(metrics["state"]["E"], 0.5);
    assert_eq!(metrics["health_message"], "Health status unknown - metrics unavailable");
    let next = client.ok("process_agent_update", json!({ "agent_id": "a", "parameters": [9, 9] })).await?;
    assert_eq!(next["metrics"]["updates"], 1);
    assert_eq!(next["metrics"]["total_updates"], 4);
    assert_eq!(next["metrics"]["coherence"], 1.0, "there are no parameters before these");

    client.ok("reset_monitor", json!({ "agent_id": "a" })).await?;
    let events = home.store()?.events("a")?.len();
    let again = client.ok("reset_monitor", json!({ "agent_id": "a" })).await?;
    assert_eq!(again["message"], "nothing changed: agent \"a\" has the state of a new agent already");
    assert_eq!(home.store()?.events("a")?.len(), events);
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    let nobody = client.ok("reset_monitor", json!({ "agent_id": "nobody" })).await?;
    assert_eq!(nobody["message"], "nothing changed: there is no agent \"nobody\"");
    assert!(home.store()?.agent("nobody").is_err());
    client.ok("delete_agent", json!({ "agent_id": "a", "confirm": true })).await?;
    let error = client.refused("reset_monitor", json!({ "agent_id": "a" })).await?;
    assert!(error.contains("is deleted: it cannot be reset"), "{error}");
    client.close().await
}
