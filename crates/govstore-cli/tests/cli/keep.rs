//! `backup --keep`: which backups go, and what is never touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use super::faulty::FaultyLibrary;
use super::support::{Folder, Ran, available};

/// A database, and a folder for its backups.
struct Backups {
    database: Folder,
    folder: PathBuf,
}

impl Backups {
    fn new() -> Self {
        let database = Folder::with_writer();
        let folder = database.file("copies");
        fs::create_dir(&folder).expect("a folder");
        Self { database, folder }
    }

    fn update(&self) {
        self.database.run(&["update", "writer"]).done();
    }

    fn keep(&self, keep: &str) -> Ran {
        self.database.run(&["--json", "backup", "--keep", keep, self.folder.to_str().unwrap()])
    }

    /// The same, of a database that has a second name.
    fn keep_of_two_names(&self, keep: &str) -> Ran {
        let folder = self.folder.to_str().unwrap();
        self.database.run(&["--force-hard-link", "--json", "backup", "--keep", keep, folder])
    }

    /// Makes a backup of the database as it is now, under the name of another time.
    fn make_at(&self, time: &str) -> PathBuf {
        let copy = self.folder.join(format!("governance-{time}.db"));
        self.database.run(&["backup", copy.to_str().unwrap()]).done();
        copy
    }

    /// How many updates each of the backups holds that are left, oldest first.
    fn left(&self) -> Vec<i64> {
        let mut updates: Vec<_> = self.files().iter().map(|file| updates_in(file)).collect();
        updates.sort_unstable();
        updates
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    }
}

fn updates_in(file: &Path) -> i64 {
    let sql = "SELECT total_updates FROM agents WHERE agent_id = 'writer'";
    Connection::open(file).and_then(|conn| conn.query_row(sql, [], |row| row.get(0))).expect("a backup")
}

fn made(ran: &Ran) -> PathBuf {
    ran.json()["path"].as_str().expect("a path").into()
}

fn removed(ran: &Ran) -> Vec<PathBuf> {
    let report = ran.json();
    report["removed"].as_array().expect("a list").iter().map(|path| path.as_str().unwrap().into()).collect()
}

#[test]
fn after_a_clock_that_ran_ahead_the_oldest_still_goes_and_never_the_newest() {
    let backups = Backups::new();
    for time in ["20990101T000000.000Z", "20990102T000000.000Z", "20990103T000000.000Z"] {
        backups.make_at(time);
        backups.update();
    }
    assert_eq!(backups.left(), [1, 2, 3]);
    for (number, left) in [(4, [2, 3, 4]), (5, [3, 4, 5]), (6, [4, 5, 6]), (7, [5, 6, 7])] {
        let ran = backups.keep("3").done();
        assert_eq!(updates_in(&made(&ran)), number);
        assert_eq!(removed(&ran).len(), 1);
        assert_eq!(backups.left(), left);
        backups.update();
    }
}

#[test]
fn the_same_with_a_clock_that_is_really_wrong() {
    let Some(library) = FaultyLibrary::build() else { return };
    let backups = Backups::new();
    let to = backups.folder.to_str().unwrap();
    for _ in 0..3 {
        let month = 30 * 24 * 60 * 60;
        let faults = [("CLOCK_AHEAD_S", &*month.to_string())];
        library.run(&backups.database, &faults, &["backup", "--keep", "3", to]).done();
        backups.update();
    }
    assert_eq!(backups.left(), [1, 2, 3]);
    let ran = backups.keep("3").done();
    assert_eq!(updates_in(&made(&ran)), 4);
    assert_eq!(backups.left(), [2, 3, 4]);
}

/// Nothing was written between them, so that the file says nothing, and any of them is as good as the other.
#[test]
fn of_equal_backups_those_go_whose_names_are_the_oldest() {
    let backups = Backups::new();
    let future = ["20990101T000000.000Z", "20990102T000000.000Z"].map(|time| backups.make_at(time));
    let past = backups.make_at("20200101T000000.000Z");
    let first = backups.keep("3").done();
    assert_eq!(removed(&first), [past]);
    let second = backups.keep("2").done();
    assert_eq!(removed(&second), [made(&first), future[0].clone()]);
    assert!(made(&second).exists() && future[1].exists());
    let third = backups.keep("1").done();
    assert_eq!(backups.files(), [made(&third)]);
}

/// Rows that were removed are no sign of age.
#[test]
fn pruned_history_makes_no_backup_older() {
    let backups = Backups::new();
    backups.database.run(&["apply", &many_updates(&backups.database, 1_200)]).done();
    backups.make_at("20990101T000000.000Z");
    backups.database.run(&["reset", "writer"]).done();
    backups.database.run(&["config", "set", "history_limit", "1"]).done();
    backups.database.run(&["prune", "--vacuum"]).done();
    backups.update();
    assert_eq!(backups.database.number("SELECT count(*) FROM agent_updates"), 2);
    for _ in 0..2 {
        backups.keep("2").done();
    }
    assert_eq!(backups.left(), [1_202, 1_202]);
}

fn many_updates(folder: &Folder, count: usize) -> String {
    folder.write("updates.jsonl", "{\"agent_id\":\"writer\"}\n".repeat(count))
}

/// A restored database goes on from where the backup was, while those of the time that was given up hold more.
#[test]
fn after_a_restore_backups_of_the_time_given_up_go_first() {
    let backups = Backups::new();
    let early = backups.database.file("early.db");
    backups.database.run(&["backup", early.to_str().unwrap()]).done();
    for _ in 0..5 {
        backups.update();
    }
    for _ in 0..3 {
        backups.keep("3").done();
    }
    assert_eq!(backups.left(), [6, 6, 6]);
    backups.database.run(&["restore", early.to_str().unwrap()]).done();
    for left in [[1, 6, 6], [1, 2, 6], [1, 2, 3], [2, 3, 4]] {
        backups.keep("3").done();
        assert_eq!(backups.left(), left);
        backups.update();
    }
}

#[test]
fn what_is_no_backup_of_this_database_is_passed_over() {
    let backups = Backups::new();
    let name = |day: u32| backups.folder.join(format!("governance-202001{day:02}T000000.000Z.db"));
    let elsewhere = Folder::new();

    let folder = name(1);
    fs::create_dir(&folder).unwrap();
    let target = elsewhere.write("precious.db", "precious");
    symlink(&target, name(2)).unwrap();
    symlink("nowhere", name(3)).unwrap();
    fs::write(name(4), "not a database at all, ".repeat(100)).unwrap();
    fs::write(name(5), "").unwrap();
    Connection::open(name(6)).unwrap().execute_batch("CREATE TABLE mine (i)").unwrap();
    let foreign = "PRAGMA application_id = 7; PRAGMA user_version = 3; CREATE TABLE agents (total_updates)";
    Connection::open(name(7)).unwrap().execute_batch(foreign).unwrap();
    let damaged = backups.make_at("20200108T000000.000Z");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[100..108].fill(0xff);
    fs::write(&damaged, bytes).unwrap();
    // One that is in use as a database, and one of another database that has the same name.
    let used = backups.make_at("20200109T000000.000Z");
    let conn = Connection::open(&used).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    conn.execute_batch("UPDATE agents SET notes = 'in use'").unwrap();
    Folder::with_writer().run(&["backup", name(10).to_str().unwrap()]).done();
    let pipe = name(11);
    let has_pipe = available("mkfifo", &["--version"]);
    if has_pipe {
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    // The database itself, by another name.
    let second_name = name(12);
    fs::hard_link(backups.database.db(), &second_name).unwrap();
    fs::write(backups.folder.join("governance-20200101T000000.000Z.db.gz"), "mine").unwrap();

    let before = backups.files().len();
    let first = backups.keep_of_two_names("1").done();
    assert_eq!(removed(&first), Vec::<PathBuf>::new());
    fs::remove_file(&second_name).unwrap(); // so that an update needs no force
    backups.update();
    fs::hard_link(backups.database.db(), &second_name).unwrap();
    let second = backups.keep_of_two_names("1").done();
    assert_eq!(removed(&second), [made(&first)]);
    assert_eq!(backups.files().len(), before + 1);
    assert!(folder.is_dir() && second_name.exists() && (!has_pipe || pipe.exists()));
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

/// A name may have in it what means something else in the address of a file.
#[test]
fn backups_of_a_database_with_a_strange_name_are_kept_in_order_too() {
    let folder = Folder::new();
    let copies = folder.file("copies ?#%41 &mode=rw");
    fs::create_dir(&copies).unwrap();
    let db = folder.file("a?b#c%20d.db");
    let run = |arguments: &[&str]| {
        folder.run(&[&["--json", "--db", db.to_str().unwrap()], arguments].concat()).done()
    };
    run(&["update", "writer"]);
    let mut last = None;
    for _ in 0..3 {
        let ran = run(&["backup", "--keep", "1", copies.to_str().unwrap()]);
        assert_eq!(removed(&ran), last.into_iter().collect::<Vec<_>>());
        last = Some(made(&ran));
        run(&["update", "writer"]);
    }
    assert_eq!(fs::read_dir(&copies).unwrap().count(), 1);
}

#[test]
fn a_backup_that_was_made_is_never_said_not_to_be() {
    let Some(library) = FaultyLibrary::build() else { return };
    let backups = Backups::new();
    let to = backups.folder.to_str().unwrap();
    let old = ["20200101T000000.000Z", "20200102T000000.000Z", "20200103T000000.000Z"]
        .map(|time| backups.make_at(time));
    let faults = [("FAIL_UNLINK", "governance-20200102T")];
    let ran = library.run(&backups.database, &faults, &["backup", "--keep", "1", to]);
    let ran = ran.refused(1, &["was made", "could not be removed", old[1].to_str().unwrap()]);
    assert!(!ran.stderr.contains("nothing was written"), "{ran:?}");
    assert!(!ran.stderr.contains(old[0].to_str().unwrap()), "{ran:?}");
    assert!(old[1].exists() && !old[0].exists() && !old[2].exists(), "the others are removed all the same");
    let new = backups.files().into_iter().find(|file| *file != old[1]).expect("the new one");
    assert!(ran.stderr.contains(new.to_str().unwrap()), "{ran:?}");
    assert_eq!(updates_in(&new), 1);
    assert_eq!(backups.files().len(), 2);
}

#[test]
fn runs_at_the_same_time_never_remove_what_the_other_has_made() {
    let backups = Backups::new();
    for _ in 0..10 {
        let at_once: Vec<_> = (0..4)
            .map(|_| {
                let to = backups.folder.to_str().unwrap();
                let mut run = backups.database.command(&["backup", "--keep", "1", to]);
                run.stdout(Stdio::null()).stderr(Stdio::null()); // two may want the name of one millisecond
                run.spawn().unwrap()
            })
            .collect();
        for mut run in at_once {
            run.wait().expect("it ends");
        }
        assert!(!backups.files().is_empty(), "all of them are gone");
    }
    let last = backups.keep("1").done();
    assert_eq!(backups.files(), [made(&last)]);
    assert_ne!(last.json()["removed"], Value::Array(Vec::new()));
}
