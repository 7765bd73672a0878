//! The files stay small.

use std::fs;

use govstore::{Durability, Store, Update};
use govstore_testkit::TestResult;
use rusqlite::Connection;

/// What the log is cut back to, and room for the transaction that cuts it.
const BOUND: u64 = (8 << 20) + (1 << 20);

#[test]
fn the_log_stays_small_and_shrinks_again_after_a_long_read() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("governance.db");
    let store = Store::options().durability(Durability::Normal).open(&path)?;
    let wal = folder.path().join("governance.db-wal");
    let size = || fs::metadata(&wal).map(|metadata| metadata.len());
    let update = |count| -> govstore::Result<()> {
        for _ in 0..count {
            store.process_update("a", &Update::new().parameters(vec![0.5; 128]))?;
        }
        Ok(())
    };

    update(2_000)?;
    assert!(size()? < BOUND, "{} bytes", size()?);

    // A reader that keeps its snapshot keeps the log from starting over.
    let reader = Connection::open(&path)?;
    reader.execute_batch("BEGIN")?;
    let rows: i64 = reader.query_row("SELECT count(*) FROM agent_updates", [], |row| row.get(0))?;
    assert_eq!(rows, 2_000);
    while size()? <= 2 * BOUND {
        update(200)?;
    }
    reader.execute_batch("COMMIT")?;

    update(2_000)?;
    assert!(size()? < BOUND, "{} bytes after the reader was done", size()?);
    Ok(())
}

/// The same rows in a table of schema 2, which kept neither what a risk was made of nor keys.
#[test]
fn an_update_without_a_key_takes_16_bytes_more_than_in_schema_2_at_most() -> TestResult {
    const ROWS: i64 = 20_000;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("today.db");
    let store = Store::options().durability(Durability::Normal).open(&path)?;
    let update = Update::new().response_text("All tests pass; ready for review.").complexity(0.3);
    let updates: Vec<_> = (0..ROWS).map(|n| (format!("agent-{}", n % 10), update.clone())).collect();
    for result in store.process_updates(&updates) {
        result?;
    }
    drop(store);

    let conn = Connection::open(folder.path().join("before.db"))?;
    conn.execute_batch(include_str!("schemas/version_2.sql"))?;
    conn.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM agent_updates")?;
    conn.execute("ATTACH ? AS today", [path.to_str()])?;
    let columns: String = conn.query_row(
        "SELECT group_concat(name) FROM pragma_table_info('agent_updates', 'main')",
        [],
        |row| row.get(0),
    )?;
    conn.execute_batch(&format!(
        "INSERT INTO main.agent_updates ({columns}) SELECT {columns} FROM today.agent_updates ORDER BY rowid"
    ))?;
    let bytes_a_row = |schema: &str| -> TestResult<f64> {
        let sql = format!(
            "SELECT sum(pgsize) / (SELECT count(*) + 0.0 FROM {schema}.agent_updates) FROM dbstat('{schema}')
             WHERE name IN (SELECT name FROM {schema}.sqlite_schema WHERE tbl_name = 'agent_updates')"
        );
        Ok(conn.query_row(&sql, [], |row| row.get(0))?)
    };
    let (today, before) = (bytes_a_row("today")?, bytes_a_row("main")?);
    assert!(before > 100.0 && today - before <= 16.0, "{before} bytes a row, and {today} today");
    Ok(())
}

#[test]
fn a_key_costs_its_row_twice_its_length_and_70_bytes_at_most() -> TestResult {
    const ROWS: u32 = 4_000;

    let folder = tempfile::tempdir()?;
    // The file's size, and how much of it is used.
    let size = |name: &str, key: &dyn Fn(u32) -> Option<String>| -> TestResult<(u64, u64)> {
        let path = folder.path().join(name);
        let store = Store::options().durability(Durability::Normal).open(&path)?;
        let updates = (0..ROWS).map(|n| {
            let mut update = Update::new().response_text("done").parameters([0.5, 0.4, 0.7]);
            update.key = key(n);
            ("agent", update)
        });
        for result in store.process_updates(&updates.collect::<Vec<_>>()) {
            result?;
        }
        drop(store);
        let used = "SELECT sum(pgsize - unused) FROM dbstat";
        Ok((fs::metadata(&path)?.len(), Connection::open(&path)?.query_row(used, [], |row| row.get(0))?))
    };
    let without = size("without.db", &|_| None)?;
    for length in [4_usize, 16, 36, 64, 128, 160, 180, 200] {
        let with = size(&format!("{length}.db"), &|n| Some(format!("{n:0length$}")))?;
        let most = u64::from(ROWS) * (2 * length as u64 + 70);
        let (more, used) = (with.0 - without.0, with.1 - without.1);
        assert!(used <= most, "keys of {length} bytes take {used}, which is more than {most}");
        // Of longer ones fewer go on a page, which leaves up to a tenth of it free.
        assert!(more <= most || length > 128, "keys of {length} bytes make the file {more} larger");
    }
    Ok(())
}
