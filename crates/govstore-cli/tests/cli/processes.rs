//! `ps` and `reap`, with real servers.

use serde_json::Value;

use super::support::{Ran, govstore};
use govstore_testkit::{Database, Server, TestResult};

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
    let silent = Server::start(&database, &["--name", "\u{1b}[2Jevil", "--no-heartbeat"]);
    database.age_heartbeat(silent.process_id, 400)?;
    let ran = run(&database, &["ps"]);
    let table = rows(&ran);
    let titles =
        ["PID", "NAME", "VERSION", "UPTIME", "HEARTBEAT", "ACTIVITY", "CPU", "MEMORY", "VERDICT", "CLIENT"];
    assert_eq!(table[0], titles);
    assert_eq!(table[1][..2], [&healthy.pid().to_string(), "editor"]);
    assert!(table[1].ends_with(&["alive", "–"]), "a program serves no client: {:?}", table[1]);
    assert!(table[2].ends_with(&["suspect", "–"]), "nobody is stale at first sight: {:?}", table[2]);
    assert!(table[1].iter().any(|cell| cell.ends_with('%')) && table[1].contains(&"MB"), "{table:?}");
    let explained = format!(r"PID {} (\u{{1b}}[2Jevil) is suspect: its heartbeat is 40", silent.pid());
    assert!(ran.stdout.contains("\n2 processes\n") && ran.stdout.contains(&explained), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "a name does nothing to a terminal");

    let json = run(&database, &["ps", "--json"]).json();
    let processes = json["processes"].as_array().unwrap();
    assert_eq!(processes[0]["pid"], healthy.pid());
    assert_eq!(processes[0]["verdict"], "alive");
    assert!(processes[0]["usage"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert_eq!((&processes[1]["verdict"], &processes[1]["action"]), (&"suspect".into(), &"postpone".into()));
    assert!(processes[1]["heartbeat_age_s"].as_f64().is_some_and(|age| age >= 400.0));
    healthy.end();
    silent.end();
    Ok(())
}

#[test]
fn reap_says_what_it_did_and_with_dry_run_does_nothing() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let healthy = Server::start(&database, &["--no-heartbeat"]);
    let nothing = run(&database, &["reap"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "nothing to do; 1 process alive\n"));

    let mut obedient = Server::start(&database, &["--name", "obedient", "--no-heartbeat"]);
    let mut crashed = Server::start(&database, &["--name", "crashed", "--no-reap"]);
    database.age_heartbeat(obedient.process_id, 400)?;
    crashed.crash();
    let dry = run(&database, &["reap", "--dry-run"]);
    let would = [
        format!("PID {} (obedient) is suspect: its heartbeat is", obedient.pid()),
        "it is judged after a second look in 0.2 s; it would be judged again later".to_owned(),
        format!("PID {0} (crashed) is exited: there is no PID {0}; it would be forgotten", crashed.pid()),
    ];
    assert!(would.iter().all(|part| dry.stdout.contains(part)), "{}", dry.stdout);
    let json = run(&database, &["reap", "--dry-run", "--json"]).json();
    assert_eq!((&json["dry_run"], &json["events"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    assert_eq!(json["judgements"][1]["action"], "postpone");
    assert!(!obedient.has_ended());
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);

    let first = run(&database, &["reap", "--no-wait"]);
    let noted = format!("PID {} (obedient) was suspect: its heartbeat is", obedient.pid());
    assert!(first.stdout.contains(&noted) && first.stdout.contains("; left for now\n"), "{first:?}");
    assert!(!obedient.has_ended(), "nobody is ended at first sight");
    let ran = run(&database, &["reap"]);
    let waits = format!("looking at PID {} (obedient, suspect) again in 0.2 s", obedient.pid());
    assert!(ran.stderr.contains(&waits), "{ran:?}");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let did = [
        format!("PID {} (obedient) was stale: its heartbeat is", obedient.pid()),
        "over 300 s; ended at SIGTERM within".to_owned(),
    ];
    let forgotten = format!("PID {0} (crashed) was exited: there is no PID {0}; forgotten", crashed.pid());
    assert!(first.stdout.contains(&forgotten), "{first:?}");
    assert!(did.iter().all(|part| ran.stdout.contains(part)), "{}", ran.stdout);
    assert!(obedient.wait().success());

    let mut deaf = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    database.age_heartbeat(deaf.process_id, 400)?;
    let json = run(&database, &["reap", "--json"]).json();
    assert_eq!(json["events"][0]["outcome"], "postponed");
    let event = &json["events"][1];
    assert_eq!(event["pid"], deaf.pid());
    assert_eq!((&event["outcome"], &event["signals"]), (&"killed".into(), &"TERM CONT KILL".into()));
    deaf.wait();
    healthy.end();
    Ok(())
}

#[test]
fn a_stopped_server_is_called_stopped_and_how_to_wake_it_is_said() -> TestResult {
    let database = Database::new(&[])?;
    let running = Server::start(&database, &["--name", "running"]);
    let stopped = Server::start(&database, &["--name", "stopped"]);
    stopped.stop();
    let ran = run(&database, &["ps"]).done();
    let table = rows(&ran);
    assert!(table[1].ends_with(&["alive", "–"]), "{table:?}");
    assert!(table[2].ends_with(&["alive,", "stopped", "–"]), "{table:?}");
    let pid = stopped.pid();
    let wake = format!("\nPID {pid} (stopped) is stopped; `kill -CONT {pid}` wakes it\n");
    assert!(ran.stdout.contains(&wake), "{ran:?}");
    assert_eq!(ran.stdout.matches("kill -CONT").count(), 1, "{ran:?}");
    let json = run(&database, &["ps", "--json"]).done().json();
    let judged = |row: usize| {
        (json["processes"][row]["verdict"].as_str(), json["processes"][row]["stopped"].as_bool())
    };
    assert_eq!([judged(0), judged(1)], [(Some("alive"), Some(false)), (Some("alive"), Some(true))]);

    stopped.signal(rustix::process::Signal::CONT);
    stopped.end();
    assert!(!run(&database, &["ps"]).done().stdout.contains("stopped"));
    running.end();
    Ok(())
}

#[test]
fn who_has_ended_is_listed_on_demand_with_the_reapers_reasons() -> TestResult {
    let database = Database::new(&[])?;
    let polite = Server::start(&database, &["--name", "polite"]);
    polite.end();
    let mut crashed = Server::start(&database, &["--name", "crashed"]);
    crashed.crash();
    run(&database, &["reap"]).done();
    let listed = run(&database, &["ps"]).done().stdout;
    assert_eq!(listed, "no processes are registered\n", "as before");

    let running = Server::start(&database, &["--name", "running"]);
    let ran = run(&database, &["ps", "--all"]).done();
    let ended: Vec<&str> = ran.stdout.split("\n\n").last().unwrap_or_default().lines().collect();
    assert_eq!(ended.len(), 3, "{ran:?}");
    assert_eq!(
        ended[0].split_whitespace().collect::<Vec<_>>(),
        ["PID", "NAME", "VERSION", "RAN", "ENDED", "STATE", "WHY"]
    );
    let gone = format!("exited: there is no PID {}; forgotten, by PID ", crashed.pid());
    assert!(
        ended[1].contains("crashed") && ended[1].contains(&gone),
        "the last one to end comes first: {ran:?}"
    );
    assert!(ended[2].contains("polite") && ended[2].ends_with("it deregistered"), "{ran:?}");

    let json = run(&database, &["ps", "--all", "--json"]).done().json();
    assert_eq!((&json["processes"][0]["name"], &json["processes"][1]), (&"running".into(), &Value::Null));
    let (first, second) = (&json["ended"][0], &json["ended"][1]);
    assert_eq!((&first["state"], &first["reaped"]["verdict"]), (&"exited".into(), &"exited".into()));
    assert_eq!(first["reaped"]["outcome"], "forgotten");
    assert_eq!((&second["state"], &second["reaped"]), (&"ended".into(), &Value::Null));
    assert!(second["ended_at"].is_string());
    assert!(run(&database, &["ps", "--json"]).done().json().get("ended").is_none());
    running.end();
    Ok(())
}

#[test]
fn it_is_said_when_more_servers_are_registered_than_there_should_be() -> TestResult {
    let database = Database::new(&[("max_processes", "2")])?;
    database.store()?.process_update("writer", &govstore::Update::default())?;
    let mut servers: Vec<Server> = (0..2).map(|_| Server::start(&database, &[])).collect();
    let limits = |command: &[&str]| {
        let json = run(&database, command).json();
        (json["max_processes"].clone(), json["occupants"].clone(), json["over_limit"].clone())
    };
    for command in [&["--json", "ps"][..], &["--json", "health"], &["--json", "health", "--check"]] {
        assert_eq!(limits(command), (2.into(), 2.into(), false.into()), "{command:?}");
    }
    for command in [&["ps"][..], &["health"], &["health", "--check"]] {
        assert!(!run(&database, command).stdout.contains("max_processes"), "{command:?}");
    }
    servers.push(Server::start(&database, &[]));
    let sentence = "3 servers are registered, over max_processes 2; limit_policy is spare: none whose client lives \
                    is ended for it";
    for command in [&["ps"][..], &["health"], &["health", "--check"]] {
        let ran = run(&database, command);
        assert!(ran.stdout.contains(sentence), "{command:?}: {ran:?}");
    }
    for command in [&["--json", "ps"][..], &["--json", "health"], &["--json", "health", "--check"]] {
        assert_eq!(limits(command), (2.into(), 3.into(), true.into()), "{command:?}");
    }
    servers.into_iter().for_each(Server::end);
    Ok(())
}
