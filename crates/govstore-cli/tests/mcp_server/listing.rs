//! What a client learns before it calls anything.

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::Home;

pub const NAMES: [&str; 13] = [
    "archive_agent",
    "delete_agent",
    "export_to_file",
    "get_agent_metadata",
    "get_governance_metrics",
    "get_server_info",
    "get_system_history",
    "list_agents",
    "pause_agent",
    "process_agent_update",
    "reset_monitor",
    "resume_agent",
    "update_agent_metadata",
];

#[tokio::test]
async fn initialize_says_who_the_server_is_and_how_to_use_it() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let server = client.connection.peer_info().ok_or("no answer to initialize")?;
    let implementation = server.server_info.clone().ok_or("no server info")?;
    assert_eq!(implementation.name, "govstore");
    assert_eq!(implementation.version, env!("CARGO_PKG_VERSION"));
    assert!(server.capabilities.tools.is_some() && server.capabilities.resources.is_some());
    let instructions = server.instructions.as_deref().unwrap_or_default();
    assert!(instructions.contains("process_agent_update"), "{instructions}");
    assert!(instructions.chars().count() < 1_000, "every conversation pays for them");
    client.close().await
}

#[tokio::test]
async fn every_tool_tells_a_model_what_it_takes_and_what_it_gives() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let mut tools = client.connection.list_all_tools().await?;
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(tools.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), NAMES);
    for tool in tools {
        let name = tool.name.as_ref();
        assert!(tool.title.is_some() && tool.description.is_some_and(|text| text.len() > 20), "{name}");
        assert_eq!(tool.input_schema["type"], "object", "{name}");
        let properties = tool.input_schema.get("properties").cloned().unwrap_or_else(|| json!({}));
        for (argument, schema) in properties.as_object().ok_or("properties are no object")? {
            assert!(schema["type"].is_string(), "{name}.{argument} has one type: {schema}");
            assert!(schema["description"].is_string(), "{name}.{argument}");
        }
        assert_eq!(tool.input_schema["additionalProperties"], false, "{name}: what is unknown is refused");
        let output = tool.output_schema.ok_or("no output schema")?;
        assert_eq!(output["type"], "object", "{name}");
        let fields = output["properties"].as_object().ok_or("no properties")?;
        assert!(fields.len() <= 2, "{name}: clients check each of them in each answer");
        for (field, schema) in fields {
            assert!(
                schema["type"].is_string() && schema.as_object().map(serde_json::Map::len) == Some(1),
                "{name}.{field}"
            );
        }
        assert_eq!(output["required"], json!(["success"]), "{name}: refusals are results too");
        let hints = tool.annotations.ok_or("no annotations")?;
        assert_eq!(hints.open_world_hint, Some(false), "{name}");
        assert!(hints.read_only_hint.is_some() && hints.idempotent_hint.is_some(), "{name}");
        let reads = name.starts_with("get_") || name == "list_agents";
        assert_eq!(hints.read_only_hint, Some(reads), "{name}");
        let destroys =
            ["delete_agent", "reset_monitor", "export_to_file", "update_agent_metadata"].contains(&name);
        assert_eq!(hints.destructive_hint, Some(destroys), "{name}");
    }
    client.close().await
}

#[tokio::test]
async fn the_schema_of_an_update_has_its_ranges() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let tools = client.connection.list_all_tools().await?;
    let update = tools.iter().find(|tool| tool.name == "process_agent_update").ok_or("no such tool")?;
    let properties = &update.input_schema["properties"];
    let range = |argument: &str, keyword: &str| properties[argument][keyword].clone();
    assert_eq!(update.input_schema["required"], json!(["agent_id"]));
    assert_eq!((range("agent_id", "minLength"), range("agent_id", "maxLength")), (json!(1), json!(128)));
    assert_eq!((range("complexity", "minimum"), range("complexity", "maximum")), (Value::Null, Value::Null));
    assert_eq!(range("complexity", "default"), json!(0.5));
    assert_eq!(range("parameters", "maxItems"), json!(10_000));
    assert_eq!(range("ethical_drift", "maxItems"), json!(1_000));
    assert_eq!(range("response_text", "maxLength"), json!(1_048_576));
    let export = tools.iter().find(|tool| tool.name == "export_to_file").ok_or("no such tool")?;
    assert_eq!(export.input_schema["properties"]["format"]["enum"], json!(["json", "csv"]));
    assert_eq!(export.input_schema["properties"]["format"]["default"], Value::from("json"));
    client.close().await
}
