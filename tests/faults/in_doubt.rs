//! The disk fails while a commit is under way. Recovery, once every process was killed, brings back whatever of the
//! commit is whole in the log: so an update that was refused must not be there then, and one that may be must be
//! called in doubt.
//!
//! The disk is `failing_disk.c`, loaded into the processes of a test.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use govstore_testkit::{Database, Server, TestResult, govstore};

/// The shim, compiled; `None`, and a line on stderr, where that can't be done.
fn shim() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let shim = govstore_testkit::compiled(folder.path(), include_str!("failing_disk.c")).unwrap()?;
        Some((folder, shim))
    });
    built.as_ref().map(|(_, shim)| shim.clone())
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
        let mut whole = NamedTempFile::new_in(self.trigger.parent().unwrap()).unwrap();
        whole.write_all(how.as_bytes()).unwrap();
        whole.persist(&self.trigger).unwrap(); // it may be looked at at any moment
    }

    fn mend(&self) {
        let _ = fs::remove_file(&self.trigger); // gone if it was to fail once
    }

    /// How many calls have failed so far.
    fn failures(&self) -> u64 {
        fs::metadata(&self.hits).map_or(0, |hits| hits.len())
    }

    fn run(&self, database: &Database, arguments: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(govstore());
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
        "SELECT coalesce(sum(total_updates), 0),
                coalesce(sum((SELECT count(*) FROM agent_updates u WHERE u.agent_id = a.agent_id)), 0),
                coalesce(sum((SELECT max(update_no) FROM agent_updates u WHERE u.agent_id = a.agent_id)), 0)
         FROM agents a",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    assert_eq!((rows, newest), (total, total), "the history has as many rows as were counted, and no gap");
    Ok(total)
}

fn log_of(database: &Database) -> PathBuf {
    PathBuf::from(format!("{}-wal", database.path().display()))
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
            if round % 4 >= 2 {
                // So that the commit that fails begins the log anew: as good as empty, header and salt included.
                let sql = "PRAGMA wal_checkpoint(FULL)";
                let busy: bool = database.sql()?.query_row(sql, [], |row| row.get(0))?;
                assert!(!busy);
            }
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

/// Others write between a commit that failed and the one that settles it, and each of them may be the one that fails.
#[test]
fn what_fails_among_many_writers_is_not_there_after_a_crash() -> TestResult {
    const WRITERS: usize = 3;
    const UPDATES: usize = 60;
    let database = Database::new(&[])?;
    let Some(disk) = FailingDisk::under(&database) else { return Ok(()) };
    let drive = |writer: usize| {
        let (mut made, mut in_doubt) = (0, 0);
        // One whose registration fails is started again.
        let start = || {
            loop {
                let command = Server::worker_command(&database, &["writer", "--no-heartbeat"]);
                match Server::launch_command(disk.load_into(command)).registered_or_ended() {
                    Ok(worker) => return worker,
                    Err(status) => assert_eq!(status.code(), Some(1)),
                }
            }
        };
        let mut worker = start();
        for update in 1..=UPDATES {
            if update % WRITERS == writer {
                disk.fail("commit-once"); // whoever commits next; or settles, and then that is in doubt
            }
            worker.tell(&format!("update {writer}"));
            let said = worker.expect_line("");
            if said.starts_with("updated") {
                made += 1;
            } else if said.contains("is in doubt whether") {
                in_doubt += 1;
                worker = start();
            } else {
                assert!(said.contains("nothing was changed"), "{said}");
            }
        }
        (worker, made, in_doubt)
    };
    let mut keeper = Server::worker(&database, &["keeper", "--no-heartbeat"]);
    let mut ended: Vec<_> = thread::scope(|scope| {
        let drivers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || drive(writer))).collect();
        drivers.into_iter().map(|driver| driver.join().unwrap()).collect()
    });
    for (worker, ..) in &mut ended {
        worker.crash();
    }
    keeper.crash();
    let made: i64 = ended.iter().map(|(_, made, _)| made).sum();
    let in_doubt: i64 = ended.iter().map(|(.., in_doubt)| in_doubt).sum();
    assert!(disk.failures() > 10, "{} failures", disk.failures());
    assert!(made > in_doubt, "{made} made, {in_doubt} in doubt");
    let found = recovered(&database)?;
    assert!((made..=made + in_doubt).contains(&found), "{made} made, {in_doubt} in doubt, {found} found");
    Ok(())
}

/// A database that a keeper has open, with one update of `a`. The disk is under nobody yet; `None` if there is none.
fn kept_open() -> Option<(Database, FailingDisk, Server)> {
    let database = Database::new(&[]).unwrap();
    let disk = FailingDisk::under(&database)?;
    let mut keeper = Server::worker(&database, &["keeper", "--no-heartbeat"]);
    keeper.tell("update a");
    keeper.expect_line("updated 1");
    Some((database, disk, keeper))
}

/// The ways in which not even the commit that is to settle it succeeds.
const FOR_GOOD: [&str; 2] = ["sync-always", "commit-always"];

#[test]
fn an_update_whose_fate_is_not_known_is_called_in_doubt() -> TestResult {
    for how in FOR_GOOD {
        let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
        disk.fail(how);
        let output = disk.run(&database, &["--json", "update", "a"])?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{how}: {said}");
        assert!(said.contains("in doubt") && !said.contains("nothing was changed"), "{how}: {said}");
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!((&answer["success"], &answer["in_doubt"]), (&json!(false), &json!(true)), "{answer}");
        assert!(disk.failures() >= 2, "{how}: the commit, and the one that was to settle it");
        disk.mend();
        keeper.crash();
        let found = recovered(&database)?;
        assert!((1..=2).contains(&found), "{how}: {found}");
        // As it says: look, and make it again only if it is not there.
        if found == 1 {
            assert!(disk.run(&database, &["update", "a"])?.status.success());
        }
        assert_eq!(recovered(&database)?, 2, "{how}");
    }
    Ok(())
}

/// Whoever finds the log with everybody else alive sees no such update, and the next commit makes it so for good.
#[test]
fn an_update_in_doubt_that_is_made_again_beside_others_is_there_once() -> TestResult {
    for how in FOR_GOOD {
        let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
        for made in 1..=10 {
            disk.fail(how);
            assert_eq!(disk.run(&database, &["update", "a"])?.status.code(), Some(5), "{how}");
            disk.mend();
            keeper.tell("total a");
            assert_eq!(keeper.expect_line("total"), made.to_string(), "{how}");
            assert!(disk.run(&database, &["update", "a"])?.status.success());
        }
        keeper.crash();
        assert_eq!(recovered(&database)?, 11, "{how}");
    }
    Ok(())
}

#[test]
fn a_store_in_doubt_writes_nothing_more_until_it_is_opened_again() -> TestResult {
    for (how, options) in [
        ("sync-always", &["doubtful", "--full"][..]),
        ("commit-always", &["doubtful", "--full"]),
        ("commit-always", &["doubtful"]),
    ] {
        let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
        let mut worker = disk.worker(&database, options);
        disk.fail(how);
        worker.tell("update a");
        let said = worker.expect_line("failed");
        assert!(said.contains("in doubt whether") && !said.contains("nothing was changed"), "{how}: {said}");
        worker.tell("must-exit");
        assert_eq!(worker.expect_line("must exit"), "true", "{how}: its client starts another");
        disk.mend();
        // The device works again, and still it is not for the next write to decide.
        for refused in ["update a", "update b", "lock a", "beat"] {
            worker.tell(refused);
            let said = worker.expect_line("failed");
            assert!(
                said.contains("is in doubt, so") && said.contains("nothing was changed"),
                "{how}: {said}"
            );
        }
        worker.tell("total a");
        assert_eq!(worker.expect_line("total"), "1", "{how}: reads go on, by the index that all share");
        worker.crash();
        keeper.crash();
        let found = recovered(&database)?;
        assert!((1..=2).contains(&found), "{how}: {found}");
        let mut worker = disk.worker(&database, options);
        worker.tell("update a");
        assert_eq!(worker.expect_line("updated"), (found + 1).to_string(), "{how}");
        worker.crash();
        assert_eq!(recovered(&database)?, found + 1, "{how}");
    }
    Ok(())
}

#[test]
fn apply_stops_at_a_line_in_doubt_and_names_it() -> TestResult {
    for json in [false, true] {
        let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
        let mut command = Command::new(govstore());
        command.arg("--db").arg(database.path());
        command.args(json.then_some("--json")).args(["apply", "-"]);
        let mut command = disk.load_into(command);
        let errors = database.folder().join("stderr");
        command.stderr(fs::File::create(&errors)?);
        let mut apply = Server::launch_command(command).unannounced();
        apply.tell(r#"{"agent_id": "a"}"#);
        apply.expect_line(if json { "{\"success\":true" } else { "     1" });
        disk.fail("sync-always");
        apply.tell(&[r#"{"agent_id": "a"}"#; 3].join("\n"));
        assert_eq!(apply.wait().code(), Some(5), "its input was open all the time");
        disk.mend();
        let said = fs::read_to_string(&errors)?;
        // The lines came together, so they shared the commit that failed.
        for line in 2..=4 {
            assert!(said.contains(&format!("govstore: line {line}: committing")), "{said}");
        }
        assert!(
            said.contains("in doubt") && said.contains("stopped at line 4; 1 update applied before"),
            "{said}"
        );
        assert!(!said.contains("nothing was changed"), "{said}");
        let results = apply.rest_until_end();
        if json {
            assert_eq!(results.len(), 3, "{results:?}");
            for (number, line) in (2..).zip(&results) {
                let line: Value = serde_json::from_str(line)?;
                assert_eq!(
                    (&line["success"], &line["line"], &line["in_doubt"]),
                    (&json!(false), &json!(number), &json!(true))
                );
            }
        } else {
            assert!(results.is_empty(), "{results:?}");
        }
        keeper.crash();
        let found = recovered(&database)?;
        assert!([2, 5].contains(&found), "{found}: all of a commit, or nothing");
    }
    Ok(())
}

/// A client that tries again under the same key has its update once, whatever became of the commit that failed. As many
/// rounds as you like: `GOVSTORE_STORM_SYNCS=200 cargo test --test faults keys`.
#[test]
fn updates_in_doubt_are_settled_by_their_keys() -> TestResult {
    let rounds: usize = std::env::var("GOVSTORE_STORM_SYNCS").map_or(Ok(12), |rounds| rounds.parse())?;
    let database = Database::new(&[])?;
    let Some(disk) = FailingDisk::under(&database) else { return Ok(()) };
    let update =
        |key: &str| disk.run(&database, &["update", "shared", "--key", key]).map(|ran| ran.status.code());
    for round in 0..rounds {
        let key = format!("update-{round}");
        // Keeps the log and its index, which the last one to leave would fold in.
        let mut keeper = Server::worker(&database, &["keeper", "--no-heartbeat"]);
        keeper.tell(&format!("update shared key keeper-{round}"));
        keeper.expect_line("updated");
        disk.fail(if round % 2 == 0 { "sync-always" } else { "commit-always" });
        assert_eq!(update(&key)?, Some(5), "in doubt");
        disk.mend();
        if round % 3 > 0 {
            keeper.crash(); // then the log is read anew
        } else {
            keeper.end();
        }
        assert_eq!((update(&key)?, update(&key)?), (Some(0), Some(0)));
    }
    assert_eq!(recovered(&database)?, 2 * i64::try_from(rounds)?);
    let once = "SELECT count(DISTINCT key) FROM agent_updates";
    assert_eq!(database.count(once)?, 2 * i64::try_from(rounds)?, "none is there twice, and none is missing");
    Ok(())
}

/// A client on stdio that writes lines.
struct Client {
    server: Server,
    errors: PathBuf,
}

impl Client {
    fn of_a_server(database: &Database, disk: &FailingDisk) -> std::io::Result<Self> {
        let mut command = Command::new(govstore());
        command.arg("--db").arg(database.path()).arg("serve");
        let errors = database.folder().join("stderr");
        command.stderr(fs::File::create(&errors)?);
        let server = Server::launch_command(disk.load_into(command)).unannounced();
        let mut client = Self { server, errors };
        let info = json!({ "name": "test", "version": "1" });
        client.ask(
            "initialize",
            &json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info }),
        );
        client.server.tell(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
        Ok(client)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.server
            .tell(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string());
        let answer: Value = serde_json::from_str(&self.server.expect_line("")).unwrap();
        answer["result"].clone()
    }

    fn update(&mut self) -> Value {
        self.ask("tools/call", &json!({ "name": "process_agent_update", "arguments": { "agent_id": "a" } }))
    }
}

#[test]
fn a_call_in_doubt_is_answered_as_such_and_its_server_ends() -> TestResult {
    for _ in 0..5 {
        let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
        let mut client = Client::of_a_server(&database, &disk)?;
        assert_eq!(client.update()["structuredContent"]["success"], true);
        disk.fail("sync-always");
        let result = client.update();
        assert_eq!(
            (&result["isError"], &result["structuredContent"]["in_doubt"]),
            (&json!(true), &json!(true))
        );
        let said = result["structuredContent"]["error"].as_str().unwrap_or_default();
        assert!(said.contains("in doubt") && !said.contains("nothing was changed"), "{said}");
        assert_eq!(client.server.wait().code(), Some(1), "stdin was open all the time");
        let said = fs::read_to_string(&client.errors)?;
        assert!(said.contains("a commit is in doubt") && said.contains("govstore: "), "{said}");
        disk.mend();
        // The client starts another, and goes on.
        let mut client = Client::of_a_server(&database, &disk)?;
        assert_eq!(client.update()["structuredContent"]["metrics"]["updates"], 3);
        client.server.crash();
        keeper.crash();
        assert_eq!(recovered(&database)?, 3);
    }
    Ok(())
}

#[test]
fn a_call_that_failed_once_is_refused_for_certain_and_its_server_goes_on() -> TestResult {
    let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
    let mut client = Client::of_a_server(&database, &disk)?;
    assert_eq!(client.update()["structuredContent"]["success"], true);
    disk.fail("sync-once");
    let result = client.update();
    assert_eq!(result["isError"], true);
    let content = &result["structuredContent"];
    assert_eq!(content.get("in_doubt"), None);
    assert!(content["error"].as_str().is_some_and(|said| said.contains("nothing was changed")), "{content}");
    assert_eq!(client.ask("ping", &json!({})), json!({}));
    client.server.crash();
    keeper.crash();
    assert_eq!(recovered(&database)?, 2);
    Ok(())
}

/// Beyond a quota every write fails, that of the commit that settles it too, unless the log is made shorter first.
#[test]
fn a_log_that_may_not_grow_leaves_no_doubt() -> TestResult {
    let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
    let mut worker = disk.worker(&database, &["worker", "--no-heartbeat"]);
    disk.fail("log-limit");
    let (mut made, mut refused) = (1, 0);
    for _ in 0..300 {
        worker.tell("update a");
        let said = worker.expect_line("");
        if said.starts_with("updated") {
            made += 1;
            assert_eq!(said, format!("updated {made}"));
        } else {
            refused += 1;
            assert!(said.contains("nothing was changed"), "{said}");
        }
    }
    assert!(made > 100 && refused > 0, "{made} made, {refused} refused: it went on");
    worker.crash();
    keeper.crash();
    assert_eq!(recovered(&database)?, made);
    Ok(())
}

/// The index of the log grows after the commit is in the log, and needs room.
#[test]
fn an_update_for_which_the_index_had_no_room_is_not_there_after_a_crash() -> TestResult {
    const FRAMES_OF_THE_FIRST_INDEX_PAGE: u64 = 4062;
    const FRAME_BYTES: u64 = 24 + 4096;
    let Some((database, disk, mut keeper)) = kept_open() else { return Ok(()) };
    let log = log_of(&database);
    let mut worker = disk.worker(&database, &["worker", "--no-heartbeat"]);
    // Whoever reads the first of it keeps the log from being folded in, and so it grows.
    let reader = database.sql()?;
    reader.execute_batch("BEGIN; SELECT count(*) FROM agents")?;
    let mut made = 1;
    disk.fail("index-full");
    let refusal = loop {
        let frames = fs::metadata(&log)?.len() / FRAME_BYTES;
        assert!(frames < FRAMES_OF_THE_FIRST_INDEX_PAGE + 100, "the index grew all the same");
        worker.tell("update a");
        let said = worker.expect_line("");
        if said.starts_with("failed") {
            break said;
        }
        made += 1;
        assert_eq!(said, format!("updated {made}"));
    };
    assert!(refusal.contains("no room left") && refusal.contains("nothing was changed"), "{refusal}");
    assert!(
        fs::metadata(&log)?.len() / FRAME_BYTES >= FRAMES_OF_THE_FIRST_INDEX_PAGE,
        "it was at the commit"
    );
    worker.crash();
    keeper.crash();
    // The reader would fold the log in, by its index. So it is read anew from a copy, which nobody has open.
    let copy = Database::new(&[])?;
    for (from, to) in [(database.path(), copy.path()), (log, log_of(&copy))] {
        fs::copy(from, to)?;
    }
    assert_eq!(recovered(&copy)?, made);
    drop(reader);
    Ok(())
}
