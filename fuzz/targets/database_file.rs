//! Whatever a database file holds, opening and using it ends in success or in a typed error; a file that is refused as
//! not ours is left as it is, byte for byte, and no file is ever cut or emptied.
//!
//! An input that begins as SQLite files do is the file itself. Any other is a list of changes to a sound database, so
//! that most of it stays sound. From 128 on, its first byte says that they are changes of values, as by somebody with
//! the `sqlite3` shell who has turned the checks off; below, of bytes: four for offset and length, then they.
#![no_main]

use std::fs;
use std::path::Path;

use govstore::{AgentFilter, Error, Store, Update};
use govstore_fuzz::{Scratch, options};
use libfuzzer_sys::fuzz_target;
use rusqlite::Connection;
use rusqlite::types::Value;

/// What the changes are made to, by the first byte of an input.
const SOUND: [&[u8]; 3] = [
    include_bytes!("../seeds/database_file/agents.db"),
    include_bytes!("../seeds/database_file/version_1.db"),
    include_bytes!("../seeds/database_file/processes_and_locks.db"),
];

fuzz_target!(|input: &[u8]| {
    let Some(file) = file(input) else { return };
    let scratch = Scratch::get();
    scratch.clear();
    let path = scratch.database();
    fs::write(&path, &file).expect("room in memory");
    if let Some((128.., changes)) = input.split_first() {
        change_values(&path, changes).expect("what SQLite itself doesn't refuse");
    }
    let file = fs::read(&path).expect("what was just written");

    match options().open(&path) {
        Ok(store) => {
            use_all(&store);
            if input.len() % 4 == 0 {
                drop(store.check()); // reads every page, and what every process of the machine has open
            }
            drop(store);
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            let left = fs::read(&path).expect("the file is still there");
            match refused {
                Error::NotADatabase { .. }
                | Error::ForeignDatabase { .. }
                | Error::SchemaTooNew { .. }
                | Error::Replaced { .. } => assert!(left == file, "{refused}, but it was changed"),
                _ => {}
            }
        }
    }
    let left = fs::metadata(&path).expect("the file is still there").len();
    assert!(left >= file.len() as u64, "it was cut from {} to {left} bytes", file.len());
});

/// The database file that an input stands for; nothing for an empty one.
fn file(input: &[u8]) -> Option<Vec<u8>> {
    if input.starts_with(b"SQLite") {
        return Some(input.to_vec());
    }
    let (first, mut changes) = input.split_first()?;
    let mut file = SOUND[usize::from(*first) % SOUND.len()].to_vec();
    if *first >= 128 {
        return Some(file);
    }
    while let Some(([a, b, c, length], rest)) = changes.split_first_chunk() {
        let offset = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let start = offset % file.len();
        let end = (start + bytes.len()).min(file.len());
        file[start..end].copy_from_slice(&bytes[..end - start]);
        changes = rest;
    }
    Some(file)
}

/// Sets columns to values that nobody of ours would write.
fn change_values(path: &Path, mut changes: &[u8]) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    conn.execute_batch(
        "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF",
    )?;
    let columns = columns(&conn)?;
    let transaction = conn.unchecked_transaction()?;
    while let Some(([column, row, kind, length], rest)) = changes.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let (table, column) = &columns[usize::from(*column) % columns.len()];
        let key = if table == "agent_locks" { "agent_id" } else { "rowid" };
        let one = format!(
            "SELECT {key} FROM {table} LIMIT 1 OFFSET {} % (SELECT max(1, count(*)) FROM {table})",
            row
        );
        // A type that the column doesn't take, a duplicate, a trigger: SQLite goes on refusing those.
        let _ = conn.execute(
            &format!("UPDATE {table} SET \"{column}\" = ?1 WHERE {key} = ({one})"),
            [value(*kind, bytes)],
        );
        changes = rest;
    }
    transaction.commit()
}

/// Every column of every table.
fn columns(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare(
        "SELECT t.name, c.name FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c
         WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY 1, 2",
    )?
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// A value of any type. What identifies a process of this machine is among them, so that the reaper has a look.
fn value(kind: u8, bytes: &[u8]) -> Value {
    let number = || bytes.iter().take(8).fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
    match kind % 12 {
        0 => Value::Null,
        1 => Value::Integer(number()),
        2 => Value::Integer(i64::MAX.wrapping_sub(number())),
        3 => Value::Integer(i64::MIN + number().max(0)),
        4 => Value::Real(f64::from_bits(number().cast_unsigned())),
        5 => Value::Real([f64::INFINITY, -1.0, 1e308, 1.5, -0.0][bytes.len() % 5]),
        6 => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        7 => Value::Text("2025-11-19T20:41:09.824Z".to_owned()),
        8 => Value::Blob(bytes.to_vec()),
        9 => Value::Blob(bytes.repeat(64)),
        10 => Value::Text(
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        ),
        _ => Value::Integer(std::process::id().into()),
    }
}

/// Every kind of call. Only what a sound database must grant is asserted: a damaged one may refuse anything.
fn use_all(store: &Store) {
    let _ = store.settings();
    let agents = store.agents(&AgentFilter::default()).unwrap_or_default();
    for agent in agents.iter().take(4) {
        let id = &agent.agent_id;
        let _ = store.history(id, Some(100));
        let _ = store.events(id);
        let _ = store.window_statistics(id);
        let _ = store.process_update(id, &Update::new().parameters(vec![0.5; 8]));
    }
    let _ = store.process_update("newcomer", &Update::default());
    let _ = store.pause("newcomer", None);
    let _ = store.resume("newcomer");
    let _ = store.reset("newcomer");
    let _ = store.update_agent("newcomer", |agent| {
        agent.notes.push_str("seen");
        Ok::<_, Error>(())
    });
    let _ = store.archive("newcomer", None);
    let _ = store.delete("newcomer");
    let _ = store.health();
    let _ = store.locks();
    let _ = store.processes();
    let _ = store.stale_processes();
    let _ = store.reap_plan(); // judges, and signals nobody
    let _ = store.events_after(0, 100);
    let _ = store.set_setting("history_limit", "1");
    let _ = store.prune();
}
