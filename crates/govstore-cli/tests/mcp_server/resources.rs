//! The resources.

use rmcp::model::{ErrorCode, ReadResourceRequestParams, ResourceContents};
use rmcp::service::ServiceError;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, Home, rounded};

async fn read(client: &Client, uri: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let result = client.connection.read_resource(ReadResourceRequestParams::new(uri)).await?;
    let Some(ResourceContents::TextResourceContents { text, mime_type, .. }) = result.contents.first() else {
        return Err(format!("{result:?}").into());
    };
    assert_eq!(mime_type.as_deref(), Some("application/json"));
    Ok(serde_json::from_str(text)?)
}

#[tokio::test]
async fn agents_and_the_fleet_can_be_read_as_resources() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a/b é", "complexity": 0.1 })).await?;
    let listed = client.connection.list_all_resources().await?;
    let uris: Vec<_> = listed.iter().map(|resource| resource.uri.as_str()).collect();
    assert_eq!(uris, ["govstore://agents", "govstore://fleet"]);
    let templates = client.connection.list_all_resource_templates().await?;
    assert_eq!(templates[0].uri_template, "govstore://agents/{id}");

    let agents = read(&client, "govstore://agents").await?;
    assert_eq!(agents["agents"][0]["agent_id"], "a/b é");
    assert_eq!(agents["agents"][0]["health_status"], "healthy");
    let agent = read(&client, "govstore://agents/a%2Fb%20%C3%A9").await?;
    assert_eq!(agent["agent_id"], "a/b é");
    assert_eq!(agent["health_status"], "healthy");
    assert_eq!(agent["current_state"]["E"], rounded(json!(home.store()?.agent("a/b é")?.energy)));
    assert_eq!(read(&client, "govstore://fleet").await?, json!(home.store()?.health()?));
    client.close().await
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_an_error_that_names_it() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for uri in ["govstore://agents/nobody", "govstore://", "file:///etc/passwd", ""] {
        let request = client.connection.read_resource(ReadResourceRequestParams::new(uri)).await;
        let Err(ServiceError::McpError(error)) = request else { panic!("{uri}: {request:?}") };
        assert_eq!(error.code, ErrorCode::RESOURCE_NOT_FOUND, "{uri}");
        assert!(error.message.starts_with("there is no "), "{}", error.message);
    }
    let bad = client.connection.read_resource(ReadResourceRequestParams::new("govstore://agents/%20")).await;
    assert!(bad.is_err(), "{bad:?}");
    assert_eq!(read(&client, "govstore://agents").await?["agents"], json!([]));
    client.close().await
}
