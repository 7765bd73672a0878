//! Importing what real v1.0.3 servers left: 20 agents and their exports.
//!
//! The folder stands in `../shared/reference/`, outside the package; where it is absent the tests say so and
//! pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use govstore::{AgentFilter, HistoryRow, Lifecycle, Update};
use govstore_testkit::{Database, TestResult};
use serde_json::{Value, json};

/// The folder, or `None` where it is absent.
fn reference() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/unitares-v1.0.3-data");
    if !folder.is_dir() {
        eprintln!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

fn parse(path: &Path) -> TestResult<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// A time of the folder as the database writes it: microseconds cut, not rounded.
fn time(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, |text| {
        assert_eq!(text.len(), "2025-11-19T20:41:09.824739".len());
        Value::from(format!("{}Z", &text[..23]))
    })
}

/// The files of one kind, sorted.
fn names(folder: &Path, extension: &str) -> TestResult<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            names.push(path.file_name().and_then(|name| name.to_str()).ok_or("a strange name")?.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// By agent: the name and contents of its longest export, of equals the first by name.
fn longest_exports(folder: &Path) -> TestResult<BTreeMap<String, (String, Value)>> {
    let mut longest: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for name in names(folder, "json")?.into_iter().filter(|name| name != "agent_metadata.json") {
        let export = parse(&folder.join(&name))?;
        let agent_id = export["agent_id"].as_str().ok_or("no agent_id")?.to_owned();
        let length = |export: &Value| export["V_history"].as_array().map_or(0, Vec::len);
        if longest.get(&agent_id).is_none_or(|(_, kept)| length(kept) < length(&export)) {
            longest.insert(agent_id, (name, export));
        }
    }
    Ok(longest)
}

#[test]
fn all_twenty_agents_come_in_as_their_metadata_says() -> TestResult {
    let Some(reference) = reference() else { return Ok(()) };
    let database = Database::new(&[])?;
    let store = database.store()?;
    let report = store.import_v1(&reference)?;
    assert_eq!(report.imported.len(), 20);
    assert!(report.unchanged.is_empty());

    let metadata = parse(&reference.join("agent_metadata.json"))?;
    let metadata = metadata.as_object().ok_or("no object")?;
    let ids: Vec<&String> = metadata.keys().collect();
    let agents = store.agents(&AgentFilter::default())?;
    assert_eq!(agents.iter().map(|agent| &agent.agent_id).collect::<Vec<_>>(), ids);
    assert_eq!(report.imported.iter().map(|agent| &agent.agent_id).collect::<Vec<_>>(), ids);

    for (agent, imported) in agents.iter().zip(&report.imported) {
        let given = &metadata[&agent.agent_id];
        let total =
            if agent.agent_id == "claude_code_cli" { json!(3) } else { given["total_updates"].clone() };
        let events: Vec<Value> = store
            .events(&agent.agent_id)?
            .iter()
            .map(|e| json!({ "event": e.event, "timestamp": e.occurred_at, "reason": e.reason }))
            .collect();
        let mut events_given = given["lifecycle_events"].as_array().ok_or("no events")?.clone();
        for event in &mut events_given {
            event["timestamp"] = time(&event["timestamp"]);
        }
        let found = json!({
            "status": agent.lifecycle_status,
            "created_at": agent.created_at,
            "last_update": agent.last_update_at,
            "paused_at": agent.paused_at,
            "archived_at": agent.archived_at,
            "deleted_at": agent.deleted_at,
            "version": agent.version,
            "total_updates": agent.total_updates,
            "tags": agent.tags,
            "notes": agent.notes,
            "events": events,
        });
        let expected = json!({
            "status": given["status"],
            "created_at": time(&given["created_at"]),
            "last_update": time(&given["last_update"]),
            "paused_at": time(&given["paused_at"]),
            "archived_at": time(&given["archived_at"]),
            "deleted_at": null, // the one that is deleted has no event to date it
            "version": given["version"],
            "total_updates": total,
            "tags": given["tags"],
            "notes": given["notes"],
            "events": events_given,
        });
        assert_eq!(found, expected, "{}", agent.agent_id);
        assert_eq!(imported.lifecycle_status, agent.lifecycle_status);
        assert_eq!(imported.total_updates, agent.total_updates);
        assert_eq!(imported.events, events.len());
    }
    Ok(())
}

#[test]
fn the_longest_export_of_an_agent_is_its_history() -> TestResult {
    let Some(reference) = reference() else { return Ok(()) };
    let database = Database::new(&[])?;
    let store = database.store()?;
    let report = store.import_v1(&reference)?;
    let exports = longest_exports(&reference)?;
    assert_eq!(exports.len(), 6);

    for imported in &report.imported {
        let id = imported.agent_id.as_str();
        let (agent, history) = (store.agent(id)?, store.history(id, None)?);
        assert_eq!(imported.history_rows, history.len());
        if let Some(csv) = imported
            .history_file
            .as_ref()
            .filter(|file| Path::new(file).extension().is_some_and(|end| end == "csv"))
        {
            assert_rows_are_those_of(&reference.join(csv), &history)?;
            continue;
        }
        assert_eq!(imported.history_file.as_ref(), exports.get(id).map(|(name, _)| name), "{id}");
        let Some((_, export)) = exports.get(id) else {
            assert!(history.is_empty());
            assert_eq!((agent.coherence, agent.risk_score, agent.update_count), (None, None, 0));
            assert_eq!((agent.energy, agent.integrity, agent.entropy), (0.5, 0.9, 0.5));
            assert_eq!((agent.lambda1, agent.void_integral, agent.elapsed), (0.15, 0.0, 0.0));
            assert_eq!(agent.last_decision, None);
            continue;
        };

        let rows = export["V_history"].as_array().ok_or("no V")?.len();
        let first = agent.total_updates - i64::try_from(rows)? + 1;
        let numbers: Vec<i64> = history.iter().map(|row| row.update_no).collect();
        assert_eq!(numbers, (first..=agent.total_updates).collect::<Vec<_>>(), "{id}");
        for (n, row) in history.iter().enumerate() {
            let only_last = |value: &Value| if n + 1 == rows { value.clone() } else { Value::Null };
            let risk = export["risk_history"][n].as_f64().ok_or("no risk")?;
            let expected = json!({
                "update_no": row.update_no,
                "applied_at": null,
                "E": only_last(&export["E_history"][0]),
                "I": only_last(&export["I_history"][0]),
                "S": only_last(&export["S_history"][0]),
                "V": export["V_history"][n],
                "coherence": export["coherence_history"][n],
                "lambda1": only_last(&export["lambda1_final"]),
                "risk_score": export["risk_history"][n],
                "void_active": false, // |V| stays below 0.1, the least threshold there is
                "elapsed": only_last(&export["total_time"]),
                "decision": export["decision_history"][n],
                "decision_reason": null,
                "complexity": null, "text_length": null, "patterns": null, "risk_parts": null, // it kept none
                "health_status": if risk < 0.15 { "healthy" } else if risk < 0.3 { "degraded" } else { "critical" },
            });
            assert_eq!(
                serde_json::to_value(govstore_mcp::wire::HistoryRow::from(row.clone()))?,
                expected,
                "{id}"
            );
        }

        let state = json!({
            "E": agent.energy, "I": agent.integrity, "S": agent.entropy, "V": agent.void_integral,
            "coherence": agent.coherence, "risk": agent.risk_score, "decision": agent.last_decision,
            "lambda1": agent.lambda1, "time": agent.elapsed, "updates": agent.update_count,
        });
        let expected = json!({
            "E": export["E_history"][0], "I": export["I_history"][0], "S": export["S_history"][0],
            "V": export["V_history"][rows - 1],
            "coherence": export["coherence_history"][rows - 1],
            "risk": export["risk_history"][rows - 1],
            "decision": export["decision_history"][rows - 1],
            "lambda1": export["lambda1_final"], "time": export["total_time"], "updates": rows,
        });
        assert_eq!(state, expected, "{id}");
    }
    Ok(())
}

/// The one history of which there is no export in JSON.
const ONLY_AS_CSV: &str = "governance_history_claude_cli_cirwel_20251120_0011.csv";

/// Compares rows with the cells of a CSV export, which has E, I, S and λ₁ of each.
fn assert_rows_are_those_of(csv: &Path, history: &[HistoryRow]) -> TestResult {
    let text = fs::read_to_string(csv)?;
    let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), history.len());
    for (cells, row) in lines.iter().zip(history) {
        let figures = [
            row.energy,
            row.integrity,
            row.entropy,
            Some(row.void_integral),
            row.lambda1,
            Some(row.coherence),
        ];
        for (cell, figure) in cells[2..8].iter().zip(figures) {
            assert_eq!(Some(cell.parse::<f64>()?), figure, "{cells:?}");
        }
        assert_eq!((cells[9].parse::<f64>()?, cells[10]), (row.risk_score, row.decision.as_str()));
    }
    Ok(())
}

#[test]
fn what_was_not_used_is_listed_with_its_reason() -> TestResult {
    let Some(reference) = reference() else { return Ok(()) };
    let database = Database::new(&[])?;
    let store = database.store()?;
    let report = store.import_v1(&reference)?;
    let mut csv_files = names(&reference, "csv")?;
    csv_files.retain(|name| *name != ONLY_AS_CSV);
    let (csv, other): (Vec<_>, Vec<_>) = report.remarks.iter().partition(|r| csv_files.contains(&r.subject));
    assert_eq!(csv.iter().map(|r| &r.subject).collect::<Vec<_>>(), csv_files.iter().collect::<Vec<_>>());
    let has_less = |reason: &str| reason.contains("the history of") && reason.contains("is taken from");
    assert!(csv.iter().all(|r| has_less(&r.reason)), "{csv:?}");

    let other: Vec<_> = other.iter().map(|r| (r.subject.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        other,
        [
            (
                "claude_chat_governance_report.json",
                "it has 9 updates; the history of \"claude_chat\" is taken from \
                 claude_chat_escalation_recovery_test.json, which has 9 too"
            ),
            (
                "claude_chat_v1.0.3_validation.json",
                "it has 5 updates; the history of \"claude_chat\" is taken from \
                 claude_chat_escalation_recovery_test.json, which has 9"
            ),
            (
                "claude_code_cli",
                "total_updates is now 3: agent_metadata.json says 2, but \
                 claude_code_cli_session_20251119_232731.json shows 3 updates"
            ),
            (
                "composer_assistant_26252_history_20251120_011540.json",
                "it has 3 updates; the history of \"composer_assistant_26252\" is taken from \
                 composer_assistant_26252_history_20251120_025603.json, which has 11"
            ),
            (
                "composer_cursor_history_20251119_171118.json",
                "it has 19 updates; the history of \"composer_cursor\" is taken from \
                 composer_cursor_history_20251119_180911.json, which has 21"
            ),
        ]
    );
    Ok(())
}

#[test]
fn a_second_import_changes_nothing() -> TestResult {
    let Some(reference) = reference() else { return Ok(()) };
    let database = Database::new(&[])?;
    let store = database.store()?;
    let first = store.import_v1(&reference)?;
    let before = database.dump()?;
    assert_eq!(before.iter().filter(|(table, _)| table == "agent_updates").count(), 56 + 5, "JSON and CSV");

    let second = store.import_v1(&reference)?;
    assert_eq!(database.dump()?, before);
    assert!(second.imported.is_empty());
    assert_eq!(second.unchanged, first.imported.iter().map(|a| a.agent_id.clone()).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn an_imported_agent_goes_on_where_it_stopped() -> TestResult {
    let Some(reference) = reference() else { return Ok(()) };
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.import_v1(&reference)?;
    for before in store.agents(&AgentFilter::default())? {
        let id = before.agent_id.as_str();
        let updated = store.process_update(id, &Update::new().parameters(vec![0.5; 128]));
        if before.lifecycle_status != Lifecycle::Active {
            assert!(updated.is_err(), "{id}");
            assert_eq!(store.agent(id)?, before);
            continue;
        }
        let metrics = updated?.metrics;
        assert_eq!(metrics.total_updates, before.total_updates + 1, "{id}");
        assert_eq!(metrics.updates, before.update_count + 1);
        assert_eq!(metrics.coherence.to_bits(), 1.0_f64.to_bits(), "no parameters to differ from");
        let (e, i, v) = (before.energy, before.integrity, before.void_integral);
        assert!((metrics.void_integral - (v + 0.1 * (0.3 * (e - i) - 0.4 * v))).abs() < 1e-15, "{id}");
        assert!((metrics.time - before.elapsed - 0.1).abs() < 1e-12);

        let numbers: Vec<i64> = store.history(id, None)?.iter().map(|row| row.update_no).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{id}: {numbers:?}");
        assert_eq!(numbers.last(), Some(&metrics.total_updates));
        assert!(store.agent(id)?.last_update_at > before.last_update_at);
    }
    Ok(())
}
