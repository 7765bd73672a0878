//! CSV exports: the forms that v1.0.3 left, which of several exports is taken, and what is refused.

use govstore::{HistoryRow, Update};
use serde_json::json;

use crate::{Setup, TestResult, entry, entry_with, export, reasons};

const HEADER: &str = "update,E,I,S,V,coherence,risk,decision,lambda1";

/// What `get_system_history` writes, with these lines for the updates.
fn with_summary(agent_id: &str, lines: &[&str], total_updates: usize) -> String {
    let summary = format!(
        "\nSummary,,,,,,,,\nagent_id,{agent_id},,,,,,,\ntotal_updates,{total_updates},,,,,,,\n\
         total_time,0.7,,,,,,,\nlambda1_final,0.16,,,,,,,\n"
    );
    let lines = lines.join("\n") + "\n";
    format!("{HEADER}\n{lines}{summary}").replace('\n', "\r\n")
}

const LINES: [&str; 3] = [
    "1,,,,-0.012,1.0,0.29,approve,",
    "2,,,,-0.0228,0.4,0.28,reject,",
    "3,0.7,0.8,0.1,-0.0325,0.5,0.31,revise,0.16",
];

/// E, I, S, λ₁ and time of a row.
fn known(row: &HistoryRow) -> [Option<f64>; 5] {
    [row.energy, row.integrity, row.entropy, row.lambda1, row.elapsed]
}

#[test]
fn an_export_of_the_server_is_read_as_its_json_would_be() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(9)) }))?;
    setup.put_text("a.csv", with_summary("a", &LINES, 7))?;
    let report = setup.import()?;
    assert_eq!(report.remarks, []);
    assert_eq!(report.imported[0].history_file.as_deref(), Some("a.csv"));

    let history = setup.store.history("a", None)?;
    let figures: Vec<_> = history
        .iter()
        .map(|row| (row.update_no, row.void_integral, row.coherence, row.risk_score, row.decision.as_str()))
        .collect();
    assert_eq!(
        figures,
        [
            (7, -0.012, 1.0, 0.29, "approve"),
            (8, -0.0228, 0.4, 0.28, "reject"),
            (9, -0.0325, 0.5, 0.31, "revise")
        ]
    );
    let none = [None; 5];
    let last = [Some(0.7), Some(0.8), Some(0.1), Some(0.16), Some(0.7)];
    assert_eq!(history.iter().map(known).collect::<Vec<_>>(), [none, none, last]);
    let agent = setup.store.agent("a")?;
    assert_eq!((agent.energy, agent.integrity, agent.entropy, agent.void_integral), (0.7, 0.8, 0.1, -0.0325));
    assert_eq!((agent.lambda1, agent.elapsed, agent.update_count), (0.16, 0.7, 7));
    assert_eq!((agent.coherence, agent.risk_score), (Some(0.5), Some(0.31)));
    Ok(())
}

#[test]
fn a_csv_and_a_json_export_of_the_same_updates_make_the_same_database() -> TestResult {
    let mut json = export("a", &[0.01, 0.2, 0.3]);
    json["coherence_history"] = json!([1.0, 0.25, 0.5]);
    let lines = [
        "1,,,,0.01,1.0,0.1,approve,",
        "2,,,,0.2,0.25,0.1,approve,",
        "3,0.6,0.8,0.2,0.3,0.5,0.1,approve,0.15",
    ];
    let csv =
        with_summary("a", &lines, 3).replace("0.16", "0.15").replace("total_time,0.7", "total_time,0.5");
    let (one, other) =
        (Setup::with_agents(&json!({ "a": entry() }))?, Setup::with_agents(&json!({ "a": entry() }))?);
    one.put("a.json", &json)?;
    other.put_text("a.csv", csv)?;
    one.import()?;
    other.import()?;
    assert_eq!(one.store.agent("a")?, other.store.agent("a")?);
    assert_eq!(one.store.history("a", None)?, other.store.history("a", None)?);
    Ok(())
}

#[test]
fn full_rows_keep_e_i_s_and_lambda1_of_every_update() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(3)) }))?;
    let lines = ["1,0.5,0.9,0.4,-0.01,1.0,0.1,approve,0.15", "2,0.6,0.8,0.3,-0.02,1.0,0.1,approve,0.17"];
    setup.put_text("a.csv", with_summary("a", &[&lines[..], &LINES[2..]].concat(), 3))?;
    assert_eq!(setup.import()?.remarks, []);
    let history = setup.store.history("a", None)?;
    assert_eq!(
        history.iter().map(|row| known(row).map(Option::unwrap_or_default)).collect::<Vec<_>>(),
        [[0.5, 0.9, 0.4, 0.15, 0.0], [0.6, 0.8, 0.3, 0.17, 0.0], [0.7, 0.8, 0.1, 0.16, 0.7]]
    );
    Ok(())
}

const BRIDGE: &str = "agent_id,time,E,I,S,V,lambda1,coherence,void_event,risk_score,decision";

#[test]
fn lines_of_the_bridge_are_read_with_their_time_and_void_event() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(6)) }))?;
    let lines = [
        "a,0.100,0.5175,0.8946,0.4575,-0.0120,0.1500,1.0000,0,0.0649,approve",
        "a,0.200,0.5275,0.8846,0.4475,-0.0220,0.1600,1.0000,1,0.0659,revise",
        // The bridge was started anew: its monitor begins from the initial state.
        "a,0.100,0.5175,0.8946,0.4575,-0.0120,0.1500,1.0000,0,0.0669,approve",
    ];
    setup.put_text("governance_history_a.csv", format!("{BRIDGE}\n{}\n", lines.join("\n")))?;
    assert_eq!(setup.import()?.remarks, []);
    let history = setup.store.history("a", None)?;
    assert_eq!(history.iter().map(|row| row.update_no).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(history.iter().map(|row| row.void_active).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(
        history.iter().map(|row| known(row).map(Option::unwrap_or_default)).collect::<Vec<_>>(),
        [
            [0.5175, 0.8946, 0.4575, 0.15, 0.1],
            [0.5275, 0.8846, 0.4475, 0.16, 0.2],
            [0.5175, 0.8946, 0.4575, 0.15, 0.1]
        ]
    );
    let agent = setup.store.agent("a")?;
    assert_eq!((agent.elapsed, agent.update_count, agent.total_updates), (0.1, 1, 6));
    assert_eq!(setup.store.process_update("a", &Update::default())?.metrics.updates, 2);
    Ok(())
}

#[test]
fn lines_of_the_bridge_count_in_the_lifetime_though_it_was_started_anew() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(1)) }))?;
    let line = "a,0.100,0.5175,0.8946,0.4575,-0.0120,0.1500,1.0000,0,0.0649,approve\n";
    setup.put_text("governance_history_a.csv", format!("{BRIDGE}\n{}", line.repeat(12)))?;
    let report = setup.import()?;
    assert_eq!(
        reasons(&report, "a"),
        [
            "total_updates is now 12: agent_metadata.json says 1, but governance_history_a.csv shows 12 updates"
        ]
    );
    let agent = setup.store.agent("a")?;
    assert_eq!((agent.update_count, agent.total_updates), (1, 12));
    Ok(())
}

#[test]
fn last_values_that_a_script_repeated_are_those_of_the_last_update_alone() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(3)) }))?;
    let lines = "1,0.63,0.85,0.2,-0.012,1.0,0.15,approve,\r\n2,0.63,0.85,0.2,-0.022,1.0,0.15,approve,\r\n\
                 3,0.63,0.85,0.2,-0.032,1.0,0.15,approve,0.18\r\n";
    let header = "Update,E,I,S,V,Coherence,Risk_Score,Decision,Lambda1\r\n";
    setup.put_text("governance_history_a.csv", format!("{header}{lines}"))?;
    let report = setup.import()?;
    assert_eq!(
        reasons(&report, "governance_history_a.csv"),
        [
            "E, I and S are the same in each line, while V, which follows from them, is not; they are taken as those of \
          the last update alone"
        ]
    );
    let history = setup.store.history("a", None)?;
    assert_eq!(history.iter().map(|row| row.energy).collect::<Vec<_>>(), [None, None, Some(0.63)]);
    assert_eq!(history.iter().map(|row| row.lambda1).collect::<Vec<_>>(), [None, None, Some(0.18)]);
    let agent = setup.store.agent("a")?;
    assert_eq!((agent.update_count, agent.elapsed.to_bits()), (3, (0.1_f64 + 0.1 + 0.1).to_bits()));
    Ok(())
}

#[test]
fn of_a_json_and_a_csv_export_the_one_is_taken_that_has_more() -> TestResult {
    let ids = ["more updates", "more counted", "more figures", "as much"];
    let setup = Setup::with_agents(
        &ids.iter().map(|id| ((*id).to_owned(), entry_with("total_updates", json!(9)))).collect(),
    )?;
    let full: Vec<String> =
        (1..=3).map(|n| format!("{n},0.{n},0.9,0.4,-0.0{n},1.0,0.1,approve,0.15")).collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    for (n, (id, csv)) in (1..).zip(ids.iter().zip([
        with_summary(ids[0], &LINES, 3),
        with_summary(ids[1], &LINES, 8),
        with_summary(ids[2], &full, 3),
        with_summary(ids[3], &LINES, 3),
    ])) {
        setup.put(&format!("{n}.json"), &export(id, if n == 1 { &[0.1; 2] } else { &[0.1; 3] }))?;
        setup.put_text(&format!("{n}.csv"), csv)?;
    }
    let report = setup.import()?;
    let remarks: Vec<_> = report.remarks.iter().map(|r| (r.subject.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        remarks,
        [
            ("1.json", "it has 2 updates; the history of \"more updates\" is taken from 1.csv, which has 3"),
            (
                "2.json",
                "it has 3 updates; the history of \"more counted\" is taken from 2.csv, which has 3 too, and counts \
                 more"
            ),
            (
                "3.json",
                "it has 3 updates; the history of \"more figures\" is taken from 3.csv, which has 3 too, and more \
                 values of E, I, S and λ₁"
            ),
            ("4.csv", "it has 3 updates; the history of \"as much\" is taken from 4.json, which has 3 too"),
        ]
    );
    Ok(())
}

#[test]
fn an_id_that_had_to_be_quoted_is_found() -> TestResult {
    let id = "one, \"two\" and λ";
    let setup = Setup::with_agents(&json!({ id: entry_with("total_updates", json!(3)) }))?;
    setup.put_text("a.csv", with_summary("\"one, \"\"two\"\" and λ\"", &LINES, 3))?;
    assert_eq!(setup.import()?.remarks, []);
    assert_eq!(setup.store.history(id, None)?.len(), 3);
    Ok(())
}

#[test]
fn a_csv_file_that_cannot_be_used_is_named_with_its_reason() -> TestResult {
    let with = |lines: &[&str]| with_summary("a", lines, 3);
    let second = |line| with(&[LINES[0], line, LINES[2]]);
    let bad: Vec<(&str, String, &str)> = vec![
        ("nothing.csv", String::new(), "it is empty"),
        ("other.csv", "name,value\n".to_owned(), "its first line names no column \"E\""),
        ("no risk.csv", HEADER.replace("risk", "danger"), "its first line names no column \"risk\""),
        ("header.csv", format!("{HEADER}\n"), "it has no updates"),
        ("summary.csv", with(&[]), "it has no updates"),
        (
            "cut.csv",
            format!("{HEADER}\n{}\n2,,,,-0.02", LINES[0]),
            "line 3: it has 5 fields, and the first line 9",
        ),
        ("gap.csv", with(&[LINES[0], LINES[2]]), "line 3: update 2 was expected here, and \"3\" was found"),
        ("V.csv", second("2,,,,-1.5,1,0.1,approve,"), "line 3: V: -1.5 does not lie between -1 and 1"),
        ("E.csv", second("2,1.1,,,0,1,0.1,approve,"), "line 3: E: 1.1 does not lie between 0 and 1"),
        ("nan.csv", second("2,,,,nan,1,0.1,approve,"), "line 3: V: NaN does not lie between"),
        ("infinite.csv", second("2,,,,0,1,inf,approve,"), "line 3: risk: inf does not lie between"),
        ("word.csv", second("2,,,,0,high,0.1,approve,"), "line 3: coherence: \"high\": invalid float"),
        ("no V.csv", second("2,,,,,1,0.1,approve,"), "line 3: it has no V"),
        ("decision.csv", second("2,,,,0,1,0.1,maybe,"), "line 3: decision: \"maybe\": "),
        ("no decision.csv", second("2,,,,0,1,0.1,,"), "line 3: decision: \"\": "),
        ("quote.csv", second("2,,,,0,1,0.1,\"approve,"), "a quote is not closed"),
        ("last E.csv", with(&LINES[..2]), "the last update has no E"),
        ("count.csv", with_summary("a", &LINES, 2), "total_updates: 2 does not lie between 3 and"),
        ("no count.csv", with(&LINES).replace("total_updates,3", "total_updates,"), "total_updates: \"\": "),
        (
            "lambda.csv",
            with(&LINES).replace("final,0.16", "final,2"),
            "lambda1_final: 2 does not lie between",
        ),
        ("time.csv", with(&LINES).replace("time,0.7", "time,-1"), "total_time: -1 does not lie between"),
        (
            "after.csv",
            format!("{HEADER}\n{}\n\n{}\n", LINES[0], LINES[1]),
            "line 4: the updates had ended before it",
        ),
        ("nameless.csv", format!("{HEADER}\n1{}\n", &LINES[2][1..]), "it does not say which agent it is of"),
        ("stranger.csv", with_summary("nobody", &LINES, 3), "it is an export of \"nobody\", of which"),
        (
            "two.csv",
            format!("{BRIDGE}\na,0.1,1,1,1,0,0.1,1,0,0,approve\nb,0.1,1,1,1,0,0.1,1,0,0,approve\n"),
            "it has updates of \"a\" and of \"b\"",
        ),
        (
            "event.csv",
            format!("{BRIDGE}\na,0.1,1,1,1,0,0.1,1,yes,0,approve\n"),
            "line 2: void_event: \"yes\" is neither 0 nor 1",
        ),
    ];
    let setup = Setup::with_agents(&json!({ "a": entry() }))?;
    for (name, contents, _) in &bad {
        setup.put_text(name, contents)?;
    }
    setup.put_text("latin1.csv", b"agent_id\xe9,E\n")?;
    let report = setup.import()?;
    assert_eq!(report.imported[0].history_file, None);
    for (name, _, expected) in &bad {
        let reasons = reasons(&report, name);
        assert_eq!(reasons.len(), 1, "{name}");
        assert!(reasons[0].contains(expected), "{name}: {}", reasons[0]);
    }
    assert!(reasons(&report, "latin1.csv")[0].contains("invalid utf-8"));
    assert_eq!(report.remarks.len(), bad.len() + 1);
    Ok(())
}
