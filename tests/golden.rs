//! The governance cycle against the figures that UNITARES v1.0.3 itself computed: 12 sequences, 569 updates.
//!
//! The vectors are in `tests/reference`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use govstore::{Store, Update};
use govstore_mcp::wire::UpdateReport;
use govstore_testkit::{Database, TestResult};
use serde_json::{Value, json};

fn sequences() -> TestResult<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/monitor-golden.jsonl");
    let sequences: Vec<Value> =
        fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let updates: usize = sequences.iter().map(|s| s["steps"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!((sequences.len(), updates), (12, 569));
    Ok(sequences)
}

#[test]
fn every_golden_update_comes_out_the_same_through_the_library() -> TestResult {
    let sequences = sequences()?;
    let database = Database::new(&[])?;
    let store = database.store()?;
    for sequence in &sequences {
        let agent_id = format!("golden-{}", sequence["seed"]);
        for (n, step) in steps(sequence).iter().enumerate() {
            let report = store.process_update(&agent_id, &update(&step["in"]))?;
            assert_same(
                &step["out"],
                &serde_json::to_value(UpdateReport::from(report))?,
                &format!("{agent_id} step {n}"),
            );
        }
        assert_final(&sequence["final"], &store, &agent_id)?;
    }
    Ok(())
}

#[test]
fn every_golden_update_comes_out_the_same_when_the_store_is_reopened_each_time() -> TestResult {
    let sequences = sequences()?;
    let database = Database::new(&[])?;
    let longest = sequences.iter().max_by_key(|s| steps(s).len()).ok_or("no sequence")?;
    for (n, step) in steps(longest).iter().enumerate() {
        let report = database.store()?.process_update("a", &update(&step["in"]))?;
        assert_same(&step["out"], &serde_json::to_value(UpdateReport::from(report))?, &format!("step {n}"));
    }
    Ok(())
}

#[test]
fn every_golden_update_comes_out_the_same_through_apply() -> TestResult {
    let sequences = sequences()?;
    let database = Database::unopened()?;
    let mut lines = Vec::new();
    let mut expected = Vec::new();
    for sequence in &sequences {
        for step in steps(sequence) {
            lines.push(apply_line(&format!("golden-{}", sequence["seed"]), &step["in"]).to_string());
            expected.push(&step["out"]);
        }
    }
    let mut child = Command::new(govstore_testkit::govstore())
        .args(["--db", &database.address(), "--json", "apply", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let writer = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| "the writer panicked")??;
    assert!(output.status.success(), "{}", output.status);

    let results: Vec<Value> =
        String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(results.len(), expected.len());
    for (n, (out, result)) in expected.into_iter().zip(&results).enumerate() {
        assert_same(out, result, &format!("line {}", n + 1));
    }
    Ok(())
}

fn steps(sequence: &Value) -> &[Value] {
    sequence["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// A number as the golden file spells it: JSON, or the name of a float that JSON can't carry.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        Some(other) => panic!("{other:?} is no number"),
        None => value.as_f64().expect("a number"),
    }
}

fn parameters(input: &Value) -> Vec<f64> {
    match &input["parameters"] {
        Value::Array(values) => values.iter().map(number).collect(),
        filled => {
            let length = usize::try_from(filled["len"].as_u64().expect("a length")).expect("a usize");
            vec![number(&filled["fill"]); length]
        }
    }
}

fn response_text(input: &Value) -> String {
    match &input["response_text"] {
        Value::String(text) => text.clone(),
        repeated => {
            let unit = repeated["repeat"].as_str().expect("a text");
            let length = usize::try_from(repeated["chars"].as_u64().expect("a length")).expect("a usize");
            let mut text: String = unit.chars().cycle().take(length).collect();
            text.push_str(repeated["suffix"].as_str().expect("a text"));
            text
        }
    }
}

fn update(input: &Value) -> Update {
    Update::new()
        .parameters(parameters(input))
        .response_text(response_text(input))
        .complexity(number(&input["complexity"]))
        .ethical_drift(vec![0.0; 3])
}

/// The same input as an `apply` line. JSON has no infinities, so a number that means the same stands in:
/// `null` for a parameter (anything not finite becomes 0), ±1e308 for a complexity (which is clamped).
fn apply_line(agent_id: &str, input: &Value) -> Value {
    let parameters: Vec<Value> =
        parameters(input).into_iter().map(|p| if p.is_finite() { json!(p) } else { Value::Null }).collect();
    let complexity = match number(&input["complexity"]) {
        c if c.is_nan() => Value::Null,
        c => json!(c.clamp(-1e308, 1e308)),
    };
    json!({
        "agent_id": agent_id,
        "parameters": parameters,
        "ethical_drift": [0, 0, 0],
        "response_text": response_text(input),
        "complexity": complexity,
    })
}

/// Floats to 1e-9 relative, or 1e-12 absolute near zero; everything else exactly.
fn assert_same(out: &Value, report: &Value, place: &str) {
    let metrics = &report["metrics"];
    let pairs = [
        ("status", &report["status"]),
        ("action", &report["decision"]["action"]),
        ("reason", &report["decision"]["reason"]),
        ("require_human", &report["decision"]["require_human"]),
        ("E", &metrics["E"]),
        ("I", &metrics["I"]),
        ("S", &metrics["S"]),
        ("V", &metrics["V"]),
        ("coherence", &metrics["coherence"]),
        ("lambda1", &metrics["lambda1"]),
        ("risk_score", &metrics["risk_score"]),
        ("void_active", &metrics["void_active"]),
        ("time", &metrics["time"]),
        ("updates", &metrics["updates"]),
        ("temperature", &report["sampling_params"]["temperature"]),
        ("top_p", &report["sampling_params"]["top_p"]),
        ("max_tokens", &report["sampling_params"]["max_tokens"]),
        ("health", &metrics["health_status"]),
        ("health_message", &metrics["health_message"]),
    ];
    assert_eq!(out.as_object().map(serde_json::Map::len), Some(pairs.len()), "{place}: fields of `out`");
    for (field, got) in pairs {
        let want = &out[field];
        let same = match (want.as_f64(), got.as_f64()) {
            (Some(want), Some(got)) if out[field].is_f64() => close(want, got),
            _ => want == got,
        };
        assert!(same, "{place}: {field} is {got}, v1.0.3 has {want}");
    }
}

fn close(want: f64, got: f64) -> bool {
    let distance = (want - got).abs();
    distance <= 1e-9 * want.abs() || distance <= 1e-12
}

fn assert_final(expected: &Value, store: &Store, agent_id: &str) -> TestResult {
    let statistics = store.window_statistics(agent_id)?;
    let agent = store.agent(agent_id)?;
    let count = |field: &Value| field.as_u64();
    let floats = [
        ("mean_risk", statistics.mean_risk),
        ("void_frequency", statistics.void_frequency),
        ("pi_integral", agent.pi_integral),
    ];
    for (field, got) in floats {
        let want = expected[field].as_f64().ok_or(field)?;
        assert!(close(want, got), "{agent_id}: {field} is {got}, v1.0.3 has {want}");
    }
    let decisions = &expected["decision_statistics"];
    assert_eq!(count(&expected["history_size"]), Some(statistics.history_size));
    assert_eq!(count(&decisions["approve"]), Some(statistics.approve));
    assert_eq!(count(&decisions["revise"]), Some(statistics.revise));
    assert_eq!(count(&decisions["reject"]), Some(statistics.reject));
    assert_eq!(count(&decisions["total"]), Some(statistics.history_size));
    Ok(())
}

#[test]
fn the_comparison_is_as_strict_as_the_reference_says() {
    assert!(close(1.0, 1.0 + 5e-10) && close(0.0, 5e-13));
    assert!(!close(1.0, 1.0 + 2e-9) && !close(0.0, 2e-12));
}
