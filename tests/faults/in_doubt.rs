//! The disk fails while a commit is under way. Recovery, once every process was killed, brings back whatever of the
//! commit is whole in the log: so an update that was refused must not be there then, and one that may be must be
//! called in doubt.
//!
//! The disk is `failing_disk.c`, loaded into the processes of a test.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use govstore::Durability;
use govstore::Store;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Database, Server, TestResult};

const GOVSTORE: &str = env!("CARGO_BIN_EXE_govstore");

/// The shim, compiled; `None`, and a line on stderr, where that can't be done.
fn shim() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<TempDir>> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("failing_disk.c");
        fs::write(&source, include_str!("failing_disk.c")).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("shim.so")).arg(source).arg("-ldl");
        let compiled = compile.output().is_ok_and(|output| output.status.success());
        compiled.then_some(folder)
    });
    if folder.is_none() {
        eprintln!("skipped: this needs a C compiler, for a disk that fails");
    }
    folder.as_ref().map(|folder| folder.path().join("shim.so"))
}

/// A disk that fails when it is told to.
struct FailingDisk {
    shim: PathBuf,
    trigger: PathBuf,
    hits: PathBuf,
}

impl FailingDisk {
    fn under(database: &Database) -> Option<Self> {
        let folder = database.folder();
        Some(Self { shim: shim()?, trigger: folder.join("trigger"), hits: folder.join("hits") })
    }

    fn load_into(&self, mut command: Command) -> Command {
        command
            .env("LD_PRELOAD", &self.shim)
            .env("FAILING_DISK", &self.trigger)
            .env("FAILING_DISK_HITS", &self.hits);
        command
    }

    /// From now on it fails in this way; see the shim for the words.
    fn fail(&self, how: &str) {
        let written = self.trigger.with_extension("new");
        fs::write(&written, how).unwrap();
        fs::rename(written, &self.trigger).unwrap(); // whole, whenever it is looked at
    }

    fn mend(&self) {
        let _ = fs::remove_file(&self.trigger); // gone if it was to fail once
    }

    /// How many calls have failed so far.
    fn failures(&self) -> u64 {
        fs::metadata(&self.hits).map_or(0, |hits| hits.len())
    }

    fn run(&self, database: &Database, arguments: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(GOVSTORE);
        command.arg("--db").arg(database.path()).args(arguments).stdin(Stdio::null());
        self.load_into(command).output()
    }

    fn worker(&self, database: &Database, options: &[&str]) -> Server {
        Server::launch_command(self.load_into(Server::worker_command(database, options))).registered()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How many updates there are, by whoever opens the database first after all that had it open were killed. The
/// log is read anew then, and what is counted must fit together.
fn recovered(database: &Database) -> Result<i64, Box<dyn std::error::Error>> {
    let conn = Connection::open(database.path())?;
    let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(integrity, "ok");
    let (total, rows, newest): (i64, i64, i64) = conn.query_row(
        "SELECT coalesce((SELECT sum(total_updates) FROM agents), 0), count(*), coalesce(max(update_no), 0)
         FROM agent_updates",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    assert_eq!((rows, newest), (total, total), "the history has as many rows as were counted, and no gap");
    Ok(total)
}

/// As many rounds as showed the update after recovery, each time, when nobody overwrote what was in the log.
const ROUNDS: i64 = 20;

#[test]
fn an_update_that_failed_at_its_sync_is_not_there_after_a_crash() -> TestResult {
    let database = Database::new(&[])?;
    let Some(disk) = FailingDisk::under(&database) else { return Ok(()) };
    let mut made = 0;
    for round in 1..=ROUNDS {
        // Keeps the log and its index, which the last one to leave would fold in.
        let mut keeper = Server::worker(&database, &["keeper", "--no-heartbeat"]);
        keeper.tell("update a");
        made += 1;
        assert_eq!(keeper.expect_line("updated"), made.to_string());
        disk.fail("sync-once");
        let output = disk.run(&database, &["update", "a"])?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("failed (disk I/O error") && said.contains("nothing was changed"), "{said}");
        assert_eq!(disk.failures(), round.unsigned_abs(), "the sync went through libc, and failed");
        keeper.crash();
        assert_eq!(recovered(&database)?, made, "round {round}");
        // So that one who tries again makes it once.
        let output = disk.run(&database, &["update", "a"])?;
        assert!(output.status.success(), "{output:?}");
        made += 1;
        assert_eq!(recovered(&database)?, made, "round {round}");
    }
    Ok(())
}

/// The same inside a server, which goes on, with and without a sync at each commit.
#[test]
fn a_server_goes_on_after_a_commit_that_failed_once() -> TestResult {
    for (how, options) in [
        ("sync-once", &["server", "--no-heartbeat", "--full"][..]),
        ("commit-once", &["server", "--no-heartbeat", "--full"]),
        ("commit-once", &["server", "--no-heartbeat"]),
    ] {
        let database = Database::new(&[])?;
        let Some(disk) = FailingDisk::under(&database) else { return Ok(()) };
        for round in 1..=ROUNDS / 2 {
            let mut worker = disk.worker(&database, options);
            worker.tell("update a");
            let made = 2 * round - 1;
            assert_eq!(worker.expect_line("updated"), made.to_string());
            disk.fail(how);
            worker.tell("update a");
            let said = worker.expect_line("failed");
            assert!(said.contains("nothing was changed"), "{how}: {said}");
            assert_eq!(disk.failures(), round.unsigned_abs(), "{how}");
            if round % 2 == 0 {
                worker.crash();
                assert_eq!(recovered(&database)?, made, "{how}, round {round}");
                worker = disk.worker(&database, options);
            }
            worker.tell("update a");
            assert_eq!(worker.expect_line("updated"), (made + 1).to_string(), "{how}");
            worker.tell("must-exit");
            assert_eq!(worker.expect_line("must exit"), "false");
            worker.crash();
            assert_eq!(recovered(&database)?, made + 1, "{how}, round {round}");
        }
    }
    Ok(())
}
