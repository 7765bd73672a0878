//! `prune` and `events`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::server::wait_until;
use super::support::Folder;

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
    assert_eq!(ran.stdout, "history_limit is none: every update is kept\n");
    let statistics = || govstore::Store::open(folder.db())?.window_statistics("writer");
    let before = statistics()?;
    assert_eq!(before.history_size, 1_000);

    folder.run(&["config", "set", "history_limit", "2400"]).done();
    let dry = folder.run(&["prune", "--dry-run"]).done();
    assert_eq!(dry.stdout, "100 updates of 1 agent would be removed\n");
    assert_eq!(numbers(&folder), (1, 2_500, 2_500));
    assert_eq!(folder.run(&["prune"]).done().stdout, "100 updates of 1 agent removed\n");
    assert_eq!(numbers(&folder), (101, 2_500, 2_400));

    // A limit below the window: the window stays, and so does what is made from it.
    folder.run(&["config", "set", "history_limit", "5"]).done();
    let json = folder.run(&["--json", "prune"]).done().json();
    assert_eq!((&json["updates"], &json["agents"]), (&1_400.into(), &1.into()));
    assert_eq!(numbers(&folder), (1_501, 2_500, 1_000));
    assert_eq!(statistics()?, before);
    let again = folder.run(&["prune"]).done();
    assert_eq!(again.stdout, "history_limit is 5: there is nothing to remove\n");

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
    assert!(lines[0].starts_with("     1  20") && lines[0].ends_with("  writer  created"), "{ran:?}");
    assert!(lines[1].contains("writer  health – → healthy: Low risk ("), "{ran:?}");
    assert!(lines[2].ends_with("  writer  paused: lunch"), "{ran:?}");
    assert_eq!(folder.run(&["events", "--last", "1"]).done().stdout.lines().collect::<Vec<_>>(), lines[2..]);
    assert_eq!(folder.run(&["events", "--after", "1"]).done().stdout.lines().collect::<Vec<_>>(), lines[1..]);
    assert_eq!(folder.run(&["events", "--last", "9"]).done().stdout, ran.stdout);
    let json = folder.run(&["events", "--json", "--after", "2"]).done().json();
    assert_eq!(json["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["events"][0]["event"], "paused");
    assert_eq!(folder.run(&["events", "--after", "3"]).done().stdout, "");
}
