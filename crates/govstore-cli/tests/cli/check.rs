//! `check` finds what is wrong, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use govstore::CheckStatus;

use super::support::{Folder, Ran, govstore};
use govstore_testkit::{Database, Server, TestResult};

/// The names of the checks that came out so.
fn names(ran: &Ran, status: &str) -> Vec<String> {
    let json = ran.json();
    let checks = json["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 10);
    let named = checks.iter().filter(|check| check["status"] == status);
    named.map(|check| check["name"].as_str().expect("a name").to_owned()).collect()
}

/// A database with three agents of three updates each.
fn sound() -> Folder {
    let folder = Folder::new();
    let line = |agent| format!("{{\"agent_id\":\"{agent}\",\"parameters\":[0.5]}}\n").repeat(3);
    folder.run_with_input(&["apply", "-"], ["writer", "tester", "reader"].map(line).concat()).done();
    folder
}

/// Exactly this check fails, and says so.
#[track_caller]
fn fails(folder: &Folder, name: &str, saying: &str) {
    let ran = folder.run(&["--json", "check"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!(ran.json()["success"], false);
    assert_eq!(names(&ran, "failed"), [name], "{ran:#?}");
    let text = folder.run(&["check"]);
    let line = text.stdout.lines().find(|line| line.starts_with("failed")).expect("a line");
    assert!(line.contains(name) && line.contains(saying), "{line}");
    assert!(text.stdout.ends_with("10 checks: 1 failed\n"), "{}", text.stdout);
}

#[test]
fn a_healthy_database_gives_no_cause_for_concern() -> TestResult {
    let folder = sound();
    folder.run(&["pause", "writer"]).done();
    let ran = folder.run(&["check"]).done();
    assert!(ran.stdout.lines().rev().skip(1).all(|line| line.starts_with("ok ")), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("10 checks: all is well\n"), "{}", ran.stdout);
    assert_eq!(names(&folder.run(&["--json", "check"]).done(), "ok").len(), 10);

    // With servers, and with what another program adds.
    let database = Database::new(&[])?;
    let server = Server::start(&database, &[]);
    database.sql()?.execute_batch("CREATE TABLE _litestream_seq (id INTEGER); ANALYZE")?;
    let ran = Ran::of(govstore().arg("--db").arg(database.path()).args(["--json", "check"])).done();
    assert_eq!(names(&ran, "ok").len(), 10, "{ran:#?}");
    server.end();
    Ok(())
}

#[test]
fn a_flipped_byte_is_found() {
    // One in each of: the kind of a page, the number of its cells, an agent's name in a row of history.
    for place in ["kind", "cells", "row"] {
        let folder = sound();
        let root = folder.number("SELECT rootpage FROM sqlite_schema WHERE name = 'agent_updates'");
        folder.sql().execute_batch("PRAGMA journal_mode = DELETE").expect("nobody else has it open");
        let mut bytes = fs::read(folder.db()).expect("the database");
        let page = 4096 * (usize::try_from(root).unwrap() - 1);
        let at = match place {
            "kind" => page,
            "cells" => page + 3,
            _ => {
                page + bytes[page..page + 4096].windows(6).position(|text| text == b"tester").expect("a row")
            }
        };
        bytes[at] ^= 0x04;
        fs::write(folder.db(), bytes).expect("a file");
        let ran = folder.run(&["--json", "check"]);
        assert_eq!(ran.code, Some(1), "{place}: {ran:#?}");
        assert!(names(&ran, "failed").contains(&"integrity".to_owned()), "{place}: {ran:#?}");
    }
}

/// Whoever has the database open finds it by a check, and nobody opens it any more.
#[test]
fn a_missing_index_is_found() {
    let folder = sound();
    let store = govstore::Store::open(folder.db()).expect("a sound database");
    folder.sql().execute_batch("DROP INDEX agent_events_by_agent").expect("an index");
    let finding = "index agent_events_by_agent is missing";
    assert_eq!(schema_check(&store), (CheckStatus::Failed, finding.to_owned()));
    folder.run(&["check"]).refused(1, &[finding, "put a backup in its place"]);
}

#[test]
fn a_changed_view_is_found_and_one_of_somebody_elses_is_theirs() {
    let folder = sound();
    folder.sql().execute_batch("CREATE VIEW mine AS SELECT 1").expect("a view");
    let ran = folder.run(&["check"]).done();
    assert!(ran.stdout.contains("as the migrations make it; beside it view \"mine\""), "{}", ran.stdout);
    let store = govstore::Store::open(folder.db()).expect("a sound database");
    folder
        .sql()
        .execute_batch("DROP VIEW recent_updates; CREATE VIEW recent_updates AS SELECT 1")
        .expect("a view");
    let finding = "view recent_updates is not as the migrations make it";
    assert_eq!(schema_check(&store), (CheckStatus::Failed, finding.to_owned()));
    folder.run(&["check"]).refused(1, &[finding]);
}

fn schema_check(store: &govstore::Store) -> (CheckStatus, String) {
    let check =
        store.check().into_iter().find(|check| check.name == "schema").expect("a check of the schema");
    (check.status, check.detail)
}

#[test]
fn a_row_that_breaks_a_reference_is_found() {
    let folder = sound();
    let sql = "PRAGMA foreign_keys = OFF;
               INSERT INTO agent_events (agent_id, event, occurred_at)
               VALUES ('nobody', 'paused', '2025-11-19T20:41:09.824Z')";
    folder.sql().execute_batch(sql).expect("a row");
    fails(&folder, "foreign keys", "a row of agent_events refers to a row of agents that is not there");
}

#[test]
fn a_gap_in_the_history_is_found() {
    let folder = sound();
    folder
        .sql()
        .execute_batch("DELETE FROM agent_updates WHERE agent_id = 'tester' AND update_no = 2")
        .unwrap();
    fails(&folder, "history", "1 of the updates 1 to 3 of agent \"tester\" are missing");
    let folder = sound();
    folder
        .sql()
        .execute_batch("DELETE FROM agent_updates WHERE agent_id = 'tester' AND update_no = 3")
        .unwrap();
    fails(&folder, "history", "the newest update of agent \"tester\" is 2, and its total 3");
    // What was pruned is no gap.
    let folder = sound();
    folder
        .sql()
        .execute_batch("DELETE FROM agent_updates WHERE agent_id = 'tester' AND update_no < 3")
        .unwrap();
    folder.run(&["check"]).done();
}

#[test]
fn a_wrong_permission_is_found() {
    let folder = sound();
    fs::set_permissions(folder.db(), Permissions::from_mode(0o644)).unwrap();
    let ran = folder.run(&["check"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains("governance.db is open to other users (mode 0644): chmod 600"),
        "{}",
        ran.stdout
    );
    fs::set_permissions(folder.db(), Permissions::from_mode(0o600)).unwrap();
    folder.run(&["check"]).done();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    fails(&folder, "permissions", "other users may write in");
}

#[test]
fn a_setting_that_makes_no_sense_is_a_warning() {
    let folder = sound();
    folder.run(&["config", "set", "lock_timeout_ms", "0"]).done();
    let ran = folder.run(&["--json", "check"]).done();
    assert_eq!(names(&ran, "warning"), ["settings"]);
    folder.sql().execute_batch("DELETE FROM settings").unwrap();
    folder.run(&["check"]).refused(1, &["the row is gone"]);
}

#[test]
fn a_file_that_was_replaced_under_a_server_is_found() -> TestResult {
    // At its next beat the server would notice, and end.
    let database = Database::new(&[("heartbeat_interval_s", "30")])?;
    let store = database.store()?;
    assert!(store.check().iter().all(|check| check.status == CheckStatus::Ok));
    let mut server = Server::start(&database, &[]);
    server.expect_line("ready"); // a scan of its own would notice as well
    let copy = database.folder().join("copy.db");
    store.backup_to(&copy)?;
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", database.path().display()))?;
    }
    fs::rename(&copy, database.path())?; // as a careless person would
    let ran = Ran::of(govstore().arg("--db").arg(database.path()).arg("check"));
    assert_eq!(ran.code, Some(1));
    let (server_pid, own_pid) = (format!("PID {}", server.pid()), format!("PID {}", std::process::id()));
    assert!(ran.stdout.contains(&server_pid) && ran.stdout.contains(&own_pid), "{}", ran.stdout);
    // And by the one that has the old file.
    let place = store.check().into_iter().find(|check| check.name == "place").ok_or("no such check")?;
    assert_eq!(place.status, CheckStatus::Failed);
    assert!(place.detail.contains("restart them"), "{}", place.detail);
    Ok(())
}

/// A long read keeps the log from being folded in, and is named.
#[test]
fn a_log_that_a_reader_holds_back_is_a_warning_with_its_pid() {
    let folder = sound();
    let reader = folder.sql();
    reader.execute_batch("BEGIN; SELECT * FROM agents").unwrap();
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
               INSERT INTO agent_events (agent_id, event, occurred_at, reason)
               SELECT 'writer', 'paused', '2025-11-19T20:41:09.824Z', hex(zeroblob(2500)) FROM n";
    folder.sql().execute_batch(sql).unwrap();
    let ran = folder.run(&["--json", "check"]).done();
    assert_eq!(names(&ran, "warning"), ["write-ahead log"], "{ran:#?}");
    let own_name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let named = format!("PID {} ({})", std::process::id(), own_name.trim_end());
    assert!(ran.stdout.contains(&named), "{ran:#?}");
    drop(reader);
    folder.run(&["update", "writer"]).done();
    assert_eq!(names(&folder.run(&["--json", "check"]).done(), "warning"), [""; 0]);
}
