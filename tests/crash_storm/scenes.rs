//! The scenes that a storm is made of. Each returns how its processes died.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rusqlite::Connection;

use crate::child::{CRASH_AT, Order, Program, Remains};
use crate::fate::{CheckpointWatch, Fate, was_checkpoint_cut_off};
use crate::inspection::Ledger;
use govstore_testkit::assert_sound;
use govstore_testkit::{Database, Server, TestResult, wait_until};

/// Causes of death, in words, one for each process.
pub type Deaths = Vec<String>;

type Scene = Result<Deaths, Box<dyn std::error::Error>>;

const CREW: [Program; 5] =
    [Program::Serve, Program::Worker, Program::Server, Program::Serve, Program::Worker];

/// A database of the oldest released schema.
const OLD_DATABASE: &str = include_str!("../schemas/version_1.sql");

/// Some processes at work on the same agents, each killed at an instant or at a point of its own.
pub fn at_random(database: &Database, ledger: &mut Ledger<'_>, random: &mut fastrand::Rng) -> Scene {
    let orders = CREW.iter().enumerate();
    let orders = orders.map(|(slot, program)| Order { program: *program, slot, fate: Fate::random(random) });
    let dead = carry_out(&database.path(), orders.collect());
    inspect(ledger, dead)
}

/// All killed at once, when one of them has begun a checkpoint.
pub fn during_a_checkpoint(database: &Database, ledger: &mut Ledger<'_>) -> Scene {
    let checkpoint_watch = Arc::new(CheckpointWatch::default());
    let programs = [Program::Serve, Program::Worker, Program::Server];
    let orders = programs.iter().enumerate().map(|(slot, program)| {
        let fate = Fate::Together("when a checkpoint had begun", Arc::clone(&checkpoint_watch));
        Order { program: *program, slot, fate }
    });
    let orders: Vec<Order> = orders.collect();
    let dead = thread::scope(|scope| {
        scope.spawn(|| checkpoint_watch.kill_at_next_checkpoint(programs.len(), &database.path()));
        carry_out(&database.path(), orders)
    });
    let cut_off = was_checkpoint_cut_off(&database.path());
    let mut deaths = inspect(ledger, dead)?;
    if cut_off && let Some(death) = deaths.first_mut() {
        "in the middle of a checkpoint".clone_into(death);
    }
    Ok(deaths)
}

fn carry_out(database: &Path, orders: Vec<Order>) -> Vec<Remains> {
    thread::scope(|scope| {
        let lives: Vec<_> =
            orders.into_iter().map(|order| scope.spawn(|| order.carry_out(database))).collect();
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    })
}

fn inspect(ledger: &mut Ledger<'_>, dead: Vec<Remains>) -> Scene {
    let deaths = dead.iter().map(|remains| remains.cause.clone()).collect();
    ledger.bury(dead);
    ledger.inspect()?;
    Ok(deaths)
}

/// Whoever opens an old database, or none, brings its schema up to date and dies of it, one after the other.
pub fn during_a_migration() -> Scene {
    const POINT: &str = "during a migration";
    let database = Database::new(&[])?; // for its folder
    let (old, none) = (database.folder().join("old.db"), database.folder().join("none.db"));
    Connection::open(&old)?.execute_batch(OLD_DATABASE)?;
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600))?;
    let mut deaths = Deaths::new();
    for (path, version, times) in [(&old, 1, &[1, 1, 1][..]), (&none, 0, &[1, 2])] {
        let openers =
            times.iter().map(|time| govstore(path, &["update", "writer"], Some(&format!("{POINT}:{time}"))));
        for mut opener in openers.collect::<Result<Vec<_>, _>>()? {
            assert_killed(&mut opener);
            deaths.push(POINT.to_owned());
        }
        let conn = Connection::open(path)?;
        assert_sound(&conn)?;
        let found: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        assert_eq!(found, version, "half a migration was kept");
        drop(conn);
        succeeds(path, &["update", "writer"])?;
        succeeds(path, &["check"])?;
    }
    for (path, updates) in [(&old, 3), (&none, 1)] {
        assert_eq!(updates_of("writer", path)?, updates);
    }
    Ok(deaths)
}

/// A reaper dies when it has claimed its victim, or has ended it and not said so yet. The next one goes on.
pub fn during_a_reaping() -> Scene {
    let mut deaths = Deaths::new();
    for (point, is_victim_alive) in [("between claim and signal", true), ("between signal and record", false)]
    {
        let database = Database::new(&[])?;
        let mut victim = Server::start(&database, &["--no-heartbeat"]);
        database.age_heartbeat(victim.process_id, 400)?;
        let mut reaper = govstore(&database.path(), &["reap"], Some(point))?;
        assert_killed(&mut reaper);
        deaths.push(point.to_owned());
        assert_eq!(database.state_of(victim.process_id)?, "terminating", "after its second look");
        assert_eq!(victim.has_ended(), !is_victim_alive);

        succeeds(&database.path(), &["reap"])?;
        victim.wait();
        let state = database.state_of(victim.process_id)?;
        assert!(!["running", "terminating"].contains(&state.as_str()), "the victim is {state}");
        assert_eq!(database.ledger_of(victim.process_id)?.len(), 1, "one reaper says so, once");
        assert_sound(&database.sql()?)?;
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
        let mut killed = govstore(&database.path(), &backup, Some(POINT))?;
        assert_killed(&mut killed);
        deaths.push(POINT.to_owned());
        assert!(!copy.exists(), "half a backup got its name");
    }
    let acknowledged: i64 = writer.expect_line("updated").parse()?;
    succeeds(&database.path(), &backup)?;
    writer.end();
    let left = files_in(folder.path())?;
    assert_eq!(left, std::slice::from_ref(&copy), "what the killed ones had begun goes with the next backup");
    let kept = updates_of("backed-up", &copy)?;
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
        succeeds(&database.path(), &["update", "writer"])?;
        succeeds(&database.path(), &["backup", copy])?;
        succeeds(&database.path(), &["update", "writer"])?;

        let mut killed = govstore(&database.path(), &["restore", copy], Some(point))?;
        assert_killed(&mut killed);
        deaths.push(point.to_owned());
        assert_eq!(updates_of("writer", &database.path())?, if restored { 1 } else { 2 }, "{point}");
        succeeds(&database.path(), &["update", "another"])?;
        succeeds(&database.path(), &["check"])?;
        let names = fs::metadata(database.path())?.nlink();
        assert_eq!(names, 1, "{point}: the next open removes the name that was left over");

        succeeds(&database.path(), &["restore", copy])?;
        assert_eq!(updates_of("writer", &database.path())?, 1, "{point}");
        succeeds(&database.path(), &["update", "writer"])?;
        succeeds(&database.path(), &["check"])?;
        let left = files_in(database.folder())?;
        let whole = |path: &PathBuf| path.extension().is_none_or(|extension| extension != "govstore-partial");
        assert!(left.iter().all(whole), "{point}: what the killed one had begun is left: {left:?}");
    }
    Ok(deaths)
}

/// The lifetime total of an agent, in a database that must be sound.
fn updates_of(agent: &str, database: &Path) -> Result<i64, Box<dyn std::error::Error>> {
    let conn = Connection::open(database)?;
    assert_sound(&conn)?;
    let sql = "SELECT total_updates FROM agents WHERE agent_id = ?1";
    Ok(conn.query_row(sql, [agent], |row| row.get(0))?)
}

fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Starts the command, which is to die at a point if one is given.
fn govstore(database: &Path, arguments: &[&str], crash_at: Option<&str>) -> std::io::Result<Child> {
    let mut command = Command::new(govstore_testkit::govstore());
    command.arg("--db").arg(database).args(arguments).env_remove(CRASH_AT);
    if let Some(point) = crash_at {
        command.env(CRASH_AT, point);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

fn succeeds(database: &Path, arguments: &[&str]) -> TestResult {
    let mut child = govstore(database, arguments, None)?;
    wait_until("a command to end", || child.try_wait().unwrap().is_some());
    let status = child.wait()?;
    assert!(status.success(), "{arguments:?}: {status}");
    Ok(())
}

fn assert_killed(child: &mut Child) {
    wait_until("a child to die", || child.try_wait().unwrap().is_some());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
}
