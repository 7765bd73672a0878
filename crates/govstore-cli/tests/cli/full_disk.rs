//! A full disk: nothing is lost, and work goes on once there is room.
//!
//! The test runs itself again in a mount namespace of its own, where it may mount a small file system.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use super::support::{Folder, Ran, available};

const INSIDE: &str = "GOVSTORE_TEST_SMALL_DISK";
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

#[test]
fn a_full_disk_costs_no_data_and_work_goes_on_when_there_is_room() {
    if env::var_os(INSIDE).is_some() {
        on_the_small_disk();
        return;
    }
    let folder = Folder::new();
    let mount = format!("mount -t tmpfs -o size=64k none {}", folder.path().display());
    if !available("unshare", &[&NAMESPACE[..], &["sh", "-c", &mount]].concat()) {
        return;
    }
    let name = "full_disk::a_full_disk_costs_no_data_and_work_goes_on_when_there_is_room";
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(env::current_exe().expect("this test")).args([
        "--exact",
        name,
        "--nocapture",
    ]);
    let ran = Ran::of(command.env(INSIDE, "1"));
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
}

fn on_the_small_disk() {
    let folder = Folder::new();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=768k", "none"])
        .arg(folder.path())
        .status()
        .expect("mount starts");
    assert!(mounted.success(), "{mounted}");
    let filler = folder.file("filler");
    let no_room = ["no room left", "nothing was changed", "Free some space"];

    for _ in 0..5 {
        folder.run(&["update", "writer"]).done();
    }
    let before = rows_of_a_copy(&folder);

    // Not a byte is free: no command can work, none does harm.
    fill(&filler, 0);
    for arguments in [
        &["update", "writer"][..],
        &["update", "newcomer"],
        &["pause", "writer"],
        &["config", "set", "history_limit", "5"],
    ] {
        folder.run(arguments).refused(1, &no_room);
    }
    let ran = folder.run(&["--json", "update", "writer"]).refused(1, &no_room);
    assert_eq!(ran.json()["success"], false);
    let new = folder.file("new.db");
    let new = new.to_str().expect("a readable path");
    folder.run(&["--db", new, "update", "writer"]).refused(1, &no_room);
    assert_eq!(rows_of_a_copy(&folder), before);

    // It fills up in the middle: what was printed as applied is there, and nothing else.
    fill(&filler, 200 << 10);
    let lines = folder.run_with_input(&["--json", "apply", "-"], "{\"agent_id\":\"writer\"}\n".repeat(3_000));
    let lines = lines.refused(1, &no_room).json_lines();
    assert_eq!(lines.len(), 3_000);
    let applied = lines.iter().filter(|line| line["success"] == true).count();
    assert!((1..3_000).contains(&applied), "{applied} were applied");
    let totals = |rows: &[String]| rows.iter().filter(|row| row.starts_with("agent_updates")).count();
    assert_eq!(totals(&rows_of_a_copy(&folder)), 5 + applied);

    // There is room again.
    fs::remove_file(&filler).expect("it was written");
    let report = folder.run(&["--json", "update", "writer"]).done().json();
    assert_eq!(report["metrics"]["total_updates"], 5 + applied + 1);
    folder.run(&["--db", new, "update", "writer"]).done();
    folder.run(&["update", "newcomer"]).done();
    let check: String =
        folder.sql().query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(check, "ok");
}

/// Makes a file as large as fits, but for `spare_bytes`.
fn fill(path: &Path, spare_bytes: u64) {
    let mut file = File::create(path).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}
    let size = file.metadata().expect("a size").len();
    file.set_len(size.saturating_sub(spare_bytes)).expect("a shorter file");
}

/// Every row of agents, updates and events, read from a copy on another disk. A copy, since SQLite can't
/// open the database itself without some room.
fn rows_of_a_copy(folder: &Folder) -> Vec<String> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in folder.snapshot().0 {
        if name != "filler" {
            fs::write(copy.path().join(name), bytes).expect("a copy");
        }
    }
    let conn = Connection::open(copy.path().join("governance.db")).expect("the copy");
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(check, "ok");
    let mut rows = Vec::new();
    for table in ["agents", "agent_updates", "agent_events", "settings"] {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let columns = statement.column_count();
        let found = statement
            .query_map([], |row| {
                let values: Result<Vec<rusqlite::types::Value>, _> =
                    (0..columns).map(|n| row.get(n)).collect();
                Ok(format!("{table} {:?}", values?))
            })
            .expect("rows");
        rows.extend(found.map(|row| row.expect("a row")));
    }
    rows
}
