//! A database that is locked, full or gone costs figures, and neither traffic nor the end.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use govstore_testkit::wait_until;
use serde_json::json;

use crate::TestResult;
use crate::client::{Client, answerer};
use crate::tree::Home;

#[test]
fn a_locked_database_holds_nothing_up_and_gets_the_figures_later() -> TestResult {
    let home = Home::new()?;
    home.govstore().args(["config", "set", "heartbeat_interval_s", "0.2"]).output()?;
    let lock = rusqlite::Connection::open(home.database())?;
    lock.execute_batch("BEGIN IMMEDIATE")?;
    let began = Instant::now();
    let mut client = Client::spawn(home.run(&["--name", "files"], &[answerer()]))?;
    client.initialize()?;
    for _ in 0..50 {
        client.call("echo", &json!({}))?;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    lock.execute_batch("ROLLBACK")?;
    let calls = || -> Option<i64> {
        lock.query_row("SELECT sum(calls) FROM tool_calls WHERE server = 'files'", [], |row| row.get(0))
            .ok()?
    };
    wait_until("the figures", || calls() == Some(50));
    let name: String = lock.query_row("SELECT client_name FROM processes", [], |row| row.get(0))?;
    assert_eq!(name, "test-client", "it has registered since");
    assert!(client.hang_up()?.success());
    Ok(())
}

/// It ends in time though its last figures can't be written.
#[test]
fn a_database_that_is_locked_at_the_end_holds_no_end_up() -> TestResult {
    let home = Home::new()?;
    let mut client = Client::spawn(home.run(&[], &[answerer()]))?;
    client.initialize()?;
    wait_until("the database", || home.database().exists());
    let lock = rusqlite::Connection::open(home.database())?;
    wait_until("the row", || lock.query_row("SELECT 1 FROM processes", [], |_| Ok(())).is_ok());
    lock.execute_batch("BEGIN IMMEDIATE")?;
    let began = Instant::now();
    assert!(client.hang_up()?.success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_database_that_is_deleted_is_said_once_and_the_next_one_is_used() -> TestResult {
    let home = Home::new()?;
    home.govstore().args(["config", "set", "heartbeat_interval_s", "0.1"]).output()?;
    let mut command = home.run(&["--name", "files"], &[answerer()]);
    command.stderr(File::create(home.path().join("errors"))?);
    let mut client = Client::spawn(command)?;
    client.initialize()?;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", home.database().display()));
    }
    let errors = || fs::read_to_string(home.path().join("errors")).unwrap_or_default();
    wait_until("a word about it", || {
        errors().contains("runs without a registration and figures of its calls for now")
    });
    for _ in 0..5 {
        assert_eq!(client.call("echo", &json!({}))?["isError"], false);
    }
    wait_until("the next database", || {
        let Ok(next) = rusqlite::Connection::open_with_flags(
            home.database(),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        ) else {
            return false;
        };
        next.query_row("SELECT 1 FROM processes WHERE name = 'files'", [], |_| Ok(())).is_ok()
    });
    assert!(client.hang_up()?.success());
    let errors = errors();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    Ok(())
}

/// A database that can't be opened at all: the server runs, and ends with its client.
#[test]
fn without_a_database_it_still_wraps() -> TestResult {
    let home = Home::new()?;
    let nothing = home.path().join("not a database");
    fs::write(&nothing, "x".repeat(10_000))?;
    for database in ["/no/such/folder/x.db", "/proc/x.db", nothing.to_str().ok_or("a path that is no text")?]
    {
        let mut command = home.run(&[], &[answerer()]);
        command.env("GOVSTORE_DB", database).stderr(File::create(home.path().join("errors"))?);
        let mut client = Client::spawn(command)?;
        client.initialize()?;
        assert_eq!(client.call("echo", &json!({}))?["isError"], false);
        assert!(client.hang_up()?.success());
        let errors = fs::read_to_string(home.path().join("errors"))?;
        assert_eq!(errors.matches("runs without a registration").count(), 1, "{database}: {errors}");
    }
    assert_eq!(fs::read(&nothing)?.len(), 10_000, "and is left as it is");
    home.wait_until_nothing_is_left()?;
    Ok(())
}

/// A client that reads nothing of standard error keeps nobody from ending.
#[test]
fn a_standard_error_that_nobody_reads_holds_no_end_up() -> TestResult {
    let home = Home::new()?;
    let script = "head -c 1000000 /dev/zero >&2 & cat";
    let mut command = home.run_with_graces(["0.2", "0.2"], &[], &["sh", "-c", script]);
    command.env("GOVSTORE_DB", "/no/such/folder/x.db").stderr(std::process::Stdio::piped());
    let mut client = Client::spawn(command)?;
    client.send(r#"{"id":1}"#)?;
    assert_eq!(client.line()?["id"], 1);
    let began = Instant::now();
    client.stdin = None;
    client.child.wait()?;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    home.wait_until_nothing_is_left()?;
    Ok(())
}
