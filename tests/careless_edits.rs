//! What somebody may write by hand, in SQL, without breaking a rule of the schema, and what fuzzing found there: no
//! number makes a store panic, and none makes it forget what it knew.

use govstore::{Error, ProcessInfo, Update};
use govstore_testkit::{Database, TestResult};

#[test]
fn an_agent_that_has_no_number_left_for_an_update_refuses_it() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.process_update("writer", &Update::default())?;
    let edit = "UPDATE agents SET total_updates = 9223372036854775807, update_count = 9223372036854775807";
    database.execute(edit)?;
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
    let database = Database::new(&[])?;
    let store = database.store()?;
    let registration = store.register(ProcessInfo::new("test", "1"))?;
    for edit in [
        "UPDATE heartbeats SET interval_ms = 9223372036854775807",
        "UPDATE heartbeats SET monotonic_ms = -9223372036854775808, suspected_monotonic_ms = -9223372036854775808",
        "UPDATE processes SET last_activity_monotonic_ms = -9223372036854775808",
        "UPDATE heartbeats SET monotonic_ms = 9223372036854775807",
    ] {
        database.execute(edit)?;
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
    let database = Database::new(&[])?;
    let store = database.store()?;
    let _registration = store.register(ProcessInfo::new("test", "1"))?;
    let too_long = format!("'{}'", "x".repeat(129));
    let nothing = if database.is_on_a_server() { "''" } else { "char(0)" };
    for (column, value, rule) in [
        ("pid", "0", "pid lies between 1 and 2147483647"),
        ("pid", "4294967297", "pid lies between 1 and 2147483647"),
        ("pid_namespace", "-1", "pid_namespace is not negative"),
        ("start_ticks", "-1", "start_ticks is not negative"),
        ("parent_pid", "0", "parent_pid lies between 1 and 2147483647"),
        ("parent_start_ticks", "-1", "parent_start_ticks is not negative"),
        ("client_name", "''", "client_name has 1 to 128 characters"),
        ("client_version", too_long.as_str(), "client_version has 1 to 128 characters"),
        ("protocol_version", nothing, "protocol_version has 1 to 128 characters"),
        ("uid", "4294967296", "uid lies between 0 and 4294967295"),
    ] {
        let refused = database.execute(&format!("UPDATE processes SET {column} = {value}"));
        let said = refused.expect_err(&format!("{column} = {value}")).to_string();
        assert!(said.contains(rule), "{said}");
    }
    assert_eq!(store.processes()?.len(), 1);
    Ok(())
}
