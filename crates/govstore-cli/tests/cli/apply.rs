//! `apply`: many updates, one a line.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write, pipe};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::TransactionBehavior;

use super::support::{Folder, Ran};

#[test]
fn a_bad_line_is_told_by_its_number_and_the_rest_go_on() {
    let folder = Folder::with_writer();
    folder.run(&["pause", "writer"]).done();
    let mut lines = b"\xef\xbb\xbf{\"agent_id\":\"a\",\"complexity\":null}\r\n".to_vec();
    lines.extend(b"\n  \t\n{\"agent_id\":\"b\",\"parameters\":[1,null],\"response_text\":\"x\"}\n"); // 2, 3, 4
    lines.extend(b"{\"agent_id\":\"a\"\n"); // 5
    lines.extend(b"[1]\n{\"complexity\":1}\n{\"agent_id\":7}\n"); // 6, 7, 8
    lines.extend(b"{\"agent_id\":\"a\",\"complexity\":\"abc\"}\n{\"agent_id\":\"a\",\"colour\":1}\n"); // 9, 10
    lines.extend(b"{\"agent_id\":\"caf\xe9\"}\n"); // 11
    lines.extend(b"{\"agent_id\":\"writer\"}\n{\"agent_id\":\"\"}\n"); // 12, 13
    lines.extend(b"{\"agent_id\":\"a\",\"response_text\":\"");
    lines.extend(vec![b'x'; 17 << 20]); // 14
    lines.extend(b"\"}\n{\"agent_id\":\"b\"}"); // 15, without an end of line
    let reasons = [
        (5, "not JSON"),
        (6, "not a JSON object"),
        (7, "agent_id is missing"),
        (8, "agent_id is not a string"),
        (9, "complexity: invalid type: string \"abc\", expected a number"),
        (10, "unknown field `colour`"),
        (11, "not UTF-8"),
        (12, "\"writer\" is paused"),
        (13, "agent id"),
        (14, "longer than 16 MiB"),
    ];
    let file = folder.write("updates.jsonl", &lines);

    let ran = folder.run(&["--json", "apply", &file]);
    assert_eq!(ran.code, Some(1));
    let results = ran.json_lines();
    let applied: Vec<_> = results.iter().filter(|result| result["success"] == true).collect();
    let refused: Vec<_> = results.iter().filter(|result| result["success"] == false).collect();
    assert_eq!(
        applied.iter().map(|r| r["agent_id"].as_str()).collect::<Vec<_>>(),
        [Some("a"), Some("b"), Some("b")]
    );
    assert_eq!((&results[0], &results[1], &results[12]), (applied[0], applied[1], applied[2]), "in order");
    assert_eq!(refused.len(), reasons.len());
    for (result, (line, reason)) in refused.iter().zip(reasons) {
        assert_eq!(result["line"], line);
        assert!(result["error"].as_str().is_some_and(|error| error.contains(reason)), "{reason}: {result}");
        assert!(ran.stderr.contains(&format!("line {line}: ")), "{}", ran.stderr);
    }
    assert!(ran.stderr.ends_with("3 updates applied, 10 lines refused\n"), "{}", ran.stderr);

    let again = folder.run_with_input(&["apply", "-"], lines);
    assert_eq!(again.code, Some(1));
    assert_eq!(again.stdout.lines().count(), 3, "{}", again.stdout);
    assert_eq!(again.stderr, ran.stderr);
    assert_eq!(folder.number("SELECT sum(total_updates) FROM agents"), 1 + 6);
}

#[test]
fn good_lines_make_no_noise() {
    let folder = Folder::new();
    let file = folder.write("updates.jsonl", "{\"agent_id\":\"a\"}\n{\"agent_id\":\"a\"}\n");
    let ran = folder.run(&["apply", &file]).done();
    assert!(ran.stdout.contains("     2  a  approve, "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("2 updates applied\n"), "{}", ran.stdout);
    assert_eq!(folder.run(&["--json", "apply", &file]).done().json_lines().len(), 2);
    let empty = folder.write("empty.jsonl", "");
    assert_eq!(folder.run(&["--json", "apply", &empty]).done().stdout, "");
}

#[test]
fn each_result_is_there_before_the_next_line_is_sent() {
    let folder = Folder::new();
    let mut child = folder
        .command(&["--json", "apply", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("govstore starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let (printed, results) = mpsc::channel();
    let reader = thread::spawn(move || stdout.lines().try_for_each(|line| printed.send(line)));
    for n in 1..=3 {
        stdin.write_all(b"{\"agent_id\":\"a\"}\n").expect("govstore reads");
        let result =
            results.recv_timeout(Duration::from_secs(30)).expect("a result in time").expect("a line");
        assert!(result.contains(&format!("\"total_updates\":{n}")), "{result}");
        assert_eq!(folder.number("SELECT total_updates FROM agents"), n, "printed before it was committed");
    }
    drop(stdin);
    assert!(child.wait().expect("govstore ends").success());
    reader.join().expect("the reader ends").expect("nobody hung up");
}

#[test]
fn a_reader_that_leaves_costs_no_updates() {
    let folder = Folder::new();
    let lines = "{\"agent_id\":\"a\"}\n".repeat(50);
    let file = folder.write("updates.jsonl", &lines);
    for arguments in [["--json", "apply", &file], ["apply", &file, "--json"]] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let status = folder.command(&arguments).stdout(writer).status().expect("govstore starts");
        assert_eq!(status.code(), Some(0));
    }
    assert_eq!(folder.number("SELECT total_updates FROM agents"), 100);

    // And what went wrong still counts.
    let bad = folder.write("bad.jsonl", lines + "oops\n");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let ran = Ran::of(folder.command(&["apply", &bad]).stdout(writer));
    ran.refused(1, &["line 51: not JSON", "50 updates applied, 1 line refused"]);
}

#[test]
fn a_file_that_cannot_be_read_makes_no_database() {
    let folder = Folder::new();
    folder.run(&["apply", "no-such-file"]).refused(1, &["cannot read no-such-file", "No such file"]);
    let itself = folder.path().to_str().expect("a readable path");
    folder.run(&["apply", itself]).refused(1, &["cannot read", "is a directory"]);
    assert!(!folder.db().exists());
}

#[test]
fn busy_is_told_apart_from_failed() {
    let folder = Folder::with_writer();
    folder.run(&["config", "set", "lock_timeout_ms", "100"]).done();
    let good = folder.write("good.jsonl", "{\"agent_id\":\"writer\"}\n{\"agent_id\":\"other\"}\n");
    let mixed = folder.write("mixed.jsonl", "{\"agent_id\":\"writer\"}\noops\n");
    let mut holder = folder.sql();
    let lock = holder.transaction_with_behavior(TransactionBehavior::Immediate).expect("the write lock");
    folder.run(&["update", "writer"]).refused(4, &["locked"]);
    folder.run(&["pause", "writer"]).refused(4, &["locked"]);
    let ran = folder.run(&["--json", "apply", &good]).refused(4, &["line 1: ", "line 2: ", "locked"]);
    assert_eq!(ran.json_lines().len(), 2);
    folder.run(&["apply", &mixed]).refused(1, &["line 1: ", "locked", "line 2: not JSON"]);
    folder.run(&["agent", "writer"]).done(); // readers don't wait
    drop(lock);
    folder.run(&["update", "writer"]).done();
}

#[test]
fn updates_of_many_appliers_all_arrive() {
    let folder = Folder::new();
    let mut lines = String::new();
    for n in 0..40 {
        let _ = writeln!(lines, "{{\"agent_id\":\"agent-{}\"}}", n % 2); // into a String
    }
    let file = folder.write("updates.jsonl", lines);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| folder.run(&["--json", "apply", &file]).done());
        }
    });
    assert_eq!(folder.number("SELECT sum(total_updates) FROM agents"), 160);
    assert_eq!(folder.number("SELECT count(*) FROM agent_updates"), 160);
}

#[test]
fn memory_is_bounded_on_an_endless_line() {
    let folder = Folder::new();
    // The line alone has more bytes than the process may have in all.
    let script = "ulimit -v 400000; head -c 536870912 /dev/zero | \"$0\" apply -";
    let mut command = Command::new("sh");
    command.args(["-c", script, super::support::GOVSTORE]).env("GOVSTORE_DB", folder.db());
    Ran::of(&mut command).refused(1, &["line 1: longer than 16 MiB", "1 line refused"]);
}
