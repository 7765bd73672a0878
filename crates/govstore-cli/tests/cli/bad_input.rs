//! Files that are no database, are damaged, or belong to others: a clear refusal, and not a byte touched.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::support::{Folder, GOVSTORE, Ran, available};

/// A command of each kind: looks, changes, may create.
const COMMANDS: [&[&str]; 7] = [
    &["agents"],
    &["agent", "writer"],
    &["health"],
    &["update", "writer"],
    &["update", "newcomer"],
    &["pause", "writer"],
    &["config", "set", "history_limit", "5"],
];

/// Every command refuses, says these things, and leaves every file as it is.
#[track_caller]
fn refused_untouched(folder: &Folder, sayings: &[&str]) {
    let before = folder.snapshot();
    let path = folder.db();
    let sayings = [&[path.to_str().expect("a readable path")], sayings].concat();
    for arguments in COMMANDS {
        let ran = folder.run(arguments).refused(1, &sayings);
        assert_eq!((ran.stdout.as_str(), ran.stderr.lines().count()), ("", 1), "{ran:?}");
        assert_eq!(folder.snapshot(), before, "{arguments:?}");
    }
    let file = folder.write("updates.jsonl", "{\"agent_id\":\"writer\"}\n");
    folder.run(&["apply", &file]).refused(1, &sayings);
    fs::remove_file(file).expect("it was written");
    assert_eq!(folder.snapshot(), before);
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let mut noise = b"SQLite format 4\0".to_vec();
    noise.extend((0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    for content in [&b"remember the milk\n"[..], &[0; 8192], &noise, b"SQLite format 3\0"] {
        let folder = Folder::new();
        fs::write(folder.db(), content).expect("a file");
        refused_untouched(&folder, &["is not a SQLite database", "left as it is", "--db"]);
    }
}

#[test]
fn a_truncated_database_is_left_as_it_is() {
    let folder = database();
    let whole = fs::metadata(folder.db()).expect("a file").len();
    for length in [whole - 5000, whole / 2, 4096, 50] {
        let file = fs::File::options().write(true).open(folder.db()).expect("a file");
        file.set_len(length).expect("a shorter file");
        refused_untouched(&folder, &["damaged", "Keep a copy", "backup"]);
    }
}

#[test]
fn damaged_pages_are_left_as_they_are() {
    let folder = database();
    let whole = fs::read(folder.db()).expect("a file");
    let (page_size, root) = {
        let conn = folder.sql();
        let page_size: usize = conn.query_row("PRAGMA page_size", [], |row| row.get(0)).expect("a size");
        let sql = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'agents'";
        (page_size, conn.query_row(sql, [], |row| row.get::<_, usize>(0)).expect("a page"))
    };
    // The header of the first page of `agents`, and the schema.
    for range in [(root - 1) * page_size..(root - 1) * page_size + 8, 100..108] {
        let mut flipped = whole.clone();
        flipped[range].iter_mut().for_each(|byte| *byte ^= 0xff);
        fs::write(folder.db(), flipped).expect("a file");
        let before = folder.snapshot();
        for arguments in [&["agents"][..], &["agent", "writer"], &["update", "writer"], &["pause", "writer"]]
        {
            folder.run(arguments).refused(1, &["damaged", "malformed", "Keep a copy"]);
            assert_eq!(folder.snapshot(), before, "{arguments:?}");
        }
    }
    fs::write(folder.db(), whole).expect("a file");
    folder.run(&["update", "writer"]).done();
}

#[test]
fn flipped_bytes_anywhere_are_never_answered_with_a_crash() {
    let folder = database();
    let whole = fs::read(folder.db()).expect("a file");
    let mut random = fastrand::Rng::with_seed(20_251_119);
    for round in 0..60 {
        let mut flipped = whole.clone();
        for _ in 0..[1, 20, 400][round % 3] {
            let at = random.usize(..flipped.len());
            flipped[at] = random.u8(..);
        }
        for arguments in [&["agents"][..], &["agent", "writer"], &["history", "writer"], &["health"]] {
            fs::write(folder.db(), &flipped).expect("a file");
            let ran = folder.run(arguments);
            match ran.code {
                Some(0) => {} // nothing that this command reads was hit
                Some(1) => assert!(ran.stderr.starts_with("govstore: "), "{ran:?}"),
                _ => panic!("round {round}, {arguments:?}: {ran:?}"),
            }
            assert!(!ran.stderr.contains("panicked"), "{ran:?}");
            assert!(
                fs::read(folder.db()).expect("a file") == flipped,
                "round {round}: a look changed the file"
            );
        }
        fs::write(folder.db(), &flipped).expect("a file");
        let ran = folder.run(&["update", "writer"]);
        assert!(matches!(ran.code, Some(0 | 1)), "round {round}: {ran:?}");
        if ran.code == Some(1) {
            assert!(fs::read(folder.db()).expect("a file") == flipped, "round {round}: {ran:?}");
        }
    }
}

#[test]
fn the_database_of_somebody_else_is_left_as_it_is() {
    for journal_mode in ["DELETE", "WAL"] {
        let folder = Folder::new();
        somebody_elses(&folder, journal_mode);
        refused_untouched(&folder, &["belongs to another application", "left as it is", "--db"]);
    }
}

#[test]
fn so_it_is_while_they_use_it_and_after_they_crashed() {
    let folder = Folder::new();
    somebody_elses(&folder, "WAL");
    let theirs = folder.sql();
    theirs.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("no checkpoint");
    theirs.execute_batch("INSERT INTO notes VALUES ('kept in the -wal file')").expect("a row");
    refused_untouched(&folder, &["belongs to another application"]);
    drop(theirs);
    let wal = folder.file("governance.db-wal");
    assert!(fs::metadata(&wal).expect("a -wal file").len() > 0);
    refused_untouched(&folder, &["belongs to another application"]);
    assert_eq!(folder.number("SELECT count(*) FROM notes"), 2);
}

fn somebody_elses(folder: &Folder, journal_mode: &str) {
    let conn = folder.sql();
    conn.pragma_update(None, "journal_mode", journal_mode).expect("a journal mode");
    conn.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('milk')").expect("a table");
}

#[test]
fn a_newer_schema_is_left_as_it_is() {
    let folder = database();
    folder.sql().pragma_update(None, "user_version", 99).expect("a version");
    refused_untouched(&folder, &["schema version 99", "newer", "upgrade govstore"]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::with_writer();
    let (itself, below) = (folder.path().to_path_buf(), folder.db().join("below.db"));
    for (path, reason) in [
        (itself.as_path(), "is a directory"),
        (below.as_path(), "Not a directory"),
        (Path::new("/dev/null"), "not a regular file"),
        (Path::new("/proc/no-such-folder/x.db"), "there is no folder /proc/no-such-folder"),
    ] {
        let path = path.to_str().expect("a readable path");
        let ran = folder.run(&["--db", path, "update", "writer"]).refused(1, &["cannot", reason]);
        assert!(path.starts_with("/proc") || ran.stderr.contains(path), "{ran:?}");
    }
    folder.run(&["update", "writer"]).done();
}

#[test]
fn a_folder_that_may_not_be_written_is_told() {
    // Permissions don't bind root, so the binary runs as somebody else: the owner of these files, in a user
    // namespace where that is not root.
    if !available("unshare", &["--user", "--map-user=1000", "true"]) {
        return;
    }
    let folder = database();
    let run = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-user=1000", GOVSTORE]).args(arguments);
        Ran::of(command.env("GOVSTORE_DB", folder.db()))
    };
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    let new = folder.file("new.db");
    let new = new.to_str().expect("a readable path");

    chmod(folder.path(), 0o500);
    let before = folder.snapshot();
    run(&["--db", new, "update", "writer"]).refused(1, &["cannot create", new, "Permission denied"]);
    run(&["update", "writer"]).refused(1, &["cannot be written", "permissions of the file and its folder"]);
    chmod(folder.path(), 0o700);
    assert_eq!(folder.snapshot(), before);

    chmod(&folder.db(), 0o400);
    run(&["update", "writer"])
        .refused(1, &["cannot open", "permission denied", "which you may read and write"]);
    run(&["agents"]).refused(1, &["permission denied"]);
    chmod(&folder.db(), 0o600);
    assert_eq!(folder.snapshot(), before, "a look left files behind");
    run(&["update", "writer"]).done();
}

/// A database with enough rows to fill some pages, in one file.
fn database() -> Folder {
    let folder = Folder::with_writer();
    let mut lines = String::new();
    for n in 0..60 {
        let _ = writeln!(lines, "{{\"agent_id\":\"agent-{n}\",\"parameters\":[1,2,3]}}"); // into a String
    }
    let file = folder.write("updates.jsonl", lines);
    folder.run(&["--json", "apply", &file]).done();
    fs::remove_file(file).expect("it was written");
    Connection::open(folder.db())
        .and_then(|conn| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
        .expect("a checkpoint");
    folder
}
