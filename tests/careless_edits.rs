//! What somebody with the `sqlite3` shell may write without breaking a rule of the schema, and what fuzzing found
//! there: no number makes a store panic, and none makes it forget what it knew.

use std::error::Error as StdError;

use govstore::{Error, ProcessInfo, Store, Update};
use rusqlite::Connection;

type TestResult = Result<(), Box<dyn StdError>>;

#[test]
fn an_agent_that_has_no_number_left_for_an_update_refuses_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("governance.db"))?;
    store.process_update("writer", &Update::default())?;
    let edit = "UPDATE agents SET total_updates = 9223372036854775807, update_count = 9223372036854775807";
    Connection::open(store.path())?.execute_batch(edit)?;
    let before = store.agent("writer")?;
    match store.process_update("writer", &Update::default()) {
        Err(Error::Constraint { rule }) => assert!(rule.contains("\"writer\" is as large"), "{rule}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.agent("writer")?, before);
    assert_eq!(store.history("writer", None)?.len(), 1);
    assert_eq!(store.reset("writer")?.update_count, 0);
    Ok(())
}

#[test]
fn a_process_that_promised_its_next_beat_for_the_end_of_time_is_judged_like_any_other() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("governance.db"))?;
    let registration = store.register(ProcessInfo::new("test", "1"))?;
    for edit in [
        "UPDATE heartbeats SET interval_ms = 9223372036854775807",
        "UPDATE heartbeats SET monotonic_ms = -9223372036854775808, suspected_monotonic_ms = -9223372036854775808",
        "UPDATE processes SET last_activity_monotonic_ms = -9223372036854775808",
        "UPDATE heartbeats SET monotonic_ms = 9223372036854775807",
    ] {
        Connection::open(store.path())?.execute_batch(edit)?;
        let plan = store.reap_plan()?;
        assert_eq!(plan.judgements.len(), 1, "{edit}");
        assert_eq!(plan.judgements[0].verdict, govstore::Verdict::Alive, "{edit}: the caller lives");
        assert_eq!(store.processes()?.len(), 1, "{edit}");
        store.stale_processes()?;
        assert_eq!(registration.beat()?, govstore::Beat::Alive, "{edit}"); // which puts the row right
    }
    Ok(())
}

/// Otherwise the whole registry could not be read.
#[test]
fn a_process_cannot_be_given_an_identity_that_no_process_has() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("governance.db"))?;
    let _registration = store.register(ProcessInfo::new("test", "1"))?;
    let conn = Connection::open(store.path())?;
    for (column, value) in [
        ("pid", "0"),
        ("pid", "4294967297"),
        ("pid_namespace", "-1"),
        ("start_ticks", "-1"),
        ("parent_pid", "0"),
        ("parent_start_ticks", "-1"),
        ("uid", "4294967296"),
    ] {
        let refused = conn.execute_batch(&format!("UPDATE processes SET {column} = {value}"));
        let said = refused.expect_err(&format!("{column} = {value}")).to_string();
        assert!(said.contains(&format!("CHECK constraint failed: {column} ")), "{said}");
    }
    assert_eq!(store.processes()?.len(), 1);
    Ok(())
}
