//! Copies between files and servers.

use std::time::Duration;

use govstore::{
    Actor, AgentPatch, CallFigures, Cancellation, CopyProgress, Error, ProcessInfo, Store, Update,
};
use govstore_testkit::{Database, TestResult};
use serde_json::json;

use crate::{database, update};

/// Something in every table that is copied, with what is easily lost on the way.
pub(crate) fn fill(store: &Store) -> TestResult {
    let operator = store.acting_as(Actor::operator());
    operator.set_setting("history_limit", "1000")?;
    operator.set_setting("risk_healthy_max", "0.1234567890123456")?;
    for n in 0..40_u32 {
        let agent_id = format!("агент {n} \u{1f600}'\"\\");
        for at in 0..25_u32 {
            let vector = (0..at % 7).map(|i| f64::from(i) / 3.0 - 1e-17 * f64::from(n));
            let update = Update::new()
                .parameters(vector.collect::<Vec<_>>())
                .response_text(if at % 5 == 0 { "sudo rm -rf / ".repeat(at as usize) } else { "fine".into() })
                .complexity(f64::from(at) / 31.0);
            store.process_update(
                &agent_id,
                &if at % 3 == 0 { update.key(format!("{n}-{at}")) } else { update },
            )?;
        }
    }
    let agent_id = "агент 7 \u{1f600}'\"\\";
    let patch = AgentPatch::new().tags(["b", "a", "1"]).notes("two\r\nlines\u{85}\u{2028}");
    let nested = json!({"z": 1, "a": [1.0, 1e300, -0.0, null]});
    store.patch_agent(agent_id, &patch.attribute("nested", nested))?;
    operator.pause(agent_id, Some("under review"))?;
    store.reset("агент 8 \u{1f600}'\"\\")?;
    operator.archive("агент 9 \u{1f600}'\"\\", None)?;
    store.delete("агент 10 \u{1f600}'\"\\")?;
    for n in 0..3 {
        let registration = store.register(ProcessInfo::new(format!("server {n}"), "1.0"))?;
        for _ in 0..=n {
            store.lock_agent("агент 1 \u{1f600}'\"\\", Some("a migration"))?.release()?;
        }
        update(store, "registered")?;
        registration.deregister()?;
    }
    let mut figures = CallFigures::new("fetch");
    figures.add(Duration::from_micros(1_234), true);
    store.record_calls("files", &[figures])?;
    Ok(())
}

/// Breaks a copy off as soon as it has come so far.
fn break_off(from: &Store, to: &Database, is_far_enough: impl Fn(CopyProgress) -> bool) {
    let cancellation = Cancellation::new();
    let cancelled = from.cancelled_by(&cancellation);
    let copied = cancelled.copy().on_progress(|progress| {
        if is_far_enough(progress) {
            cancellation.cancel();
        }
    });
    let broken_off = copied.to(to.address());
    assert!(matches!(broken_off, Err(Error::Cancelled)), "{broken_off:?}");
}

#[test]
fn everything_goes_to_a_server_and_back() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let file = Database::in_a_file(&[])?;
    fill(&file.store()?)?;
    let there = file.store()?.copy().to(server.address())?;
    let updates = there.tables.iter().find(|table| table.table == "agent_updates").ok_or("a table")?;
    assert_eq!((updates.rows, updates.written), (1_003, 1_003));
    server.store()?; // it is whole
    let back = Database::unopened_file()?;
    let returned = server.store()?.copy().to(back.address())?;
    let digests = |report: &govstore::CopyReport| {
        report.tables.iter().map(|table| (table.table, table.rows, table.digest.clone())).collect::<Vec<_>>()
    };
    assert_eq!(digests(&there), digests(&returned));
    assert!(there.tables.iter().all(|table| table.rows > 0 || table.table == "reap_events"), "{there:?}");
    assert_eq!(file.dump()?, back.dump()?);
    back.assert_sound()?;
    // Nothing is given twice: registry ids, tokens, numbers of updates; and a key is still known.
    let store = server.store()?;
    let newcomer = store.register(ProcessInfo::new("newcomer", "1.0"))?;
    assert!(newcomer.process_id() > 3);
    assert!(store.lock_agent("агент 1 \u{1f600}'\"\\", None)?.token() > 6);
    let keyed = Update::new().parameters(vec![]).response_text("").complexity(0.0).key("0-0");
    assert!(store.process_update("агент 0 \u{1f600}'\"\\", &keyed)?.repeated);
    assert_eq!(update(&store, "агент 0 \u{1f600}'\"\\")?, 26);
    Ok(())
}

#[test]
fn a_copy_goes_from_server_to_server() -> TestResult {
    let (Some(one), Some(other)) = (database()?, database()?) else { return Ok(()) };
    fill(&one.store()?)?;
    one.store()?.copy().to(other.address())?;
    let of_the_copy = |dump: Vec<(String, Vec<serde_json::Value>)>| {
        let is_copied = |table: &str| !matches!(table, "hosts" | "receipts" | "agent_updates");
        dump.into_iter().filter(|(table, _)| is_copied(table)).collect::<Vec<_>>()
    };
    assert_eq!(of_the_copy(one.dump()?), of_the_copy(other.dump()?));
    Ok(())
}

#[test]
fn one_that_was_broken_off_is_gone_on_with_and_brings_over_what_has_changed_since() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let file = Database::in_a_file(&[])?;
    let store = file.store()?;
    let updates: Vec<_> = (0..9_000).map(|n| (format!("agent-{}", n % 3), Update::new())).collect();
    store.process_updates(&updates).into_iter().collect::<govstore::Result<Vec<_>>>()?;

    // Broken off among the updates of the first table that has more than one piece.
    break_off(&store, &server, |progress| progress.table == "agent_updates" && progress.rows > 4_000);
    let refused = server.store().expect_err("it is not whole");
    assert!(matches!(refused, Error::UnfinishedCopy { .. }), "{refused}");
    assert!(refused.to_string().contains("copy again"), "{refused}");

    update(&store, "agent-0")?;
    update(&store, "агент")?;
    break_off(&store, &server, |progress| progress.verifies);
    store.set_setting("history_limit", "1500")?;
    assert!(store.prune()?.updates > 0);
    let report = store.copy().to(server.address())?;
    let written = |name| report.tables.iter().find(|table| table.table == name).map(|table| table.written);
    assert_eq!((written("agent_events"), written("settings")), (Some(0), Some(1)), "{report:?}");
    assert_eq!(update(&server.store()?, "agent-0")?, 3_002);
    assert_eq!(server.count("SELECT count(*) FROM agent_updates WHERE agent_id = 'agent-1'")?, 1_500);
    Ok(())
}

#[test]
fn a_file_has_its_name_once_it_is_whole() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let store = server.store()?;
    fill(&store)?;
    let back = Database::unopened_file()?;
    break_off(&store, &back, |progress| progress.verifies);
    let there = || -> TestResult<Vec<_>> {
        let names = std::fs::read_dir(back.folder())?
            .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    };
    assert!(there()?.iter().all(|name| name.contains("unfinished-copy")), "{:?}", there()?);
    let report = store.copy().to(back.address())?;
    assert!(report.tables.iter().all(|table| table.written == 0), "it was there already: {report:?}");
    assert_eq!(there()?.len(), 1, "{:?}", there()?);
    let again = store.copy().to(back.address());
    assert!(matches!(again, Err(Error::CopyTargetTaken { .. })), "{again:?}");
    Ok(())
}

#[test]
fn a_text_that_postgresql_cannot_hold_is_named_and_the_rest_waits() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let file = Database::in_a_file(&[])?;
    let store = file.store()?;
    update(&store, "writer")?;
    store.patch_agent("writer", &AgentPatch::new().notes("before\0after"))?;
    let refused = store.copy().to(server.address()).expect_err("it has a NUL");
    let Error::CannotHold { row, column, .. } = &refused else { return Err(refused.into()) };
    assert_eq!((row.as_str(), *column), ("agents \"writer\"", "notes"));
    assert!(!refused.to_string().contains("after"), "{refused}");
    store.patch_agent("writer", &AgentPatch::new().notes("before"))?;
    store.copy().to(server.address())?;
    assert_eq!(server.store()?.agent("writer")?.notes, "before");
    Ok(())
}

#[test]
fn what_would_lose_something_is_refused() -> TestResult {
    let (Some(server), Some(taken)) = (database()?, database()?) else { return Ok(()) };
    let file = Database::in_a_file(&[])?;
    let store = file.store()?;
    update(&store, "writer")?;
    update(&taken.store()?, "other")?;
    let onto_taken = store.copy().to(taken.address());
    assert!(matches!(onto_taken, Err(Error::CopyTargetTaken { .. })), "{onto_taken:?}");
    assert_eq!(taken.count("SELECT count(*) FROM agents WHERE agent_id = 'other'")?, 1);
    let of_files = store.copy().to(file.folder().join("copy.db"));
    assert!(matches!(of_files, Err(Error::CopyOfFiles { .. })), "{of_files:?}");

    let registration = store.register(ProcessInfo::new("server", "1.0"))?;
    let in_use = store.copy().to(server.address());
    assert!(matches!(&in_use, Err(Error::CopyInUse { processes, .. }) if processes.len() == 1), "{in_use:?}");
    assert_eq!(
        server.count("SELECT count(*) FROM pg_tables WHERE tablename = 'agents'")?,
        0,
        "nothing was made"
    );
    store.copy().while_in_use(true).to(server.address())?;
    assert_eq!(server.count("SELECT count(*) FROM processes")?, 0, "it uses the file");
    registration.deregister()?;
    Ok(())
}

#[test]
fn a_copy_that_others_have_written_to_is_not_called_whole() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let open_before = server.store()?;
    let file = Database::in_a_file(&[])?;
    let store = file.store()?;
    update(&store, "writer")?;
    let disturbed = store
        .copy()
        .on_progress(|progress| {
            if progress.table == "tool_calls" && !progress.verifies {
                update(&open_before, "intruder").expect("it was open before");
            }
        })
        .to(server.address());
    assert!(matches!(disturbed, Err(Error::CopyDiffers { table: "agents", .. })), "{disturbed:?}");
    assert!(matches!(server.store(), Err(Error::UnfinishedCopy { .. })));
    Ok(())
}
