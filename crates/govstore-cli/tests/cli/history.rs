//! `prune` and `events`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use govstore::{Actor, Error, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::Folder;
use govstore_testkit::wait_until;

/// A database in which `writer` has been updated this often, with risks that differ.
fn with_updates(count: u32) -> Folder {
    let folder = Folder::new();
    let line = |n| format!("{{\"agent_id\":\"writer\",\"complexity\":0.{}}}\n", n % 10);
    let lines: Vec<String> = (0..count).map(line).collect();
    folder.run_with_input(&["apply", "-"], lines.concat()).done();
    folder
}

fn numbers(folder: &Folder) -> (i64, i64, i64) {
    let number = |sql: &str| folder.number(sql);
    (
        number("SELECT min(update_no) FROM agent_updates WHERE agent_id = 'writer'"),
        number("SELECT max(update_no) FROM agent_updates WHERE agent_id = 'writer'"),
        number("SELECT count(*) FROM agent_updates WHERE agent_id = 'writer'"),
    )
}

#[test]
fn prune_keeps_what_the_window_needs_and_the_limit_says() -> govstore::Result<()> {
    let folder = with_updates(2_500);
    let ran = folder.run(&["prune"]).done();
    assert_eq!(ran.stdout, "history_limit and history_max_age_days are none: everything is kept\n");
    let statistics = || govstore::Store::open(folder.db())?.window_statistics("writer");
    let before = statistics()?;
    assert_eq!(before.history_size, 1_000);

    folder.run(&["config", "set", "history_limit", "2400"]).done();
    let dry = folder.run(&["prune", "--dry-run"]).done();
    assert_eq!(dry.stdout, "100 updates would be removed, of 1 agent\n");
    assert_eq!(numbers(&folder), (1, 2_500, 2_500));
    assert_eq!(folder.run(&["prune"]).done().stdout, "100 updates removed, of 1 agent\n");
    assert_eq!(numbers(&folder), (101, 2_500, 2_400));

    // A limit below the window: the window stays, and so does what is made from it.
    folder.run(&["config", "set", "history_limit", "5"]).done();
    let json = folder.run(&["--json", "prune"]).done().json();
    assert_eq!((&json["updates"], &json["agents"]), (&1_400.into(), &1.into()));
    assert_eq!(numbers(&folder), (1_501, 2_500, 1_000));
    assert_eq!(statistics()?, before);
    let again = folder.run(&["prune"]).done();
    let stays = "995 updates over history_limit 5 stay: figures are made of each agent's newest 1000 since its last reset";
    assert_eq!(again.stdout, format!("there is nothing to remove\n{stays}\n"));

    // A reset begins a new window.
    folder.run(&["reset", "writer"]).done();
    folder.run(&["update", "writer"]).done();
    folder.run(&["prune"]).done();
    assert_eq!(numbers(&folder), (2_497, 2_501, 5));
    folder.run(&["check"]).done();
    let report = folder.run(&["--json", "update", "writer"]).done().json();
    assert_eq!(report["metrics"]["total_updates"], 2_502);
    Ok(())
}

#[test]
fn prune_gives_room_back_when_asked_to() {
    let folder = with_updates(6_000);
    folder.run(&["reset", "writer"]).done();
    folder.run(&["config", "set", "history_limit", "1"]).done();
    let size = || std::fs::metadata(folder.db()).unwrap().len();
    let before = size();
    folder.run(&["prune"]).done();
    assert_eq!(size(), before);
    let ran = folder.run(&["prune", "--vacuum"]).done();
    assert!(ran.stdout.ends_with(" MB given back\n"), "{ran:?}");
    assert!(size() < before / 2, "{} of {before} bytes", size());
    folder.run(&["check"]).done();
}

#[test]
fn updates_go_on_while_history_is_pruned() {
    let folder = with_updates(3_000);
    folder.run(&["config", "set", "history_limit", "1000"]).done();
    let lines = "{\"agent_id\":\"writer\"}\n".repeat(1_000);
    let writer = thread::scope(|scope| {
        let writer = scope.spawn(|| folder.run_with_input(&["--json", "apply", "-"], lines));
        while !writer.is_finished() {
            folder.run(&["prune"]).done();
        }
        writer.join().expect("no panic").done()
    });
    assert_eq!(writer.json_lines().len(), 1_000);
    folder.run(&["prune"]).done();
    assert_eq!(numbers(&folder), (3_001, 4_000, 1_000));
    folder.run(&["check"]).done();
}

/// `events --follow`, and the lines that it says.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut command = folder.command(&["events", "--follow"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("govstore starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(Duration::from_mins(1)).expect("an event")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_are_shown_as_they_happen_in_other_processes() {
    let folder = Folder::with_writer(); // 1 created, 2 healthy
    let mut follower = Follower::start(&folder, &["--json", "--after", "1"]);
    let first: Value = serde_json::from_str(&follower.next()).expect("JSON");
    assert_eq!((&first["event_id"], &first["health_to"]), (&2.into(), &"healthy".into()));
    assert_eq!(first["health_from"], Value::Null);
    folder.run(&["pause", "writer", "--reason", "lunch\u{1b}[2J"]).done();
    let paused = follower.next();
    assert!(!paused.contains('\u{1b}'), "{paused:?}");
    let paused: Value = serde_json::from_str(&paused).expect("JSON");
    assert_eq!((&paused["event"], &paused["agent_id"]), (&"paused".into(), &"writer".into()));
    assert_eq!(paused["reason"], "lunch\u{1b}[2J");
    folder.run(&["resume", "writer"]).done();
    assert!(follower.next().contains("resumed"));
    let text = "jailbreak, sudo, drop table";
    folder.run(&["update", "writer", "--complexity", "1", "--text", text]).done();
    let critical: Value = serde_json::from_str(&follower.next()).expect("JSON");
    let change = [&critical["event"], &critical["health_from"], &critical["health_to"]];
    assert_eq!(change, ["health_changed", "healthy", "critical"]);

    // SIGTERM ends it. (A test run in the background of a script would have it ignore SIGINT.)
    kill_process(Pid::from_child(&follower.child), Signal::TERM).expect("it runs");
    wait_until("the follower to end", || follower.child.try_wait().expect("a child").is_some());
}

#[test]
fn following_begins_with_what_is_to_come_and_ends_with_its_reader() {
    let folder = Folder::with_writer();
    let mut command = folder.command(&["events", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("govstore starts");
    // It is there once it has the database open.
    let files = format!("/proc/{}/fd", child.id());
    wait_until("the follower to look", || {
        std::fs::read_dir(&files)
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|name| name.ends_with("governance.db-shm")))
    });
    drop(child.stdout.take());
    wait_until("the follower to notice", || child.try_wait().expect("a child").is_some());
    assert!(child.wait().expect("it ended").success());
    let mut complaints = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut complaints).expect("UTF-8");
    assert_eq!(complaints, "");
}

#[test]
fn events_are_listed_for_people_and_for_programs() {
    let folder = Folder::with_writer();
    folder.run(&["pause", "writer", "--reason", "lunch"]).done();
    let ran = folder.run(&["events"]).done();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(
        lines[0].starts_with("     1  20") && lines[0].ends_with("  writer  created by an operator"),
        "{ran:?}"
    );
    assert!(lines[1].contains("writer  health – → healthy: risk "), "{ran:?}");
    assert!(lines[2].ends_with("  writer  paused by an operator: lunch"), "{ran:?}");
    assert_eq!(folder.run(&["events", "--last", "1"]).done().stdout.lines().collect::<Vec<_>>(), lines[2..]);
    assert_eq!(folder.run(&["events", "--after", "1"]).done().stdout.lines().collect::<Vec<_>>(), lines[1..]);
    assert_eq!(folder.run(&["events", "--last", "9"]).done().stdout, ran.stdout);
    let json = folder.run(&["events", "--json", "--after", "2"]).done().json();
    assert_eq!(json["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["events"][0]["event"], "paused");
    assert_eq!(folder.run(&["events", "--after", "3"]).done().stdout, "");
}

#[test]
fn events_and_agents_say_who_did_it() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder::with_writer();
    let store = Store::open(folder.db())?;
    store.acting_as(Actor::client("claude-code 2.1\u{1b}[2J")).pause("writer", Some("a rest"))?;
    store.resume("writer")?; // a program that names nobody
    folder.run(&["archive", "writer", "--reason", "done"]).done();
    folder.sql().execute_batch(
        "INSERT INTO agent_events (agent_id, event, occurred_at) VALUES ('writer', 'reset', '2025-11-19T20:41:09.824Z')",
    )?;

    let events = folder.run(&["events"]).done().stdout;
    for ending in [
        "  writer  paused by a client claude-code 2.1[2J: a rest",
        "  writer  resumed by a library",
        "  writer  archived by an operator: done",
        "  writer  reset", // by hand: nobody is named
    ] {
        assert!(events.lines().any(|line| line.ends_with(ending)), "{ending:?}: {events}");
    }
    let json = folder.run(&["--json", "events"]).done().json();
    let told: Vec<_> = json["events"]
        .as_array()
        .ok_or("no events")?
        .iter()
        .skip(2) // created, healthy
        .map(|event| (event["actor"].as_str(), event["actor_name"].as_str()))
        .collect();
    let client = (Some("client"), Some("claude-code 2.1[2J"));
    assert_eq!(told, [client, (Some("library"), None), (Some("operator"), None), (None, None)]);

    let shown = folder.run(&["agent", "writer"]).done().stdout;
    for part in ["archived by an operator since 2", "  paused   ", "  client claude-code 2.1", "  library"] {
        assert!(shown.contains(part), "{part:?}: {shown}");
    }
    Ok(())
}

#[test]
fn what_an_operator_set_aside_only_an_operator_brings_back() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder::with_writer();
    let store = Store::open(folder.db())?;
    let client = store.acting_as(Actor::client("claude-code 2.1"));
    for (command, status) in [("pause", "paused"), ("archive", "archived")] {
        folder.run(&[command, "writer", "--reason", "lunch"]).done();
        let events = store.events("writer")?.len();
        for other in [&store, &client] {
            for refused in [other.resume("writer"), other.reset("writer")] {
                let error = refused.expect_err("an operator set it aside");
                assert!(matches!(error, Error::SetByOperator { .. }), "{error}");
                let expected = format!("was {status} by an operator (\"lunch\")");
                assert!(error.to_string().contains(&expected), "{error}");
                assert!(error.to_string().ends_with("ask the operator"), "{error}");
            }
        }
        assert_eq!(store.events("writer")?.len(), events, "what is refused leaves no event");
        folder.run(&["resume", "writer"]).done();
    }
    // A pause of a client's is its own to undo, until an operator takes it over.
    client.pause("writer", None)?;
    client.resume("writer")?;
    client.pause("writer", None)?;
    folder.run(&["pause", "writer"]).done();
    assert!(matches!(client.resume("writer"), Err(Error::SetByOperator { .. })));
    // Where nobody is named, as in older rows, anyone can undo it.
    folder.sql().execute_batch("UPDATE agents SET lifecycle_actor = NULL")?;
    client.resume("writer")?;
    Ok(())
}

/// Writes into the ledger as a reaper does, at a time of its own.
fn reaped(folder: &Folder, pid: u32, verdict: &str, outcome: &str) {
    let between = || thread::sleep(Duration::from_millis(5)); // times have milliseconds
    between();
    folder
        .sql()
        .execute(
            "INSERT INTO reap_events (recorded_at, process_id, name, version, pid, boot_id, start_ticks, verdict, evidence,
               claimed_at, signals, took_ms, outcome, reaper_pid)
             VALUES (strftime('%Y-%m-%dT%H:%M:%fZ'), 7, 'editor\u{1b}[2J', '1', ?1, 'boot', 7, ?2, 'its heartbeat is old',
               strftime('%Y-%m-%dT%H:%M:%fZ'), 'TERM CONT', 12, ?3, 99)",
            (pid, verdict, outcome),
        )
        .expect("an entry");
    between();
}

#[test]
fn what_the_reaper_did_is_among_the_events_in_order_of_time() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder::with_writer(); // 1 created, 2 healthy
    reaped(&folder, 4711, "stale", "terminated");
    reaped(&folder, 4712, "suspect", "postponed");
    folder.run(&["pause", "writer", "--reason", "lunch"]).done(); // 3
    for (pid, outcome) in [(1, "killed"), (2, "forgotten"), (3, "continued"), (4, "released"), (5, "denied")]
    {
        reaped(&folder, pid, "stale", outcome);
    }
    let ran = folder.run(&["events"]).done();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3 + 6, "{ran:?}");
    let terminated = r"  PID 4711 (editor\u{1b}[2J) was stale: its heartbeat is old; ended at SIGTERM within 12 ms, by PID 99";
    assert!(lines[2].starts_with("     –  20") && lines[2].ends_with(terminated), "{ran:?}");
    assert!(
        lines[3].ends_with("  writer  paused by an operator: lunch") && lines[4].contains("PID 1 (editor"),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains("4712"), "what is put off is no event: {ran:?}");

    let shown = |arguments: &[&str]| {
        let mut command = vec!["events"];
        command.extend(arguments);
        folder.run(&command).done().stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["--last", "7"]), lines[2..]);
    assert_eq!(shown(&["--last", "1"]), lines[8..]);
    assert_eq!(shown(&["--after", "0"]), lines);
    assert_eq!(shown(&["--after", "1"]), lines[1..]);
    assert_eq!(shown(&["--after", "3"]), lines[4..], "what was done since the event of that number");
    assert_eq!(shown(&["--after", "4"]), lines[9..], "nothing has come after what is still to come");

    // Programs find agents' events as they always were.
    let json = folder.run(&["events", "--json"]).done();
    let store = govstore::Store::open(folder.db())?;
    for event in store.events_after(0, 10)? {
        let event = serde_json::to_string(&event)?;
        assert!(json.stdout.contains(&event), "{event}: {json:?}");
    }
    let act = &json.json()["events"][2];
    assert_eq!((&act["event"], &act["pid"]), (&"reaped".into(), &4711.into()));
    assert_eq!((&act["verdict"], &act["outcome"]), (&"stale".into(), &"terminated".into()));
    assert_eq!((&act["signals"], &act["reaper_pid"]), (&"TERM CONT".into(), &99.into()));
    assert!(act["reap_event_id"].is_i64() && act["event_id"].is_null(), "{act}");

    let follower = Follower::start(&folder, &["--json", "--after", "3"]);
    for _ in 0..5 {
        follower.next();
    }
    reaped(&folder, 4713, "orphaned", "postponed");
    reaped(&folder, 4714, "orphaned", "killed");
    folder.run(&["resume", "writer"]).done();
    let first: Value = serde_json::from_str(&follower.next())?;
    assert_eq!(
        (&first["success"], &first["event"], &first["pid"]),
        (&true.into(), &"reaped".into(), &4714.into())
    );
    assert!(follower.next().contains("resumed"));
    Ok(())
}

#[test]
fn events_of_many_pages_are_in_order_too() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder::with_writer();
    let many = |table: &str| {
        let values = match table {
            "agent_events" => "(agent_id, event, occurred_at) SELECT 'writer', 'reset',",
            _ => {
                "(process_id, name, version, pid, boot_id, start_ticks, verdict, evidence, outcome, reaper_pid, recorded_at)
                 SELECT 7, 'x', '1', 7, 'boot', 7, 'exited', 'why', iif(number % 3 = 0, 'postponed', 'forgotten'), 7,"
            }
        };
        folder.sql().execute_batch(&format!(
            "WITH RECURSIVE step (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM step WHERE number < 2499)
             INSERT INTO {table} {values} strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 day', number || ' seconds') FROM step"
        ))
    };
    many("agent_events")?;
    many("reap_events")?;
    let json = folder.run(&["events", "--json"]).done().json();
    let events = json["events"].as_array().ok_or("events")?;
    let times: Vec<&str> = events
        .iter()
        .filter_map(|event| event["occurred_at"].as_str().or_else(|| event["recorded_at"].as_str()))
        .collect();
    assert_eq!(times.len(), 2 + 2_500 + 1_666);
    assert!(times.is_sorted(), "in order of time");
    let last = folder.run(&["events", "--json", "--last", "2000"]).done().json();
    assert_eq!(last["events"].as_array().ok_or("events")?[..], events[events.len() - 2_000..]);
    Ok(())
}
