//! What `restore` and `backup --force` replace, what they refuse to, and what they say when it fails half way.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;

use super::faulty::FaultyLibrary;
use super::support::{Folder, Ran, available};

/// A folder with a backup of `writer` at one update, and `writer` at two.
fn with_copy() -> (Folder, String) {
    let folder = Folder::with_writer();
    let copy = folder.file("copy.db").to_str().unwrap().to_owned();
    folder.run(&["backup", &copy]).done();
    folder.run(&["update", "writer"]).done();
    (folder, copy)
}

fn updates_in(file: &Path) -> i64 {
    let sql = "SELECT total_updates FROM agents WHERE agent_id = 'writer'";
    Connection::open(file).and_then(|conn| conn.query_row(sql, [], |row| row.get(0))).expect("a database")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// Names that mean something else than a file, each with what it is.
fn no_files(folder: &Folder) -> Vec<(PathBuf, &'static str)> {
    let socket = folder.file("socket.db");
    drop(UnixListener::bind(&socket).expect("a socket"));
    let directory = folder.file("folder.db");
    fs::create_dir(&directory).expect("a folder");
    let link_to_folder = folder.file("link_to_folder.db");
    symlink(&directory, &link_to_folder).expect("a link");
    let dangling = folder.file("dangling.db");
    symlink("nowhere.db", &dangling).expect("a link");
    let mut made = vec![
        (socket, "not a regular file"),
        (directory, "it is a folder"),
        (link_to_folder, "it is a folder"),
        (dangling, "a symbolic link that leads nowhere"),
    ];
    let special = [("pipe.db", "mkfifo", &[][..]), ("device.db", "mknod", &["c", "1", "3"][..])];
    for (name, program, arguments) in special {
        let path = folder.file(name);
        // Nobody but root makes a device.
        let makes = Command::new(program).arg(&path).args(arguments).stderr(Stdio::null()).status();
        if makes.is_ok_and(|status| status.success()) {
            made.push((path, "not a regular file"));
        } else {
            eprintln!("not tried: `{program}` does not work here");
        }
    }
    made
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let (folder, copy) = with_copy();
    for (path, what) in no_files(&folder) {
        let kind = || fs::symlink_metadata(&path).expect("it is there").file_type();
        let (name, before, files) = (path.to_str().unwrap(), kind(), names(folder.path()));
        folder.run(&["--db", name, "restore", &copy]).refused(1, &[what, "nothing was changed"]);
        folder.run(&["backup", "--force", name]).refused(1, &[what, "nothing was written"]);
        folder.run(&["backup", name]).refused(1, &["there is", "already"]);
        assert_eq!((kind(), names(folder.path())), (before, files), "{name}");
    }
    assert_eq!(updates_in(&folder.db()), 2);
}

#[test]
fn what_is_no_file_is_no_backup_either() {
    let (folder, _) = with_copy();
    for (path, _) in no_files(&folder) {
        let ran = folder.run(&["restore", path.to_str().unwrap()]);
        ran.refused(1, &["cannot restore", "nothing was changed"]);
    }
    assert_eq!(updates_in(&folder.db()), 2);
}

#[test]
fn a_restore_through_a_link_replaces_what_it_points_to() {
    let (folder, copy) = with_copy();
    let real = folder.file("real");
    fs::create_dir(&real).unwrap();
    fs::rename(folder.db(), real.join("file.db")).unwrap();
    symlink("real/file.db", folder.file("link.db")).unwrap();
    symlink("link.db", folder.db()).unwrap();
    assert_eq!(folder.number("SELECT total_updates FROM agents"), 2);

    let report = folder.run(&["--json", "restore", &copy]).done().json();
    assert_eq!(report["path"], folder.db().to_str().unwrap());
    let replaced = Path::new(report["replaced"].as_str().unwrap());
    assert_eq!(replaced.parent().unwrap(), fs::canonicalize(&real).unwrap());
    assert!(fs::symlink_metadata(folder.db()).unwrap().is_symlink(), "the link stays");
    assert!(fs::symlink_metadata(folder.file("link.db")).unwrap().is_symlink(), "the link stays");
    assert_eq!((updates_in(&real.join("file.db")), updates_in(replaced)), (1, 2));
    folder.run(&["update", "writer"]).done();
    assert_eq!(updates_in(&real.join("file.db")), 2);
    assert_eq!(names(folder.path()), ["copy.db", "governance.db", "link.db", "real"]);
}

#[test]
fn a_forced_backup_through_a_link_replaces_what_it_points_to() {
    let (folder, copy) = with_copy();
    let elsewhere = Folder::new();
    let link = elsewhere.file("newest.db");
    symlink(&copy, &link).unwrap();
    folder.run(&["backup", link.to_str().unwrap()]).refused(1, &["there is", "already"]);
    let report = folder.run(&["--json", "backup", "--force", link.to_str().unwrap()]).done().json();
    assert_eq!(report["path"], link.to_str().unwrap());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays");
    assert_eq!(updates_in(Path::new(&copy)), 2);
    assert_eq!(names(elsewhere.path()), ["newest.db"]);

    // What the link points to may be in use as a database, or be the database's own log.
    folder.write("copy.db-wal", "a log");
    folder.run(&["backup", "--force", link.to_str().unwrap()]).refused(1, &["a database in use"]);
    let log = folder.write("governance.db-wal", "");
    fs::remove_file(&link).unwrap();
    symlink(&log, &link).unwrap();
    folder.run(&["backup", "--force", link.to_str().unwrap()]).refused(1, &["the database itself"]);
    assert_eq!(updates_in(&folder.db()), 2);
}

/// Other systems don't show who has a file open.
#[cfg(all(target_os = "linux", not(govstore_portable)))]
#[test]
fn who_has_the_database_open_is_named() {
    let (folder, copy) = with_copy();
    let mut follower =
        folder.command(&["events", "--follow"]).stdout(Stdio::null()).spawn().expect("govstore starts");
    let pid = follower.id();
    let open = || fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    govstore_testkit::wait_until("the follower to open the database", || {
        open().any(|file| fs::read_link(file.path()).is_ok_and(|open| open == folder.db()))
    });
    let ran = folder.run(&["restore", &copy]);
    ran.refused(1, &[&format!("is open in PID {pid} (govstore)"), "end it first", "Nothing was changed"]);
    follower.kill().expect("a child of ours");
    follower.wait().expect("it ends");

    // No log, so no lock shows that it is open: what is written there after the swap would be lost.
    folder.sql().execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    let idle = folder.sql();
    assert_eq!(idle.query_row("SELECT total_updates FROM agents", [], |row| row.get(0)), Ok(2));
    let us = format!("is open in PID {} (", std::process::id());
    folder.run(&["restore", &copy]).refused(1, &[&us]);
    assert_eq!(idle.query_row("SELECT total_updates FROM agents", [], |row| row.get(0)), Ok(2));
    drop(idle);

    // Nor has one that is too damaged to be asked.
    let mut bytes = fs::read(folder.db()).unwrap();
    bytes[..16].fill(b'x');
    fs::write(folder.db(), bytes).unwrap();
    let reader = fs::File::open(folder.db()).unwrap();
    folder.run(&["restore", &copy]).refused(1, &[&us]);
    drop(reader);
    folder.run(&["restore", &copy]).done();
    assert_eq!(updates_in(&folder.db()), 1);
}

/// Each fault of a restore, on a file system with and without hard links.
#[test]
fn a_restore_that_fails_half_way_leaves_all_as_it_was() {
    let Some(library) = FaultyLibrary::build() else { return };
    for has_links in [true, false] {
        let (folder, copy) = with_copy();
        let restore = |fault: (&str, &str)| {
            let mut faults = vec![fault];
            if !has_links {
                faults.push(("NO_HARD_LINKS", "1"));
            }
            library.run(&folder, &faults, &["restore", &copy])
        };
        let before = names(folder.path());
        restore(("FAIL_RENAME_FROM", "govstore-partial")).refused(1, &["nothing was changed"]);
        assert_eq!(names(folder.path()), before);
        assert_eq!(updates_in(&folder.db()), 2);

        // It is there, and only a power cut may undo it. So the old one has to be marked all the same.
        let ran = restore(("FAIL_FSYNC_OF_FOLDERS", "1"));
        ran.refused(1, &["is in place", "a power cut may undo it"]);
        assert_eq!(updates_in(&folder.db()), 1);
        let names = names(folder.path());
        let replaced = names.iter().find(|name| name.contains(".replaced-")).expect("the old one");
        let replaced = folder.file(replaced);
        assert_eq!(updates_in(&replaced), 2);
        let ran = folder.run(&["--db", replaced.to_str().unwrap(), "agents"]);
        ran.refused(1, &["was replaced by a restore"]);
        folder.run(&["update", "writer"]).done();
    }
}

/// A log that nobody could fold in is moved aside too, and has to come back.
#[test]
fn the_log_comes_back_too() {
    let Some(library) = FaultyLibrary::build() else { return };
    let (folder, copy) = with_copy();
    fs::remove_file(folder.db()).unwrap();
    let log = folder.write("governance.db-wal", "a log without its database");
    let faults = [("FAIL_RENAME_FROM", "govstore-partial"), ("NO_HARD_LINKS", "1")];
    let ran = library.run(&folder, &faults, &["restore", &copy]);
    ran.refused(1, &["nothing was changed"]);
    assert_eq!(names(folder.path()), ["copy.db", "governance.db-wal"]);
    assert_eq!(fs::read(log).unwrap(), b"a log without its database");
}

/// Without hard links there is a moment without a database. If that is where it ends, one must be told.
#[test]
fn what_could_not_be_put_back_is_said() {
    let Some(library) = FaultyLibrary::build() else { return };
    let (folder, copy) = with_copy();
    let faults = [("FAIL_RENAME_TO", "/governance.db"), ("NO_HARD_LINKS", "1")];
    let ran = library.run(&folder, &faults, &["restore", &copy]);
    let names = names(folder.path());
    let replaced = names.iter().find(|name| name.contains(".replaced-")).expect("the old one");
    assert_eq!(names, ["copy.db", replaced]);
    let db = folder.db();
    let rename = format!("rename {} to {}", folder.file(replaced).display(), db.display());
    let ran = ran.refused(1, &["cannot restore", &rename]);
    assert!(!ran.stderr.contains("nothing was changed"), "{ran:?}");
    fs::rename(folder.file(replaced), &db).unwrap();
    assert_eq!(updates_in(&db), 2);
    folder.run(&["update", "writer"]).done();
}

#[test]
fn a_backup_whose_folder_is_not_on_the_disk_is_said_to_be_there() {
    let Some(library) = FaultyLibrary::build() else { return };
    let (folder, _) = with_copy();
    let new = folder.file("new.db");
    let faults = [("FAIL_FSYNC_OF_FOLDERS", "1")];
    let ran = library.run(&folder, &faults, &["backup", new.to_str().unwrap()]);
    let ran: Ran = ran.refused(1, &["is in place", "a power cut may undo it"]);
    assert!(!ran.stderr.contains("nothing was written"), "{ran:?}");
    assert_eq!(updates_in(&new), 2);
}

#[test]
fn a_backup_that_gets_no_name_leaves_nothing() {
    let Some(library) = FaultyLibrary::build() else { return };
    let (folder, copy) = with_copy();
    let before = names(folder.path());
    let faults = [("FAIL_RENAME_FROM", "govstore-partial"), ("NO_HARD_LINKS", "1")];
    for arguments in [&["backup", "--force", &copy][..], &["backup", folder.file("new.db").to_str().unwrap()]]
    {
        library.run(&folder, &faults, arguments).refused(1, &["nothing was written"]);
        assert_eq!(names(folder.path()), before);
    }
    assert_eq!(updates_in(Path::new(&copy)), 1);
}

#[test]
fn a_special_file_is_told_from_a_file() {
    // What the tests above rest on: that these are what they are meant to be.
    let folder = Folder::new();
    if !available("mkfifo", &["--version"]) {
        return;
    }
    let made = no_files(&folder);
    let kind = |name: &str| fs::symlink_metadata(folder.file(name)).expect("it is there").file_type();
    assert!(kind("pipe.db").is_fifo() && kind("socket.db").is_socket() && kind("dangling.db").is_symlink());
    assert!(made.len() >= 5);
}
