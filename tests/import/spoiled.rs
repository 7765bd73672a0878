//! Imports that fail, and what they leave of a file: a row spoils one, in SQLite's own words; another was to make a
//! new database.

use std::fs;
use std::io;

use govstore::{Error, ImportOptions, Store};
use govstore_testkit::TestResult;
use serde_json::json;

use crate::{Setup, entry, entry_with, export};

#[test]
fn an_import_that_fails_on_its_last_row_leaves_nothing_behind() -> TestResult {
    let setup = Setup::with_agents(&json!({
        "a": entry_with("lifecycle_events", json!([{ "event": "created", "timestamp": "2025-11-19T20:41:09" }])),
        "z": entry(),
    }))?;
    setup.put("a.json", &export("a", &[0.0]))?;
    setup.put("z.json", &export("z", &[0.0, 0.5, 0.5]))?;
    setup
        .database
        .execute("CREATE UNIQUE INDEX once ON agent_updates (void_integral) WHERE void_integral = 0.5")?;
    let refused = setup.import();
    let spoils = "UNIQUE constraint failed: agent_updates.void_integral";
    assert!(matches!(&refused, Err(Error::Constraint { rule }) if rule == spoils), "{refused:?}");
    assert_eq!(setup.rows()?, 0);

    setup.database.execute("DROP INDEX once")?;
    assert_eq!(setup.import()?.imported.len(), 2);
    assert_eq!(setup.rows()?, 7);
    Ok(())
}

#[test]
fn a_database_that_cannot_be_filled_is_not_made() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry() }))?;
    let found = ImportOptions::new().read(setup.data())?;
    let target = setup.database.folder().join("new.db");
    let refused = Store::options().create_with(&target, |store| {
        assert!(!target.exists(), "nobody sees it before it is whole");
        store.import_v1_folder(&found)?;
        store.agent("nobody")
    });
    assert!(matches!(refused, Err(Error::AgentNotFound { .. })), "{refused:?}");
    let left = |setup: &Setup| -> io::Result<Vec<_>> {
        let names = fs::read_dir(setup.database.folder())?.map(|entry| Ok(entry?.file_name()));
        let names: io::Result<Vec<_>> = names.collect();
        Ok(names?.into_iter().filter(|name| !name.to_string_lossy().starts_with("governance")).collect())
    };
    assert_eq!(left(&setup)?, ["data"]);

    // A store that somebody keeps would go on writing into a file that has another name by then.
    let mut kept = None;
    let refused = Store::options().create_with(&target, |store| {
        kept = Some(store.clone());
        store.import_v1_folder(&found)
    });
    assert!(matches!(refused, Err(Error::CannotCreate { .. })), "{refused:?}");
    drop(kept);
    assert_eq!(left(&setup)?, ["data"]);

    let made = Store::options().create_with(&target, |store| store.import_v1_folder(&found))?;
    assert_eq!(made.map(|report| report.imported.len()), Some(1));
    let mut names = left(&setup)?;
    names.sort();
    assert_eq!(names, ["data", "new.db"]);
    assert_eq!(Store::options().create(false).open(&target)?.agent("a")?.agent_id, "a");

    // What is there already is left to others, and so is a name beside which there is a log.
    assert!(Store::options().create_with(&target, |_| Ok(()))?.is_none());
    fs::write(setup.database.folder().join("other.db-wal"), "a log")?;
    assert!(Store::options().create_with(setup.database.folder().join("other.db"), |_| Ok(()))?.is_none());
    let nowhere = setup.database.folder().join("nowhere/new.db");
    let refused = Store::options().create_with(&nowhere, |_| Ok(()));
    assert!(matches!(&refused, Err(Error::CannotCreate { path, .. }) if *path == nowhere), "{refused:?}");
    Ok(())
}
