//! Ctrl-Z: a command stops between two transactions, and nobody waits for a lock that a stopped one holds.
//!
//! Each command is in a process group of its own, as a shell has it: in an orphaned group the system discards SIGTSTP.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use govstore::Store;
use rusqlite::{Connection, TransactionBehavior};
use rustix::process::{Pid, Signal, kill_process};

use super::support::{Folder, GOVSTORE, available};
use govstore_testkit::{state_letter, wait_until};

const RESULTS: &str = "\"success\":true";

/// A command under way. Dropping it kills it.
struct Job(Child);

impl Job {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdout(Stdio::null()).spawn().expect("govstore starts"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it is a child of the test");
    }

    fn is_stopped(&self) -> bool {
        state_letter(self.0.id()) == Some('T')
    }

    /// Stops it as Ctrl-Z does, and has another connection take the write lock at once.
    fn stop_and_write(&mut self, other: &mut Connection) {
        self.signal(Signal::TSTP);
        wait_until("the command to stop", || self.is_stopped());
        let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate);
        transaction.expect("a stopped command holds no lock");
        assert!(self.is_stopped(), "it stays stopped");
    }

    fn go_on(&self) {
        self.signal(Signal::CONT);
        wait_until("the command to go on", || !self.is_stopped());
    }

    fn ends_well(mut self) {
        wait_until("the command to end", || self.0.try_wait().expect("a child").is_some());
        assert!(self.0.wait().expect("a child").success());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection that waits for nothing.
fn impatient(db: &Path) -> Connection {
    let conn = Connection::open(db).expect("the database");
    conn.busy_timeout(Duration::ZERO).expect("a setting");
    conn
}

/// Stops a command while it is seen to hold the write lock.
fn stopped_while_it_writes(folder: &Folder, arguments: &[&str]) {
    let mut other = impatient(&folder.db());
    let mut job = Job::start(&mut folder.command(arguments));
    wait_until("the command to write", || {
        assert!(job.0.try_wait().expect("a child").is_none(), "it has ended before it was seen writing");
        other.transaction_with_behavior(TransactionBehavior::Immediate).is_err()
    });
    job.stop_and_write(&mut other);
    job.go_on();
    job.ends_well();
}

#[test]
fn apply_stops_between_two_updates_forty_times() {
    let folder = Folder::with_writer();
    let mut other = impatient(&folder.db());
    let mut command = folder.command(&["--json", "apply", "-"]);
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("govstore starts");
    let (mut stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut job = Job(child);

    let (enough, applied) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let feeder = thread::spawn({
        let enough = Arc::clone(&enough);
        move || {
            let mut sent = 0_u64;
            while !enough.load(Ordering::Relaxed) {
                stdin.write_all(b"{\"agent_id\":\"writer\"}\n").expect("govstore reads");
                sent += 1;
            }
            sent
        }
    });
    let reader = thread::spawn({
        let applied = Arc::clone(&applied);
        move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("a line");
                assert!(line.contains(RESULTS), "{line}");
                applied.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for _ in 0..40 {
        let before = applied.load(Ordering::Relaxed);
        wait_until("an update", || applied.load(Ordering::Relaxed) > before);
        thread::sleep(Duration::from_micros(fastrand::u64(0..10_000))); // somewhere in an update
        job.stop_and_write(&mut other);
        job.go_on();
    }
    enough.store(true, Ordering::Relaxed);
    let sent = feeder.join().expect("it has sent all");
    job.ends_well();
    reader.join().expect("it has read all");
    assert_eq!(applied.load(Ordering::Relaxed), sent);
    let total = folder.number("SELECT total_updates FROM agents WHERE agent_id = 'writer'");
    assert_eq!(u64::try_from(total), Ok(sent + 1), "the first one made the agent");
}

#[test]
fn an_import_stops_after_its_transaction() {
    let folder = Folder::with_writer();
    let mut agents = String::from("{");
    for number in 0..5_000 {
        let separator = if number == 0 { "" } else { "," };
        write!(
            agents,
            "{separator}\"agent-{number}\":{{\"status\":\"active\",\"created_at\":\"2025-11-19T20:41:09\"}}"
        )
        .expect("a text");
    }
    agents.push('}');
    folder.write("agent_metadata.json", agents);
    let data = folder.path().to_str().expect("a readable path").to_owned();
    stopped_while_it_writes(&folder, &["import", &data]);
    assert_eq!(folder.number("SELECT count(*) FROM agents"), 5_001);
}

/// Gives the agent `writer` this many updates more, each like its newest one.
fn grow_history(folder: &Folder, by: u32) {
    folder
        .sql()
        .execute_batch(&format!(
            "CREATE TEMPORARY TABLE added AS
             SELECT u.* FROM agent_updates AS u JOIN agents AS a USING (agent_id) WHERE u.update_no = a.total_updates;
             BEGIN;
             WITH RECURSIVE step (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM step WHERE number < {by})
             INSERT INTO agent_updates (
               agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
               risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id)
             SELECT
               agent_id, update_no + number, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
               risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id
             FROM step, added;
             UPDATE agents SET total_updates = total_updates + {by};
             COMMIT;"
        ))
        .expect("more history");
}

#[test]
fn a_prune_stops_between_two_transactions_and_a_vacuum_after_it() {
    let folder = Folder::with_writer();
    folder.run(&["config", "set", "history_limit", "1"]).done();
    grow_history(&folder, 60_000);
    stopped_while_it_writes(&folder, &["prune"]);
    let kept = "SELECT count(*) FROM agent_updates";
    assert_eq!(folder.number(kept), 1);
    grow_history(&folder, 60_000);
    folder.run(&["config", "set", "history_limit", "50000"]).done();
    folder.run(&["prune"]).done();
    stopped_while_it_writes(&folder, &["prune", "--vacuum"]); // nothing is left to prune
    assert_eq!(folder.number(kept), 50_000);
    folder.run(&["check"]).done();
}

#[test]
fn a_migration_is_over_before_its_command_stops() {
    let folder = Folder::new();
    folder
        .sql()
        .execute_batch(include_str!("../../../../tests/schemas/version_2.sql"))
        .expect("a frozen dump");
    let before = folder.number("SELECT count(*) FROM reap_events");
    folder
        .sql()
        .execute_batch(
            "BEGIN;
             WITH RECURSIVE step (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM step WHERE number < 100000)
             INSERT INTO reap_events
               (recorded_at, process_id, name, version, pid, boot_id, start_ticks, verdict, evidence, outcome, reaper_pid)
             SELECT '2025-11-19T20:41:09.824Z', 1, 'x', '1', 7, 'boot', 7, 'exited', 'why', 'forgotten', 7 FROM step;
             COMMIT;
             PRAGMA journal_mode = WAL;",
        )
        .expect("a long ledger");
    stopped_while_it_writes(&folder, &["agents"]);
    assert_eq!(folder.number("SELECT count(*) FROM reap_events"), before + 100_000);
    let version = Store::open(folder.db()).expect("a migrated database").schema_version();
    assert_eq!(folder.number("PRAGMA user_version"), i64::from(version));
}

#[test]
fn a_command_that_waits_for_the_lock_stops_at_once_and_has_not_lost_its_patience() {
    let folder = Folder::with_writer();
    folder.run(&["config", "set", "lock_timeout_ms", "3000"]).done();
    let mut holder = folder.sql();
    let lock = holder.transaction_with_behavior(TransactionBehavior::Immediate).expect("the write lock");
    let job = Job::start(&mut folder.command(&["update", "writer"]));
    thread::sleep(Duration::from_millis(500)); // it waits by now, and may wait for two seconds and a half more
    job.signal(Signal::TSTP);
    let asked = Instant::now();
    wait_until("the command to stop", || job.is_stopped());
    assert!(
        asked.elapsed() < Duration::from_millis(2_400),
        "it has waited for the lock: {:?}",
        asked.elapsed()
    );
    thread::sleep(Duration::from_millis(3_200)); // longer than it may wait
    job.go_on();
    thread::sleep(Duration::from_millis(300));
    drop(lock);
    job.ends_well();
    assert_eq!(folder.number("SELECT total_updates FROM agents"), 2);
}

#[test]
fn where_the_system_would_not_stop_a_program_nothing_does() {
    // In a session of its own nobody is there who could wake it.
    if !available("setsid", &["true"]) {
        return;
    }
    let folder = Folder::with_writer();
    let mut command = Command::new("setsid");
    command.arg(GOVSTORE).args(["--json", "apply", "-"]).env("GOVSTORE_DB", folder.db());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("setsid worked a moment ago");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut results = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let job = Job(child);
    for _ in 0..3 {
        stdin.write_all(b"{\"agent_id\":\"writer\"}\n").expect("govstore reads");
        assert!(results.next().expect("a result").expect("a line").contains(RESULTS));
        job.signal(Signal::TSTP);
    }
    drop(stdin);
    job.ends_well();
}
