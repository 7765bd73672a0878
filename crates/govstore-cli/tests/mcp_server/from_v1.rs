//! docs/from-v1.0.3.md is true: each call of its table is made, and answered as it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::Home;
use crate::listing::NAMES;

struct Row {
    tool: &'static str,
    arguments: Value,
    /// What v1.0.3 answered; where that is no JSON, it is told in words.
    then: Option<Value>,
    now: Value,
}

/// The cells of the table in code, row by row.
fn table(page: &str) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [tool, arguments, then, now] = cells[..] else {
            return Err(format!("not four cells: {line}").into());
        };
        let code = |cell: &str| {
            let code = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
            code.map(str::to_owned).ok_or(format!("no code: {cell}"))
        };
        let parsed = |cell: &str| -> Result<Value, Box<dyn std::error::Error>> {
            Ok(serde_json::from_str(&code(cell)?).map_err(|e| format!("{cell}: {e}"))?)
        };
        let name = code(tool)?;
        rows.push(Row {
            tool: NAMES.into_iter().find(|known| *known == name).ok_or(format!("no tool: {name}"))?,
            arguments: parsed(arguments)?,
            then: if then.starts_with('`') { Some(parsed(then)?) } else { None },
            now: parsed(now)?,
        });
    }
    Ok(rows)
}

/// Whether `answer` has all that `told` has: fields of objects, the first items of lists, texts with `…` for the rest.
/// A field that is told as null may be missing.
fn fits(told: &Value, answer: &Value) -> bool {
    match (told, answer) {
        (Value::Object(told), _) => told.iter().all(|(name, told)| fits(told, &answer[name])),
        (Value::Array(told), Value::Array(items)) => {
            told.len() <= items.len() && told.iter().zip(items).all(|(told, item)| fits(told, item))
        }
        (Value::String(told), Value::String(text)) => reads(told, text),
        _ => told == answer,
    }
}

/// Whether a text is as it is told, where `…` stands for any other.
fn reads(told: &str, text: &str) -> bool {
    let Some((begin, rest)) = told.split_once('…') else { return told == text };
    let Some(text) = text.strip_prefix(begin) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| reads(rest, &text[at..]))
}

#[tokio::test]
async fn what_differs_from_v1_0_3_is_what_the_table_says() -> TestResult {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-v1.0.3.md"))?;
    let rows = table(&page)?;
    assert!(rows.len() > 20, "{} rows", rows.len());

    // The agents that the page begins with.
    let home = Home::new()?;
    let client = home.connect().await?;
    for agent_id in ["archived", "deleted", "done", "paused", "reset", "stopped", "writer"] {
        client.ok("process_agent_update", json!({ "agent_id": agent_id })).await?;
    }
    let moved = json!({ "agent_id": "moved", "parameters": vec![0.5; 128] });
    client.ok("process_agent_update", moved).await?;
    for (tool, agent_id) in
        [("archive_agent", "archived"), ("pause_agent", "paused"), ("reset_monitor", "reset")]
    {
        client.ok(tool, json!({ "agent_id": agent_id })).await?;
    }
    let delete = json!({ "agent_id": "deleted", "confirm": true, "backup_first": false });
    client.ok("delete_agent", delete).await?;
    let mut pause = Command::new(env!("CARGO_BIN_EXE_govstore"));
    pause.arg("--db").arg(home.database()).args(["pause", "stopped", "--reason", "wait for me"]);
    assert!(pause.output()?.status.success());

    for Row { tool, arguments, then, now } in rows {
        let result = client.call(tool, arguments.clone()).await?;
        let answer = result.structured_content.ok_or("no structured content")?;
        assert!(fits(&now, &answer), "{tool} {arguments}\nthe page says {now}\nit answers   {answer}");
        assert!(
            then.is_none_or(|then| !fits(&then, &answer)),
            "{tool} {arguments} is answered as by v1.0.3: the row can go"
        );
    }
    client.close().await
}
