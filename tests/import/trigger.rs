//! An import that one of its rows spoils: by a trigger, in SQLite's own words.

use govstore::Error;
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
    setup.put("z.json", &export("z", &[0.0, 0.5]))?;
    setup.database.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON agent_updates WHEN NEW.void_integral = 0.5
         BEGIN SELECT RAISE(ABORT, 'no such update'); END",
    )?;
    let refused = setup.import();
    assert!(matches!(&refused, Err(Error::Constraint { rule }) if rule == "no such update"), "{refused:?}");
    assert_eq!(setup.rows()?, 0);

    setup.database.execute("DROP TRIGGER refuse")?;
    assert_eq!(setup.import()?.imported.len(), 2);
    assert_eq!(setup.rows()?, 6);
    Ok(())
}
