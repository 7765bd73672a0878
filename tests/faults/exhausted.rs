//! No file descriptor, no thread, hardly any memory: a sentence that says so, or the death of one process, and the
//! database as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use rusqlite::Connection;

use govstore_testkit::{Database, TestResult, govstore};

/// The binary, run by a shell that has set a limit first.
fn limited(database: &Database, limit: &str, arguments: &str) -> std::io::Result<Output> {
    let script = format!("ulimit {limit}; exec \"$0\" --db \"$1\" {arguments}");
    Command::new("sh").args(["-c", &script]).arg(govstore()).arg(database.path()).output()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn updates_in(database: &Database) -> rusqlite::Result<usize> {
    let conn = Connection::open(database.path())?;
    let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(integrity, "ok");
    conn.query_row("SELECT coalesce(sum(total_updates), 0) FROM agents", [], |row| row.get(0))
}

#[test]
fn too_few_descriptors_are_told_as_such() -> TestResult {
    let database = Database::new(&[("lock_timeout_ms", "200")])?;
    let (mut refused, mut made) = (0, 0);
    for descriptors in [4, 5, 7, 12, 16] {
        let output = limited(&database, &format!("-n {descriptors}"), "update writer")?;
        if output.status.success() {
            made += 1;
            continue;
        }
        refused += 1;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{descriptors}: {said}");
        let sayings = ["govstore: cannot open", "Too many open files", "ulimit -n"];
        assert!(sayings.iter().all(|saying| said.contains(saying)), "{descriptors}: {said}");
    }
    assert!(refused >= 2 && made >= 2, "{refused} refused, {made} made");
    assert_eq!(updates_in(&database)?, made);
    Ok(())
}

/// Limits on threads bind everybody but root, so it runs as somebody who runs nothing else.
#[test]
fn a_process_that_gets_no_thread_says_so() -> TestResult {
    let somebody = ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"];
    let can_be = Command::new(somebody[0]).args(&somebody[1..]).arg("true").output();
    if !can_be.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this needs root, to be another user");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    let program = folder.path().join("govstore");
    fs::copy(govstore(), &program)?;
    let run = |threads: u32| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={threads}")).args(somebody).arg(&program);
        command.arg("--db").arg(folder.path().join("governance.db")).args(["update", "writer"]).output()
    };
    for threads in 1..=3 {
        let output = run(threads)?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("cannot start a thread"), "{output:?}");
    }
    assert!(run(100)?.status.success());
    Ok(())
}

/// Where memory is short anything may fail, SQLite with a sentence and Rust with an abort. Neither costs an update
/// that was printed.
#[test]
fn too_little_memory_costs_at_most_the_process() -> TestResult {
    const LINES: usize = 20;
    let database = Database::new(&[("lock_timeout_ms", "200")])?;
    let lines = database.folder().join("updates.jsonl");
    // Growing, so that it is in the middle of them that memory runs out.
    let line = |n: usize| {
        let text = "x".repeat(n * 60_000);
        format!("{{\"agent_id\": \"writer\", \"response_text\": \"{text}\"}}\n")
    };
    fs::write(&lines, (0..LINES).map(line).collect::<String>())?;
    let arguments = format!("--json apply {}", lines.display());
    let (mut printed, mut cut_short) = (0, 0);
    for kilobytes in [24_000, 36_000, 200_000] {
        let output = limited(&database, &format!("-v {kilobytes}"), &arguments)?;
        let whole = output.stdout.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let made = whole.filter(|line| line.starts_with(b"{\"success\":true")).count();
        printed += made;
        cut_short += usize::from(made < LINES);
        let stored = updates_in(&database)?;
        assert!((printed..=printed + cut_short).contains(&stored), "{printed} printed, {stored} stored");
        printed = stored;
    }
    assert!(cut_short > 0 && printed > 0, "{cut_short} cut short, {printed} printed");
    Ok(())
}
