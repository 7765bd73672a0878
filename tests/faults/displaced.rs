//! The database, its log or its index is moved, deleted or replaced under live processes: they notice, say so, end,
//! and write nothing that nobody will see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use govstore::{Durability, Error, ProcessInfo, Store, Update};
use rusqlite::Connection;

use govstore_testkit::{Database, Server, TestResult, wait_until};

/// A name beside the database's.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn assert_displaced<T: std::fmt::Debug>(outcome: govstore::Result<T>, file: &Path) {
    match outcome {
        Err(Error::Displaced { path }) => assert_eq!(path, file),
        other => panic!("{other:?}"),
    }
}

/// The number of updates in a file that nobody has open, with its log.
fn updates_in(path: &Path) -> rusqlite::Result<i64> {
    let conn = Connection::open(path)?;
    let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(integrity, "ok");
    conn.query_row("SELECT total_updates FROM agents WHERE agent_id = 'a'", [], |row| row.get(0))
}

fn update(store: &Store) -> govstore::Result<i64> {
    Ok(store.process_update("a", &Update::default())?.metrics.total_updates)
}

#[test]
fn a_moved_database_takes_no_more_writes_until_it_is_put_back() -> TestResult {
    let database = Database::new(&[])?;
    let (path, elsewhere) = (database.path(), database.folder().join("elsewhere.db"));
    let store = database.store()?;
    assert_eq!(update(&store)?, 1);
    for round in 1..=3 {
        fs::rename(&path, &elsewhere)?;
        assert_displaced(update(&store), &path);
        assert_displaced(store.agent("a"), &path);
        assert_displaced(store.register(ProcessInfo::new("late", "1")), &path);
        assert_displaced(store.backup_to(database.folder().join("copy.db")), &path);
        fs::rename(&elsewhere, &path)?;
        assert_eq!(update(&store)?, round + 1, "nothing was written in between");
    }
    drop(store);
    assert_eq!(updates_in(&path)?, 4);
    Ok(())
}

#[test]
fn nobody_begins_a_new_database_beside_the_log_of_a_moved_one() -> TestResult {
    let database = Database::new(&[])?;
    let (path, elsewhere) = (database.path(), database.folder().join("elsewhere.db"));
    let store = database.store()?;
    assert_eq!(update(&store)?, 1);
    assert!(fs::metadata(beside(&path, "-wal"))?.len() > 0);
    fs::rename(&path, &elsewhere)?;
    let refused = Store::open(&path).map(drop);
    assert!(matches!(refused, Err(Error::LogWithoutDatabase { .. })), "{refused:?}");
    assert!(!path.exists());
    drop(store); // it must not remove the log either
    assert!(matches!(Store::open(&path).map(drop), Err(Error::LogWithoutDatabase { .. })));
    // Nor one that was emptied, as by a careless `>`.
    fs::write(&path, "")?;
    assert!(matches!(Store::open(&path).map(drop), Err(Error::LogWithoutDatabase { .. })));
    fs::rename(&elsewhere, &path)?;
    assert_eq!(updates_in(&path)?, 1, "put back, it has everything");
    Ok(())
}

/// If it can't be found again, a backup takes its place, and what is left of its log is kept with the old name.
#[test]
fn a_backup_can_be_restored_where_only_the_log_is_left() -> TestResult {
    let database = Database::new(&[])?;
    let (path, copy) = (database.path(), database.folder().join("copy.db"));
    let store = database.store()?;
    assert_eq!(update(&store)?, 1);
    store.backup_to(&copy)?;
    assert_eq!(update(&store)?, 2);
    fs::remove_file(&path)?;
    drop(store);
    let log = fs::read(beside(&path, "-wal"))?;
    govstore::restore(&copy, &path)?;
    assert_eq!(updates_in(&path)?, 1);
    let kept = fs::read_dir(database.folder())?.filter_map(|entry| Some(entry.ok()?.path())).find(|file| {
        file.to_string_lossy().contains(".replaced-") && fs::read(file).is_ok_and(|kept| kept == log)
    });
    assert!(kept.is_some(), "the log was thrown away");
    Ok(())
}

#[test]
fn a_replaced_database_is_not_written_by_those_who_had_the_old_one() -> TestResult {
    let database = Database::new(&[])?;
    let (path, copy) = (database.path(), database.folder().join("copy.db"));
    let store = database.store()?;
    assert_eq!(update(&store)?, 1);
    store.backup_to(&copy)?;
    assert_eq!(update(&store)?, 2);
    let before = fs::read(&copy)?;
    fs::rename(&copy, &path)?; // as a careless person would
    assert_displaced(update(&store), &path);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_displaced(store.agent("a"), &path)); // on connections that are yet to be made
        }
    });
    drop(store);
    assert!(fs::read(&path)? == before, "the new file was written into");
    Ok(())
}

/// Whoever deletes the log of a live database loses nothing if its processes end in good order.
#[test]
fn a_deleted_log_is_noticed_and_folded_in_by_the_last_to_leave() -> TestResult {
    let database = Database::new(&[])?;
    let path = database.path();
    let wal = beside(&path, "-wal");
    let stores = [database.store()?, database.store()?];
    for round in 0..20 {
        assert_eq!(update(&stores[round % 2])?, i64::try_from(round)? + 1);
    }
    fs::remove_file(&wal)?;
    let mut acknowledged = 20;
    for store in &stores {
        let refused = loop {
            match update(store) {
                Ok(total) => acknowledged = total, // it looks every few milliseconds
                Err(refused) => break refused,
            }
        };
        assert_displaced::<()>(Err(refused), &wal);
    }
    assert!(Store::open(&path).is_err(), "what a newcomer sees has no meaning");
    drop(stores);
    assert_eq!(updates_in(&path)?, acknowledged);
    Ok(())
}

#[test]
fn a_deleted_index_is_noticed_and_newcomers_lose_nothing_by_it() -> TestResult {
    let database = Database::new(&[])?;
    let path = database.path();
    let store = database.store()?;
    assert_eq!(update(&store)?, 1);
    fs::remove_file(beside(&path, "-shm"))?;
    std::thread::sleep(Duration::from_millis(20)); // it looks every 10 ms
    assert_displaced(update(&store), &beside(&path, "-shm"));

    // A newcomer has an index of its own, and sees everything. It is killed: its updates are in the log alone.
    let mut newcomer = Server::start(&database, &["--agent", "a", "--every", "1"]);
    let acknowledged: i64 = newcomer.expect_line("updated").parse()?;
    assert!(acknowledged >= 2);
    newcomer.crash();
    drop(store); // the last to leave, with an index that knows nothing of the newcomer
    assert!(updates_in(&path)? >= acknowledged);
    Ok(())
}

/// With the folder go all files, and the log of the one goes with it.
#[test]
fn a_moved_folder_is_noticed_and_nothing_is_left_behind() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here)?;
    let store = Store::options().durability(Durability::Normal).open(here.join("governance.db"))?;
    assert_eq!(update(&store)?, 1);
    fs::rename(&here, &there)?;
    assert_displaced(update(&store), &here.join("governance.db"));
    drop(store);
    assert!(!here.exists());
    assert_eq!(updates_in(&there.join("governance.db"))?, 1);
    Ok(())
}

#[test]
fn a_link_to_the_database_is_as_good_as_its_name() -> TestResult {
    let database = Database::new(&[])?;
    let link = database.folder().join("link.db");
    std::os::unix::fs::symlink(database.path(), &link)?;
    let store = Store::open(&link)?;
    for n in 1..=3 {
        assert_eq!(update(&store)?, n);
        std::thread::sleep(Duration::from_millis(12)); // so that the log is looked at as well
    }
    fs::rename(database.path(), database.folder().join("elsewhere.db"))?;
    assert_displaced(update(&store), &link);
    Ok(())
}

/// An idle server notices by its next heartbeat, says so, and ends: its client can start it again.
#[test]
fn a_linked_server_that_is_idle_says_so_and_ends() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.05")])?;
    let mut command = Command::new(govstore_testkit::test_server());
    let errors = database.folder().join("stderr");
    command.arg(database.path()).stderr(fs::File::create(&errors)?);
    let mut server = Server::launch_command(command).registered();
    fs::rename(database.path(), database.folder().join("elsewhere.db"))?;
    assert_eq!(server.wait().code(), Some(1));
    let said = fs::read_to_string(&errors)?;
    assert!(said.contains("moved, deleted or replaced"), "{said}");
    Ok(())
}

#[test]
fn a_server_whose_database_is_gone_says_so_and_ends() -> TestResult {
    for file in ["", "-wal", "-shm"] {
        for is_deleted in [true, false] {
            let database = Database::new(&[("heartbeat_interval_s", "0.05")])?;
            let path = database.path();
            let mut server = Command::new(govstore_testkit::govstore())
                .arg("--db")
                .arg(&path)
                .arg("serve")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            let store = database.store()?;
            wait_until("the server to register", || store.processes().is_ok_and(|rows| rows.len() == 1));
            let lost = beside(&path, file);
            if is_deleted {
                fs::remove_file(&lost)?;
            } else {
                fs::write(beside(&path, "-new"), "somebody else's")?;
                fs::rename(beside(&path, "-new"), &lost)?;
            }
            wait_until("the server to end", || server.try_wait().is_ok_and(|status| status.is_some()));
            let output = server.wait_with_output()?; // its stdin was open all the time
            assert_eq!(output.status.code(), Some(1), "{lost:?}");
            let said = String::from_utf8(output.stderr)?;
            let sentence = format!("govstore: {} was moved, deleted or replaced", lost.display());
            assert!(said.contains(&sentence), "{said}");
        }
    }
    Ok(())
}
