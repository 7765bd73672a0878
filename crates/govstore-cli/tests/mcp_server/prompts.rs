//! The prompts, and the completion of ids.

use std::error::Error;

use rmcp::model::{ArgumentInfo, CompleteRequestParams, GetPromptRequestParams, Reference};
use rmcp::service::ServiceError;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, Home};

async fn prompt(client: &Client, name: &str, arguments: Value) -> Result<String, Box<dyn Error>> {
    let Value::Object(arguments) = arguments else { panic!("{arguments} is no object") };
    let request = GetPromptRequestParams::new(name).with_arguments(arguments);
    let prompt = client.connection.get_prompt(request).await?;
    let text = prompt.messages.first().and_then(|message| message.content.as_text()).ok_or("no text")?;
    Ok(text.text.clone())
}

async fn complete(client: &Client, to: Reference, name: &str, value: &str) -> Result<Value, ServiceError> {
    let argument: ArgumentInfo =
        serde_json::from_value(json!({ "name": name, "value": value })).expect("an argument");
    let completed = client.connection.complete(CompleteRequestParams::new(to, argument)).await?;
    Ok(serde_json::to_value(completed.completion).expect("plain data"))
}

#[tokio::test]
async fn a_reviewer_is_told_the_figures_and_what_to_check() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "writer", "complexity": 0.9 })).await?;
    let listed = client.connection.list_all_prompts().await?;
    let names: Vec<_> = listed.iter().map(|prompt| prompt.name.as_str()).collect();
    assert_eq!(names, ["review_agent", "review_fleet"]);

    let text = prompt(&client, "review_agent", json!({ "id": "writer" })).await?;
    for part in ["\"writer\"", "active, last updated", "complexity 27.0 %", "get_system_history"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = prompt(&client, "review_fleet", json!({})).await?;
    assert!(text.contains("\"writer\", active") && text.contains("get_server_info"), "{text}");

    for (name, arguments, reason) in [
        ("review_agent", json!({ "id": "nobody" }), "nobody"),
        ("review_agent", json!({}), "takes the argument id"),
        ("review_all", json!({}), "there are review_agent and review_fleet"),
    ] {
        let refused = prompt(&client, name, arguments).await.expect_err(name).to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    client.close().await
}

#[tokio::test]
async fn an_id_is_completed_by_its_beginning() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let store = home.store()?;
    for n in 0..101 {
        store.process_update(&format!("worker-{n:03}"), &govstore::Update::new())?;
    }
    for id in ["Worker", "w%", "w_rker", "tester"] {
        store.process_update(id, &govstore::Update::new())?;
    }
    let agents = || Reference::for_resource("govstore://agents/{id}");
    let all = complete(&client, agents(), "id", "worker").await?;
    assert_eq!((&all["total"], &all["hasMore"]), (&json!(101), &json!(true)));
    assert_eq!(all["values"].as_array().map(Vec::len), Some(100));
    let some = complete(&client, agents(), "id", "worker-09").await?;
    assert_eq!(
        (&some["total"], &some["hasMore"], &some["values"][9]),
        (&json!(10), &json!(false), &json!("worker-099"))
    );
    for (beginning, id) in [("W", "Worker"), ("w%", "w%"), ("w_", "w_rker"), ("t", "tester")] {
        let found = complete(&client, Reference::for_prompt("review_agent"), "id", beginning).await?;
        assert_eq!(found["values"], json!([id]), "upper and lower case differ, and nothing is a wildcard");
    }
    assert_eq!(complete(&client, agents(), "id", "").await?["total"], 105);
    assert_eq!(complete(&client, agents(), "id", "x").await?["values"], json!([]));
    for (to, name) in [
        (agents(), "name"),
        (Reference::for_resource("govstore://fleet"), "id"),
        (Reference::for_prompt("review_fleet"), "id"),
    ] {
        let refused = complete(&client, to, name, "").await.expect_err(name).to_string();
        assert!(refused.contains("has no argument"), "{refused}");
    }
    client.close().await
}
