//! What the commands that look and change do, and when they refuse.

use std::fs;

use serde_json::Value;

use govstore_testkit::TestResult;

use super::support::{Folder, Ran, govstore};

#[test]
fn update_prints_decision_health_and_figures() {
    let folder = Folder::new();
    let ran = folder.run(&["update", "writer", "--text", "All tests pass.", "--complexity", "0.2"]).done();
    for part in [
        "writer\n",
        "decision",
        "approve: risk 6.4 % is below 30 %",
        "healthy: risk 6.4 % is below 15 %",
        "6.4 %: complexity 6.0 %",
        "E 0.5175",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let ran = folder.run(&["--json", "update", "writer", "--complexity", "1", "--text", "sudo"]).done();
    assert!(ran.stdout.starts_with(r#"{"success":true,"agent_id":"writer","#), "{}", ran.stdout);
    let report = ran.json();
    assert_eq!(report["metrics"]["updates"], 2);
    assert_eq!(report["decision"]["action"], "revise");
    assert_eq!(report["metrics"]["health_status"], "critical");
}

#[test]
fn a_figure_near_a_boundary_is_the_same_in_every_line_and_on_its_side() {
    let folder = Folder::new();
    let ran = folder.run(&["update", "a", "--complexity", "0.48671"]).done(); // 14.961 %
    for part in [
        "approve: risk 14.96 % is below 30 %\n",
        "healthy: risk 14.96 % is below 15 %\n",
        "14.96 %: complexity 14.60 %, length 0.36 %\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let complexity = "0.98798"; // 29.99997 %
    folder.run(&["update", "b", "--complexity", complexity]).done();
    let shown = folder.run(&["agent", "b"]).done().stdout;
    let risk =
        shown.split("risk ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a figure").to_owned();
    assert!(risk.starts_with("29.99"), "{shown}");
    assert!(shown.contains(&format!("approve: risk {risk} % is below 30 %")), "{shown}");
    for arguments in [&["agents"][..], &["history", "b"], &["history", "b", "--parts"]] {
        let table = folder.run(arguments).done().stdout;
        assert!(table.contains(&format!("{risk}%")), "{arguments:?}: {table}");
    }
    let line = format!(r#"{{"agent_id": "c", "complexity": {complexity}}}"#);
    let applied = folder.run_with_input(&["apply", "-"], line).done().stdout;
    assert!(applied.contains(&format!("approve, degraded: risk {risk} % is below 30 %")), "{applied}");
}

#[test]
fn an_agent_in_json_has_the_parts_of_its_risk() {
    let folder = Folder::new();
    folder.run(&["update", "a", "--text", "sudo bypass", "--complexity", "0.7"]).done();
    let portrait = folder.run(&["--json", "agent", "a"]).done().json();
    let parts = portrait["risk_parts"].as_object().expect("four parts");
    assert_eq!(parts.len(), 4);
    let sum: f64 = parts.values().filter_map(Value::as_f64).sum();
    let risk = portrait["agent"]["risk_score"].as_f64().expect("a risk");
    assert!((sum - risk).abs() < 1e-12, "{portrait}");

    folder.run(&["reset", "a"]).done();
    assert_eq!(folder.run(&["--json", "agent", "a"]).done().json()["risk_parts"], Value::Null);
    folder.run(&["update", "b"]).done();
    folder
        .sql()
        .execute_batch("UPDATE agent_updates SET complexity = NULL, text_length = NULL, patterns = NULL")
        .expect("rows");
    assert_eq!(
        folder.run(&["--json", "agent", "b"]).done().json()["risk_parts"],
        Value::Null,
        "as older versions wrote"
    );
    assert!(!folder.run(&["agent", "b"]).done().stdout.contains("made of"));
}

#[test]
fn any_number_is_accepted_and_no_other_text() {
    let folder = Folder::new();
    for numbers in ["-0.5,nan,inf", "-inf", "NaN, 1e-3", "-1,-2"] {
        folder.run(&["update", "a", "--parameters", numbers, "--drift", numbers]).done();
    }
    for number in ["nan", "-inf", "inf", "-3", "7"] {
        folder.run(&["update", "a", "--complexity", number]).done();
    }
    let before = folder.snapshot();
    folder.run(&["update", "a", "--complexity", "abc"]).refused(2, &["--complexity", "abc", "not a number"]);
    folder.run(&["update", "a", "--parameters", "1,two,3"]).refused(2, &["--parameters", "two"]);
    folder.run(&["update", "a", "--drift", "1,,3"]).refused(2, &["--drift"]);
    assert_eq!(folder.snapshot(), before);
}

#[test]
fn a_text_comes_from_the_argument_or_from_standard_input() {
    let folder = Folder::new();
    let risk = |ran: Ran| ran.done().json()["metrics"]["risk_score"].clone();
    let text = "- sudo rm -rf\n".repeat(100);
    let given = risk(folder.run(&["--json", "update", "a", "--text", &text]));
    let read = risk(folder.run_with_input(&["--json", "update", "b", "--text", "-"], text));
    let empty = risk(folder.run(&["--json", "update", "c"]));
    assert_eq!(given, read);
    assert_ne!(given, empty);
    folder
        .run_with_input(&["update", "a", "--text", "-"], b"caf\xe9".to_vec())
        .refused(1, &["standard input", "not UTF-8"]);
}

#[test]
fn the_default_agent_comes_with_a_warning() {
    let folder = Folder::new();
    let ran = folder.run(&["--json", "update", "default_agent"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("warning: default_agent is shared"), "{}", ran.stderr);
    folder.run(&["delete", "default_agent", "--yes"]).refused(1, &["pioneer"]);
}

#[test]
fn agents_lists_filters_and_pages() {
    let folder = Folder::new();
    assert!(
        folder.run(&["config", "set", "history_limit", "9"]).done().stdout.contains("history_limit is 9")
    );
    assert!(folder.run(&["agents"]).done().stdout.contains("no agents yet"));
    for (agent, complexity) in [("a", "0.1"), ("b", "0.6"), ("c", "1"), ("測試 👩‍🚀", "0.1")] {
        folder.run(&["update", agent, "--complexity", complexity]).done();
    }
    folder.run(&["pause", "b"]).done();

    let table = folder.run(&["agents"]).done().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("AGENT"), "{table}");
    assert!(lines[2].starts_with("b ") && lines[2].contains("paused"), "{table}");
    assert!(lines[4].starts_with("測試 👩‍🚀 "), "{table}");
    assert!(table.ends_with("4 agents: 3 active, 1 paused\n"), "{table}");
    assert!(!table.contains('\u{1b}'), "colours in a pipe: {table:?}");

    let ids = |arguments: &[&str]| -> Vec<String> {
        let ran = folder.run(&[&["--json", "agents"], arguments].concat()).done();
        let agents = ran.json()["agents"].as_array().expect("a list").clone();
        agents.iter().map(|agent| agent["agent_id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&[]), ["a", "b", "c", "測試 👩‍🚀"]);
    assert_eq!(ids(&["--status", "paused"]), ["b"]);
    assert_eq!(ids(&["--status", "deleted"]), [""; 0]);
    assert_eq!(ids(&["--health", "critical"]), ["c"]);
    assert_eq!(ids(&["--health", "healthy", "--status", "active"]), ["a", "測試 👩‍🚀"]);
    assert_eq!(ids(&["--limit", "2", "--after", "a"]), ["b", "c"]);
    let page = folder.run(&["--json", "agents", "--limit", "2"]).done().json();
    assert_eq!(page["next"], "b");
    assert_eq!(page["summary"]["total_agents"], 4);
    assert_eq!(folder.run(&["--json", "agents", "--limit", "4"]).done().json()["next"], Value::Null);
    assert!(folder.run(&["agents", "--limit", "2"]).done().stdout.contains("more: --after b\n"));

    folder.run(&["agents", "--status", "asleep"]).refused(2, &["--status", "asleep", "active, paused"]);
    folder.run(&["agents", "--limit", "0"]).refused(2, &["--limit"]);
}

#[test]
fn agent_shows_all_that_is_known_of_one() {
    let folder = Folder::with_writer();
    folder.run(&["update", "writer", "--parameters", "0,0", "--complexity", "0.1"]).done();
    folder.run(&["update", "writer", "--parameters", "0.5,0.5", "--complexity", "1"]).done();
    folder.run(&["tag", "writer", "--add", "production"]).done();
    folder.run(&["note", "writer", "one\ntwo"]).done();
    folder.run(&["pause", "writer", "--reason", "too eager"]).done();

    let shown = folder.run(&["agent", "writer"]).done().stdout;
    for part in [
        "status       paused by an operator since 2",
        "health       critical: risk 44.3 % is 30 % or more",
        "decision     reject: ",
        "  ▁▁▄\n",
        "  ██▅\n",
        "updates      3\n",
        "2 approve, 0 revise, 1 reject in the last 3 updates",
        "tags         production\n",
        "notes        one\n               two\n",
        "  created  ",
        "  health healthy → critical  operator  risk 44.3 % is 30 % or more",
        "too eager\n",
    ] {
        assert!(shown.contains(part), "{part:?} is missing: {shown}");
    }

    let portrait = folder.run(&["--json", "agent", "writer"]).done().json();
    assert_eq!(portrait["agent"]["tags"][0], "production");
    assert_eq!(portrait["should_alert"], true);
    assert_eq!(portrait["statistics"]["reject"], 1);
    assert_eq!(portrait["recent"].as_array().map(Vec::len), Some(3));
    assert_eq!(portrait["events"].as_array().map(Vec::len), Some(4));
}

#[test]
fn history_is_the_same_in_every_format() {
    let folder = Folder::with_writer();
    folder.run(&["update", "writer", "--parameters", "0.3", "--complexity", "0.7"]).done();
    // What v1.0.3 did not keep, and a reason that CSV has to quote.
    folder
        .sql()
        .execute_batch(
            r#"UPDATE agent_updates SET applied_at = NULL, energy = NULL, lambda1 = NULL,
                 decision_reason = 'a "reason", with' || char(10) || 'two lines' WHERE update_no = 1"#,
        )
        .expect("two rows");

    let json = folder.run(&["history", "writer", "--format", "json"]).done();
    assert_eq!(json.stdout, folder.run(&["--json", "history", "writer"]).done().stdout);
    let rows = json.json()["history"].as_array().expect("a list").clone();
    assert_eq!(rows.len(), 2);

    let csv = folder.run(&["history", "writer", "--format", "csv"]).done().stdout;
    let mut records = parse_csv(&csv);
    let header = records.remove(0);
    assert_eq!(header[..4], ["update_no", "applied_at", "E", "I"]);
    for (record, row) in records.iter().zip(&rows) {
        assert_eq!(record.len(), header.len(), "{record:?}");
        for (name, field) in header.iter().zip(record) {
            let value = match name.strip_suffix("_part") {
                Some("pattern") => &row["risk_parts"]["patterns"],
                Some(part) => &row["risk_parts"][part],
                None => &row[name],
            };
            let expected = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                other => other.to_string(),
            };
            assert_eq!(field, &expected, "{name}");
        }
    }
    assert!(csv.contains(r#","a ""reason"", with"#), "{csv}");

    let table = folder.run(&["history", "writer"]).done().stdout;
    assert!(table.lines().next().is_some_and(|line| line.starts_with("NO  TIME (UTC)")), "{table}");
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with(" 1  –  ")), "{table}");

    let last = folder.run(&["--json", "history", "writer", "--last", "1"]).done().json();
    assert_eq!(last["history"][0]["update_no"], 2);
    folder.run(&["--json", "history", "writer", "--format", "csv"]).refused(2, &["--json", "--format"]);
    folder.run(&["history", "writer", "--last", "-1"]).refused(2, &["-1"]);
}

/// CSV by the rules of RFC 4180, with `\n` at the ends of records.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    assert!(field.is_empty() && record.is_empty() && !quoted, "the last record is not whole");
    records
}

#[test]
fn health_shows_the_fleet_and_who_is_critical() {
    let folder = Folder::with_writer();
    let shown = folder.run(&["health"]).done().stdout;
    assert!(shown.contains("fleet     healthy") && !shown.contains("CRITICAL"), "{shown}");
    for n in 0..22 {
        folder.run(&["update", &format!("bad-{n:02}"), "--complexity", "1"]).done();
    }
    let shown = folder.run(&["health"]).done().stdout;
    assert!(shown.contains("fleet     critical") && shown.contains("\nbad-00 "), "{shown}");
    assert!(shown.contains("2 more: govstore agents --health critical"), "{shown}");
    let report = folder.run(&["--json", "health"]).done().json();
    assert_eq!(report["critical"], 22);
    assert_eq!(report["critical_agents"].as_array().map(Vec::len), Some(20));
}

#[test]
fn health_check_tells_by_its_exit_code() {
    let check = |folder: &Folder, code: i32, line: &str| {
        let ran = folder.run(&["health", "--check"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{ran:?}");
        assert!(ran.stdout.starts_with(line) && ran.stdout.lines().count() == 1, "{ran:?}");
        let ran = folder.run(&["--json", "health", "--check"]);
        assert_eq!(ran.code, Some(code));
        assert_eq!(ran.json()["success"], code != 3);
    };
    let folder = Folder::new();
    check(&folder, 3, "GOVSTORE UNKNOWN: there is no database at ");
    assert!(!folder.db().exists());
    folder.run(&["update", "writer", "--complexity", "0.1"]).done();
    let line = "GOVSTORE HEALTHY: 1 agent in service, 0 critical, 0 degraded, 1 healthy | critical=0 degraded=0 \
                healthy=1\n";
    check(&folder, 0, line);
    folder.run(&["update", "tester", "--complexity", "0.6"]).done();
    check(&folder, 1, "GOVSTORE DEGRADED: 2 agents in service, 0 critical, 1 degraded, 1 healthy |");
    folder.run(&["update", "third", "--complexity", "1"]).done();
    check(&folder, 2, "GOVSTORE CRITICAL: 3 agents in service, 1 critical, 1 degraded, 1 healthy |");
    for agent in ["writer", "tester", "third"] {
        folder.run(&["archive", agent]).done();
    }
    check(&folder, 3, "GOVSTORE UNKNOWN: no agents in service\n");
    fs::write(folder.db(), "garbage").expect("a file");
    check(&folder, 3, "GOVSTORE UNKNOWN: ");
}

#[test]
fn config_shows_and_changes_settings() {
    let folder = Folder::with_writer();
    let all = folder.run(&["config", "get"]).done().stdout;
    assert!(all.contains("risk_degraded_max") && all.contains("none keeps all"), "{all}");
    assert_eq!(folder.run(&["config", "get", "risk_degraded_max"]).done().stdout, "0.3\n");
    folder.run(&["config", "set", "risk_degraded_max", "0.4"]).done();
    assert_eq!(folder.run(&["config", "get", "risk_degraded_max"]).done().stdout, "0.4\n");
    folder.run(&["config", "set", "limit_policy", "refuse"]).done();
    folder.run(&["config", "set", "history_limit", "10"]).done();
    folder.run(&["config", "set", "history_limit", "none"]).done();
    let settings = folder.run(&["--json", "config", "get"]).done().json();
    assert_eq!(settings["settings"]["limit_policy"], "refuse");
    assert_eq!(settings["settings"]["history_limit"], Value::Null);
    let one = folder.run(&["--json", "config", "get", "risk_degraded_max"]).done().json();
    assert_eq!((&one["key"], &one["value"]), (&"risk_degraded_max".into(), &0.4.into()));

    folder.run(&["config", "get", "colour"]).refused(2, &["colour", "risk_healthy_max"]);
    folder.run(&["config", "set", "colour", "1"]).refused(2, &["colour", "risk_healthy_max"]);
    folder.run(&["config", "set", "risk_healthy_max", "abc"]).refused(1, &["risk_healthy_max", "abc"]);
    folder.run(&["config", "set", "risk_healthy_max", "-1"]).refused(1, &["risk_healthy_max", "-1", "0 <="]);
    folder.run(&["config", "set", "limit_policy", "maybe"]).refused(1, &["limit_policy", "maybe", "evict"]);
    let unchanged = folder.run(&["--json", "config", "get"]).done().json();
    assert_eq!(unchanged, settings);
}

#[test]
fn every_command_has_a_manual_page() -> TestResult {
    let folder = tempfile::tempdir()?;
    let ran = Ran::of(govstore().arg("man").arg(folder.path())).done();
    let pages = fs::read_dir(folder.path())?.count();
    assert_eq!(ran.stdout, format!("wrote {pages} pages to {}\n", folder.path().display()));
    assert!(pages > 20, "{pages} pages");
    let page = fs::read_to_string(folder.path().join("govstore-backup.1"))?;
    assert!(page.contains("SYNOPSIS") && page.contains("keep"), "{page}");
    Ran::of(govstore().args(["man", "/no/such/folder"])).refused(1, &["cannot write /no/such/folder"]);
    Ok(())
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = Ran::of(govstore().args(["completions", shell])).done();
        assert!(ran.stdout.contains("archive"), "{shell}");
    }
    Ran::of(govstore().args(["completions", "cmd"])).refused(2, &["cmd", "bash"]);
}

#[test]
fn every_command_explains_itself() {
    let help = Ran::of(govstore().arg("--help")).done().stdout;
    for part in ["Exit codes:", "GOVSTORE_DB", "Examples:"] {
        assert!(help.contains(part), "{part}");
    }
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help") // has none itself
        .collect();
    assert!(commands.len() >= 16, "{commands:?}");
    for command in commands {
        let help = Ran::of(govstore().args([command, "--help"]));
        assert_eq!(help.code, Some(0), "{command}");
        assert!(help.stdout.contains("Usage: govstore"), "{command}: {}", help.stdout);
    }
    let version = Ran::of(govstore().arg("--version")).done().stdout;
    assert_eq!(version, concat!("govstore ", env!("CARGO_PKG_VERSION"), "\n"));
    Ran::of(&mut govstore()).refused(2, &["Usage: govstore"]);
}
