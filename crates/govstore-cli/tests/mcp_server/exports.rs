//! History, told and written to files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Home, rounded};

#[tokio::test]
async fn a_history_has_the_shape_of_v1_with_every_figure_filled_in() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    for n in 0..11 {
        let update = json!({ "agent_id": "a", "parameters": [n], "complexity": 0.3 });
        client.ok("process_agent_update", update).await?;
    }
    let result = client.ok("get_system_history", json!({ "agent_id": "a" })).await?;
    assert_eq!(result["format"], "json");
    assert_eq!((&result["first_update"], &result["last_update"]), (&json!(1), &json!(11)));
    assert_eq!((&result["total_updates"], result.get("next_page")), (&json!(11), None));
    let history: Value = serde_json::from_str(result["history"].as_str().ok_or("no text")?)?;
    let rows = home.store()?.history("a", None)?;
    assert_eq!(history["agent_id"], "a");
    assert_eq!(history["E_history"], rounded(json!(rows.iter().map(|row| row.energy).collect::<Vec<_>>())));
    assert_eq!(
        history["I_history"],
        rounded(json!(rows.iter().map(|row| row.integrity).collect::<Vec<_>>()))
    );
    assert_eq!(history["S_history"], rounded(json!(rows.iter().map(|row| row.entropy).collect::<Vec<_>>())));
    assert_eq!(
        history["V_history"],
        rounded(json!(rows.iter().map(|row| row.void_integral).collect::<Vec<_>>()))
    );
    assert_eq!(
        history["coherence_history"],
        rounded(json!(rows.iter().map(|row| row.coherence).collect::<Vec<_>>()))
    );
    assert_eq!(
        history["risk_history"],
        rounded(json!(rows.iter().map(|row| row.risk_score).collect::<Vec<_>>()))
    );
    assert_eq!(history["decision_history"].as_array().map(Vec::len), Some(11));
    let agent = home.store()?.agent("a")?;
    assert_eq!(history["lambda1_final"], rounded(json!(agent.lambda1)));
    assert_eq!(history["total_updates"], 11);
    assert_eq!(history["total_time"], rounded(json!(agent.elapsed)));

    let result = client.ok("get_system_history", json!({ "agent_id": "a", "format": "csv" })).await?;
    let csv = result["history"].as_str().ok_or("no text")?;
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "update,E,I,S,V,coherence,risk,decision,lambda1");
    assert!(lines[1].starts_with(&format!("1,{},", rounded(json!(rows[0].energy)))), "{}", lines[1]);
    assert!(lines[1..=11].iter().all(|line| line.split(',').all(|cell| !cell.is_empty())));
    assert_eq!(lines[12..15], ["", "Summary,,,,,,,,", "agent_id,a,,,,,,,"]);
    assert_eq!(lines[15], "total_updates,11,,,,,,,");
    client.close().await
}

#[tokio::test]
async fn a_history_is_refused_for_nobody_and_in_an_unknown_format() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    for tool in ["get_system_history", "export_to_file"] {
        let error = client.refused(tool, json!({ "agent_id": "nobody" })).await?;
        assert!(error.starts_with("there is no agent"), "{error}");
        let error = client.refused(tool, json!({ "agent_id": "a", "format": "xml" })).await?;
        assert!(error.starts_with("format: unknown variant `xml`, expected `json` or `csv`"), "{error}");
    }
    assert!(!home.path().join("exports").exists());
    client.close().await
}

#[tokio::test]
async fn an_export_has_every_update_to_the_last_bit() -> TestResult {
    let home = Home::new()?;
    let store = govstore::Store::options().durability(govstore::Durability::Normal).open(home.database())?;
    for _ in 0..1_003 {
        store.process_update("a", &govstore::Update::default())?;
    }
    let client = home.connect().await?;
    let export = client.ok("export_to_file", json!({ "agent_id": "a" })).await?;
    let file = fs::read_to_string(export["file_path"].as_str().ok_or("no path")?)?;
    let history: Value = serde_json::from_str(&file)?;
    let rows = store.history("a", None)?;
    assert_eq!(history["V_history"], json!(rows.iter().map(|row| row.void_integral).collect::<Vec<_>>()));
    assert_eq!(rows.len(), 1_003);
    client.close().await
}

#[tokio::test]
async fn an_export_lies_beside_the_database_for_its_owner_alone() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a/b" })).await?;
    let folder = home.path().join("exports");
    let dated = client.ok("export_to_file", json!({ "agent_id": "a/b" })).await?;
    let name = dated["filename"].as_str().ok_or("no name")?;
    assert!(name.starts_with("a_b_history_20"), "{name}");
    assert_eq!(Path::new(name).extension(), Some("json".as_ref()));
    assert_eq!(dated["file_path"].as_str(), folder.join(name).to_str());
    assert_eq!((&dated["format"], &dated["agent_id"]), (&json!("json"), &json!("a/b")));
    assert_eq!(dated["file_size_bytes"], json!(fs::metadata(folder.join(name))?.len()));

    let named = json!({ "agent_id": "a/b", "format": "csv", "filename": "report v1.0.3" });
    for _ in 0..2 {
        let export = client.ok("export_to_file", named.clone()).await?;
        assert_eq!(export["filename"], "report v1.0.3.csv");
    }
    let text = fs::read_to_string(folder.join("report v1.0.3.csv"))?;
    assert!(text.starts_with("update,E,I,S,V,") && text.contains("\r\nagent_id,a/b,"), "{text}");
    assert_eq!(fs::read_dir(&folder)?.count(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(&folder)? {
            assert_eq!(file?.metadata()?.permissions().mode() & 0o777, 0o600);
        }
    }
    client.close().await
}

#[tokio::test]
async fn a_file_name_can_not_leave_the_export_folder() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    let before = fs::read_dir(home.path())?.count();
    let long = "x".repeat(201);
    for name in ["../up", "/tmp/up", "a/b", "..\\up", "C:up", ".hidden", "..", "a\nb", "a\u{0}", &long] {
        let error = client.refused("export_to_file", json!({ "agent_id": "a", "filename": name })).await?;
        assert!(error.starts_with("filename: "), "{name:?}: {error}");
    }
    assert_eq!(fs::read_dir(home.path())?.count(), before);
    client.close().await
}

#[tokio::test]
async fn an_export_that_can_not_be_written_is_an_error_and_the_server_goes_on() -> TestResult {
    let home = Home::new()?;
    fs::write(home.path().join("exports"), "a file is in the way")?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    let error = client.refused("export_to_file", json!({ "agent_id": "a" })).await?;
    assert!(error.starts_with("cannot write ") && error.contains("exports"), "{error}");
    let error = client.refused("delete_agent", json!({ "agent_id": "a", "confirm": true })).await?;
    assert!(error.starts_with("cannot write "), "no backup, no deletion: {error}");
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    client.close().await
}
