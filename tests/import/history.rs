//! History: which export is taken, which are passed over and why, and what becomes of its figures.

use std::fs;

use govstore::{HealthStatus, Update};
use serde_json::{Value, json};

use govstore_testkit::TestResult;

use crate::{Setup, entry, entry_with, export, reasons};

fn export_with(field: &str, value: Value) -> Value {
    let mut export = export("a", &[0.0, 0.1]);
    export[field] = value;
    export
}

#[test]
fn an_export_that_cannot_be_used_is_passed_over_for_the_next_longest() -> TestResult {
    let mut no_lambda = export("a", &[0.0, 0.1]);
    no_lambda.as_object_mut().ok_or("no object")?.remove("lambda1_final");
    let bad = [
        ("array.json", json!([1, 2]), "no history export of v1.0.3: "),
        ("other.json", json!({ "settings": {} }), "no history export of v1.0.3: missing field"),
        ("no lambda.json", no_lambda, "missing field `lambda1_final`"),
        ("empty.json", export("a", &[]), "it has no updates"),
        ("stranger.json", export("nobody", &[0.0]), "it is an export of \"nobody\", of which"),
        ("refused.json", export("refused", &[0.0]), "it is an export of \"refused\", of which"),
        ("short c.json", export_with("coherence_history", json!([1.0])), "has 1 values and V_history 2"),
        ("long r.json", export_with("risk_history", json!([0.1, 0.1, 0.1])), "has 3 values and V_history 2"),
        ("no d.json", export_with("decision_history", json!([])), "has 0 values and V_history 2"),
        (
            "V.json",
            export_with("V_history", json!([0.0, -1.5])),
            "V_history: -1.5 does not lie between -1 and 1",
        ),
        ("c.json", export_with("coherence_history", json!([1.0, 1.01])), "coherence_history: 1.01 does not"),
        ("r.json", export_with("risk_history", json!([-0.01, 0.1])), "risk_history: -0.01 does not"),
        ("d.json", export_with("decision_history", json!(["approve", "maybe"])), "unknown variant `maybe`"),
        ("null.json", export_with("risk_history", json!([0.1, null])), "invalid type: null"),
        ("l.json", export_with("lambda1_final", json!(1.5)), "lambda1_final: 1.5 does not"),
        ("t.json", export_with("total_time", json!(-0.1)), "total_time: -0.1 does not"),
        ("E.json", export_with("E_history", json!([2.0])), "E_history: 2 does not"),
        ("no I.json", export_with("I_history", json!([])), "I_history has 0 values for 2 updates"),
        (
            "long S.json",
            export_with("S_history", json!([0.1, 0.1, 0.1])),
            "S_history has 3 values for 2 updates",
        ),
        ("count.json", export_with("total_updates", json!(1)), "total_updates: 1 does not lie between 2 and"),
    ];
    let setup = Setup::with_agents(&json!({
        "a": entry_with("total_updates", json!(9)),
        "refused": { "status": "active" },
    }))?;
    for (name, export, _) in &bad {
        setup.put(name, export)?;
    }
    let text = [
        ("broken.json", &b"{\"agent_id\": \"a\""[..], "EOF while parsing"),
        ("nothing.json", b"", "EOF while parsing"),
        ("nan.json", b"{\"agent_id\": \"a\", \"V_history\": [NaN]}", "expected value"),
        ("huge.json", b"{\"agent_id\": \"a\", \"V_history\": [1e999]}", "number out of range"),
        ("latin1.json", b"{\"agent_id\": \"\xe9\"}", "invalid unicode"),
    ];
    for (name, contents, _) in text {
        fs::write(setup.data().join(name), contents)?;
    }
    setup.put("usable.json", &export("a", &[0.05]))?;
    setup.put("notes.txt", &json!("not looked at"))?;

    let report = setup.import()?;
    assert_eq!(report.imported[0].history_file.as_deref(), Some("usable.json"));
    assert_eq!(setup.store.history("a", None)?.len(), 1);
    let expected = bad.iter().map(|(name, _, reason)| (*name, *reason));
    let expected: Vec<_> = expected.chain(text.map(|(name, _, reason)| (name, reason))).collect();
    for (name, expected) in &expected {
        let reasons = reasons(&report, name);
        assert_eq!(reasons.len(), 1, "{name}");
        assert!(reasons[0].contains(expected), "{name}: {}", reasons[0]);
    }
    assert_eq!(report.remarks.len(), expected.len() + 1, "and that of the agent without a date");
    assert!(report.remarks.is_sorted_by(|a, b| a.subject <= b.subject));
    Ok(())
}

#[test]
fn of_several_exports_the_longest_is_taken_and_of_equals_the_first_by_name() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry(), "b": entry() }))?;
    setup.put("1.json", &export("a", &[0.01; 3]))?;
    setup.put("2.json", &export("a", &[0.02; 5]))?;
    setup.put("3.json", &export("a", &[0.03; 5]))?;
    setup.put("4.json", &export("a", &[0.04; 4]))?;
    setup.put("5.json", &export("b", &[0.05; 9]))?;
    let report = setup.import()?;

    let files: Vec<_> = report.imported.iter().map(|a| (a.history_file.as_deref(), a.history_rows)).collect();
    assert_eq!(files, [(Some("2.json"), 5), (Some("5.json"), 9)]);
    let void_integral: Vec<f64> =
        setup.store.history("a", None)?.iter().map(|row| row.void_integral).collect();
    assert_eq!(void_integral, [0.02; 5]);
    let passed_over: Vec<_> =
        report.remarks.iter().map(|r| (r.subject.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        passed_over,
        [
            ("1.json", "it has 3 updates; the history of \"a\" is taken from 2.json, which has 5"),
            ("3.json", "it has 5 updates; the history of \"a\" is taken from 2.json, which has 5 too"),
            ("4.json", "it has 4 updates; the history of \"a\" is taken from 2.json, which has 5"),
            ("a", "total_updates is now 5: agent_metadata.json says 0, but 2.json shows 5 updates"),
            ("b", "total_updates is now 9: agent_metadata.json says 0, but 5.json shows 9 updates"),
        ]
    );
    Ok(())
}

#[test]
fn an_export_whose_oldest_updates_were_dropped_keeps_its_count() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(1200)) }))?;
    let mut dropped = export("a", &[0.05; 10]);
    dropped["total_updates"] = json!(1009);
    setup.put("1.json", &export("a", &[0.04; 10]))?;
    setup.put("2.json", &dropped)?;
    let report = setup.import()?;

    assert_eq!(report.imported[0].history_file.as_deref(), Some("2.json"), "it counts more updates");
    let agent = setup.store.agent("a")?;
    assert_eq!((agent.update_count, agent.total_updates), (1009, 1200));
    let numbers: Vec<i64> = setup.store.history("a", None)?.iter().map(|row| row.update_no).collect();
    assert_eq!(numbers, (1191..=1200).collect::<Vec<_>>());
    // The controller adjusts λ₁ at every tenth update since the start: this is the 1010th.
    let metrics = setup.store.process_update("a", &Update::default())?.metrics;
    assert_eq!((metrics.updates, metrics.total_updates), (1010, 1201));
    assert!(metrics.lambda1 > 0.15, "{}", metrics.lambda1);
    Ok(())
}

#[test]
fn values_of_e_i_and_s_belong_to_the_last_updates() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(3)) }))?;
    let mut some = export("a", &[0.01, 0.02, 0.03]);
    some["E_history"] = json!([0.5, 0.6]);
    some["I_history"] = json!([0.7, 0.8, 0.9]);
    setup.put("a.json", &some)?;
    assert_eq!(setup.import()?.remarks, []);
    let history = setup.store.history("a", None)?;
    assert_eq!(history.iter().map(|row| row.energy).collect::<Vec<_>>(), [None, Some(0.5), Some(0.6)]);
    assert_eq!(
        history.iter().map(|row| row.integrity).collect::<Vec<_>>(),
        [Some(0.7), Some(0.8), Some(0.9)]
    );
    assert_eq!(history.iter().map(|row| row.entropy).collect::<Vec<_>>(), [None, None, Some(0.2)]);
    let agent = setup.store.agent("a")?;
    assert_eq!((agent.energy, agent.integrity, agent.entropy), (0.6, 0.9, 0.2));
    Ok(())
}

/// The void state as the dynamics have it.
fn void_active(until_now: &[f64]) -> bool {
    let window: Vec<f64> = until_now.iter().rev().take(100).map(|v| v.abs()).collect();
    let threshold = if window.len() < 10 {
        0.15
    } else {
        let n = f64::from(u32::try_from(window.len()).expect("at most 100"));
        let mean = window.iter().sum::<f64>() / n;
        let variance = window.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
        (mean + 2.0 * variance.sqrt()).clamp(0.10, 0.30)
    };
    window[0] > threshold
}

#[test]
fn the_void_state_is_computed_from_the_window_and_makes_health_critical() -> TestResult {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    // Calm, then wild, then calm again: the threshold rises and falls with the last hundred.
    let void_integral: Vec<f64> = (0..400)
        .map(|n| if (100..200).contains(&n) { rng.f64() * 1.2 - 0.6 } else { rng.f64() * 0.3 - 0.15 })
        .chain([0.9])
        .collect();
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(401)) }))?;
    setup.put("a.json", &export("a", &void_integral))?;
    setup.import()?;

    let history = setup.store.history("a", None)?;
    assert_eq!(history.len(), void_integral.len());
    for (n, row) in history.iter().enumerate() {
        assert_eq!(row.void_active, void_active(&void_integral[..=n]), "update {n}");
        let status = if row.void_active { HealthStatus::Critical } else { HealthStatus::Healthy };
        assert_eq!(row.health_status, status);
    }
    let active = history.iter().filter(|row| row.void_active).count();
    assert!((2..history.len()).contains(&active), "{active}");
    let agent = setup.store.agent("a")?;
    assert!(agent.void_active);
    assert_eq!(agent.health_status, HealthStatus::Critical);
    Ok(())
}

#[test]
fn health_is_judged_by_the_settings_of_the_database() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry() }))?;
    setup.store.set_setting("risk_healthy_max", "0.05")?;
    setup.put("a.json", &export("a", &[0.0]))?; // at a risk of 0.1
    setup.import()?;
    assert_eq!(setup.store.history("a", None)?[0].health_status, HealthStatus::Degraded);
    assert_eq!(setup.store.agent("a")?.health_status, HealthStatus::Degraded);
    Ok(())
}

#[test]
fn the_window_of_the_void_state_is_a_hundred_values_long() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(101)) }))?;
    // While the 0.9 is in the window, the threshold is over 0.2; without it, 0.10.
    let void_integral = [&[0.9][..], &[0.05; 98], &[0.12; 2]].concat();
    setup.put("a.json", &export("a", &void_integral))?;
    setup.import()?;
    let history = setup.store.history("a", None)?;
    assert_eq!((history[99].void_active, history[100].void_active), (false, true));
    Ok(())
}

#[test]
fn the_next_update_looks_at_the_imported_window() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(101)) }))?;
    let void_integral = [&[0.5; 100][..], &[0.25]].concat(); // wild: the threshold is at its highest, 0.30
    setup.put("a.json", &export("a", &void_integral))?;
    setup.import()?;
    let metrics = setup.store.process_update("a", &Update::default())?.metrics;
    assert!(metrics.void_integral > 0.15, "without a window this would be void");
    assert!(!metrics.void_active);
    Ok(())
}
