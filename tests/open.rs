//! Opening a file that others are just setting up, and closing it.

use std::error::Error;
use std::time::Duration;

use govstore::{Store, Update};
use rusqlite::{Connection, TransactionBehavior};

type TestResult = Result<(), Box<dyn Error>>;

#[test]
fn opening_waits_for_whoever_sets_the_file_up() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("governance.db");
    let patience = Duration::from_millis(200);

    // Before the file is in WAL mode, then after: SQLite waits in different ways.
    for journal_mode in ["DELETE", "WAL"] {
        let mut first = Connection::open(&path)?;
        first.pragma_update(None, "journal_mode", journal_mode)?;
        let setting_up = first.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let refused = Store::options().lock_timeout(patience).open(&path);
        match refused {
            Err(govstore::Error::LockTimeout { waited, .. }) => {
                assert!(waited >= patience, "{journal_mode}: gave up after {waited:?}");
            }
            other => panic!("{journal_mode}: {other:?}"),
        }
        setting_up.rollback()?;
    }

    let store = Store::open(&path)?;
    assert_eq!(store.process_update("writer", &Update::default())?.metrics.updates, 1);
    Ok(())
}

#[test]
fn closing_leaves_one_file_with_everything_in_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("governance.db");
    Store::open(&path)?.process_update("writer", &Update::default())?;
    for n in 1..=300 {
        Store::open(&path)?; // closed at once, while the pool's threads may still be at work
        let files: Vec<_> = std::fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
        let names: Vec<_> = files.iter().map(std::fs::DirEntry::file_name).collect();
        assert_eq!(names, ["governance.db"], "round {n}");
    }
    let conn = Connection::open(&path)?;
    assert_eq!(conn.query_row("SELECT total_updates FROM agents", [], |row| row.get::<_, i64>(0))?, 1);
    Ok(())
}
