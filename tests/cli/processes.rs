//! `ps` and `reap`, with real servers.

use serde_json::Value;

use super::server::{Database, Server, TestResult};
use super::support::{Ran, govstore};

fn run(database: &Database, arguments: &[&str]) -> Ran {
    let mut command = govstore();
    Ran::of(command.arg("--db").arg(database.path()).args(arguments))
}

/// The rows of a table, as `awk` would cut them.
fn rows(ran: &Ran) -> Vec<Vec<&str>> {
    let table = ran.stdout.split("\n\n").next().unwrap_or_default();
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn ps_shows_who_lives_and_explains_who_does_not() -> TestResult {
    let database = Database::new(&[])?;
    let none = run(&database, &["ps"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "no processes are registered\n"));

    let healthy = Server::start(&database, &["--name", "editor"]);
    let stale = Server::start(&database, &["--name", "\u{1b}[2Jevil", "--no-heartbeat"]);
    database.age_heartbeat(stale.process_id, 400)?;
    let ran = run(&database, &["ps"]);
    let table = rows(&ran);
    let titles = ["PID", "NAME", "VERSION", "UPTIME", "HEARTBEAT", "ACTIVITY", "CPU", "MEMORY", "VERDICT"];
    assert_eq!(table[0], titles);
    assert_eq!(table[1][..2], [&healthy.pid().to_string(), "editor"]);
    assert_eq!(table[1].last(), Some(&"alive"));
    assert_eq!(table[2].last(), Some(&"stale"));
    assert!(table[1].iter().any(|cell| cell.ends_with('%')) && table[1].contains(&"MB"), "{table:?}");
    let explained = format!(r"PID {} (\u{{1b}}[2Jevil) is stale: its heartbeat is 40", stale.pid());
    assert!(ran.stdout.contains("\n2 processes\n") && ran.stdout.contains(&explained), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "a name does nothing to a terminal");

    let json = run(&database, &["ps", "--json"]).json();
    let processes = json["processes"].as_array().unwrap();
    assert_eq!(processes[0]["pid"], healthy.pid());
    assert_eq!(processes[0]["verdict"], "alive");
    assert!(processes[0]["usage"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert_eq!((&processes[1]["verdict"], &processes[1]["action"]), (&"stale".into(), &"end".into()));
    assert!(processes[1]["heartbeat_age_s"].as_f64().is_some_and(|age| age >= 400.0));
    healthy.end();
    stale.end();
    Ok(())
}

#[test]
fn reap_says_what_it_did_and_with_dry_run_does_nothing() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let healthy = Server::start(&database, &[]);
    let nothing = run(&database, &["reap"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "nothing to do; 1 process alive\n"));

    let mut obedient = Server::start(&database, &["--name", "obedient", "--no-heartbeat"]);
    let mut crashed = Server::start(&database, &["--name", "crashed"]);
    database.age_heartbeat(obedient.process_id, 400)?;
    crashed.crash();
    let dry = run(&database, &["reap", "--dry-run"]);
    let would = [
        format!("PID {} (obedient) is stale: its heartbeat is", obedient.pid()),
        "it would be ended".to_owned(),
        format!("PID {0} (crashed) is exited: there is no PID {0}; it would be forgotten", crashed.pid()),
    ];
    assert!(would.iter().all(|part| dry.stdout.contains(part)), "{}", dry.stdout);
    let json = run(&database, &["reap", "--dry-run", "--json"]).json();
    assert_eq!((&json["dry_run"], &json["events"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    assert_eq!(json["judgements"][1]["action"], "end");
    assert!(!obedient.has_ended());
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);

    let ran = run(&database, &["reap"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let did = [
        format!("PID {} (obedient) was stale: its heartbeat is", obedient.pid()),
        "over 300 s; ended at SIGTERM within".to_owned(),
        format!("PID {0} (crashed) was exited: there is no PID {0}; forgotten", crashed.pid()),
    ];
    assert!(did.iter().all(|part| ran.stdout.contains(part)), "{}", ran.stdout);
    assert!(obedient.wait().success());

    let mut deaf = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    database.age_heartbeat(deaf.process_id, 400)?;
    let json = run(&database, &["reap", "--json"]).json();
    let event = &json["events"][0];
    assert_eq!(event["pid"], deaf.pid());
    assert_eq!((&event["outcome"], &event["signals"]), (&"killed".into(), &"TERM CONT KILL".into()));
    deaf.wait();
    healthy.end();
    Ok(())
}
