//! The scenes about a file, which are SQLite's own: its checkpoints, its migrations, its backups.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::child::{Order, Program};
use crate::fate::{Fate, Together};
use crate::inspection::Ledger;
use crate::scenes::{Deaths, Scene, assert_killed, carry_out, govstore, inspect, succeeds};
use govstore_testkit::{Database, Server, TestResult};

/// A database of the oldest released schema.
const OLD_DATABASE: &str = include_str!("../schemas/version_1.sql");

/// All killed at once, when one of them has begun a checkpoint.
pub fn during_a_checkpoint(database: &Database, ledger: &mut Ledger<'_>) -> Scene {
    let together = Arc::new(Together::default());
    let programs = [Program::Serve, Program::Worker, Program::Server];
    let orders = programs.iter().enumerate().map(|(slot, program)| {
        let fate = Fate::Together("when a checkpoint had begun", Arc::clone(&together));
        Order { program: *program, slot, fate }
    });
    let orders: Vec<Order> = orders.collect();
    let dead = thread::scope(|scope| {
        scope.spawn(|| together.kill_after(programs.len(), || await_checkpoint(&database.path())));
        carry_out(database, orders)
    });
    let cut_off = was_checkpoint_cut_off(&database.path());
    let mut deaths = inspect(ledger, dead)?;
    if cut_off && let Some(death) = deaths.first_mut() {
        "in the middle of a checkpoint".clone_into(death);
    }
    Ok(deaths)
}

/// Waits until somebody writes into the database file itself. In WAL mode that is a checkpoint and nothing else.
fn await_checkpoint(database: &Path) {
    let written = || -> SystemTime { fs::metadata(database).unwrap().modified().unwrap() };
    let before = written();
    let deadline = Instant::now() + Duration::from_mins(1);
    while written() == before {
        assert!(Instant::now() < deadline, "waited too long for a checkpoint");
        thread::sleep(Duration::from_micros(20));
    }
}

/// Whether the last checkpoint was cut off: it had begun to copy more of the log than it had done. Only to be asked
/// of a database that nobody has open.
fn was_checkpoint_cut_off(database: &Path) -> bool {
    // https://sqlite.org/walformat.html: nBackfill and nBackfillAttempted, in the order of this machine.
    let shm = fs::read(format!("{}-shm", database.display())).unwrap();
    let number = |at: usize| u32::from_ne_bytes(shm[at..at + 4].try_into().unwrap());
    number(128) > number(96)
}

/// Whoever opens an old database, or none, brings its schema up to date and dies of it, one after the other.
pub fn during_a_migration() -> Scene {
    const POINT: &str = "during a migration";
    let (old, none) = (Database::unopened()?, Database::unopened()?);
    old.sql()?.execute_batch(OLD_DATABASE)?;
    fs::set_permissions(old.path(), fs::Permissions::from_mode(0o600))?;
    let mut deaths = Deaths::new();
    for (database, version, times) in [(&old, 1, &[1, 1, 1][..]), (&none, 0, &[1, 2])] {
        let openers = times
            .iter()
            .map(|time| govstore(database, &["update", "writer"], Some(&format!("{POINT}:{time}"))));
        for mut opener in openers.collect::<Result<Vec<_>, _>>()? {
            assert_killed(&mut opener);
            deaths.push(POINT.to_owned());
        }
        database.assert_sound()?;
        assert_eq!(database.count("PRAGMA user_version")?, version, "half a migration was kept");
        succeeds(database, &["update", "writer"])?;
        succeeds(database, &["check"])?;
    }
    for (database, updates) in [(&old, 3), (&none, 1)] {
        assert_eq!(updates_of("writer", database)?, updates);
    }
    Ok(deaths)
}

/// A backup dies in the middle, while somebody writes.
pub fn during_a_backup(database: &Database) -> Scene {
    const POINT: &str = "during a backup";
    let mut writer = Server::start(database, &["--agent", "backed-up", "--every", "1"]);
    writer.expect_line("updated");
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    let backup = ["backup", copy.to_str().ok_or("a path that can't be read")?];
    let mut deaths = Deaths::new();
    for _ in 0..2 {
        let mut killed = govstore(database, &backup, Some(POINT))?;
        assert_killed(&mut killed);
        deaths.push(POINT.to_owned());
        assert!(!copy.exists(), "half a backup got its name");
    }
    let acknowledged: i64 = writer.expect_line("updated").parse()?;
    succeeds(database, &backup)?;
    writer.end();
    let left = files_in(folder.path())?;
    assert_eq!(left, std::slice::from_ref(&copy), "what the killed ones had begun goes with the next backup");
    let kept = {
        let backup = Database::unopened()?;
        fs::copy(&copy, backup.path())?;
        updates_of("backed-up", &backup)?
    };
    assert!(kept >= acknowledged, "{acknowledged} updates were acknowledged, {kept} are in the backup");
    Ok(deaths)
}

/// A restore dies before, while and after the database and the backup change places. There is one of both, whole,
/// and the next restore goes through.
pub fn during_a_restore() -> Scene {
    let mut deaths = Deaths::new();
    for (point, restored) in [
        ("during a backup", false), // the copy of the backup that takes the database's place
        ("before a restore's swap", false),
        ("during a restore's swap", false),
        ("after a restore's swap", true),
    ] {
        let database = Database::new(&[])?;
        let copy = database.folder().join("copy.db");
        let copy = copy.to_str().ok_or("a path that can't be read")?;
        succeeds(&database, &["update", "writer"])?;
        succeeds(&database, &["backup", copy])?;
        succeeds(&database, &["update", "writer"])?;

        let mut killed = govstore(&database, &["restore", copy], Some(point))?;
        assert_killed(&mut killed);
        deaths.push(point.to_owned());
        assert_eq!(updates_of("writer", &database)?, if restored { 1 } else { 2 }, "{point}");
        succeeds(&database, &["update", "another"])?;
        succeeds(&database, &["check"])?;
        let names = fs::metadata(database.path())?.nlink();
        assert_eq!(names, 1, "{point}: the next open removes the name that was left over");

        succeeds(&database, &["restore", copy])?;
        assert_eq!(updates_of("writer", &database)?, 1, "{point}");
        succeeds(&database, &["update", "writer"])?;
        succeeds(&database, &["check"])?;
        let left = files_in(database.folder())?;
        let whole = |path: &PathBuf| path.extension().is_none_or(|extension| extension != "govstore-partial");
        assert!(left.iter().all(whole), "{point}: what the killed one had begun is left: {left:?}");
    }
    Ok(deaths)
}

/// The lifetime total of an agent, in a database that must be sound.
fn updates_of(agent: &str, database: &Database) -> TestResult<i64> {
    database.assert_sound()?;
    database.count(&format!("SELECT total_updates FROM agents WHERE agent_id = '{agent}'"))
}

fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}
