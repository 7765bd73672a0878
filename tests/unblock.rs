//! A process that is stopped inside its write transaction blocks every writer. Those who wait wake it, or end it, with
//! nobody's help; whom they can't identify, and who runs, they name and leave alone.
#![cfg(all(target_os = "linux", not(govstore_portable), debug_assertions))]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, HolderState, LockHolder, OutOfReach, Outcome, ProcessInfo, ReapEvent, Store, Update};
use govstore_testkit::{
    Database, Server, TestResult, can, share_with_everybody, state_letter, test_server, test_worker,
    wait_until,
};
use rustix::process::{Pid, Signal, kill_process};

/// Stops a process at a place in the code, once.
const STOP_AT: &str = "GOVSTORE_STOP_AT";
/// Stops it there again whenever it is continued.
const STAY_STOPPED_AT: &str = "GOVSTORE_STAY_STOPPED_AT";

/// What is promised, `stale_after_s` and two intervals, by these settings.
const PROMISED: Duration = Duration::from_millis(1_400);
/// On a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(10);
const SETTINGS: [(&str, &str); 4] = [
    ("heartbeat_interval_s", "0.2"),
    ("stale_after_s", "1"),
    ("lock_timeout_ms", "300"),
    ("terminate_grace_ms", "300"),
];
/// After so many waits of 300 ms one after the other, whoever was to be helped would have been.
const WAITS: usize = 8;

fn database() -> TestResult<Database> {
    Database::new(&SETTINGS)
}

fn worker(database: &Path, name: &str) -> Command {
    let mut command = Command::new(test_worker());
    command.arg(database).arg(name);
    command
}

/// A worker that stops inside its first update.
fn victim(database: &Path, variable: &str) -> Server {
    let mut command = worker(database, "victim");
    command.env(variable, "after the read:1");
    let mut victim = Server::launch_command(command).registered();
    victim.tell("update writer");
    wait_until_stopped(victim.pid());
    victim
}

fn wait_until_stopped(pid: u32) {
    wait_until("a process to stop", || state_letter(pid) == Some('T'));
}

/// A worker that is inside a transaction until it is told a line.
fn slow_writer(command: Command) -> Server {
    let mut writer = Server::launch_command(command).registered();
    writer.tell("update tester");
    writer.expect_line("updated");
    writer.tell("write-slowly tester");
    writer.expect_line("inside");
    writer
}

fn fleet<const N: usize>(database: &Database) -> [Server; N] {
    [(); N].map(|()| Server::start(database, &[]))
}

/// A server that says with each update that waited in vain who was in the way.
fn busy_server(database: &Database) -> Server {
    Server::start(database, &["--agent", "busy"])
}

/// Lets a server wait so often that it would have helped, and returns what it said last.
fn wait_in_vain(server: &mut Server) -> String {
    (0..WAITS).map(|_| server.expect_line("busy:")).last().unwrap_or_default()
}

fn in_the_way(store: &Store) -> (LockHolder, String) {
    let outcome = store.process_update("anybody", &Update::default());
    let Err(error @ Error::LockTimeout { holder: Some(_), .. }) = outcome else { panic!("{outcome:?}") };
    (error.holder().unwrap().clone(), error.to_string())
}

/// What the ledger tells of the signals that a process got, once there are any: verdict, signals, outcome. What others
/// noted of its heartbeat, or that they found it gone, is another matter.
fn told(database: &Database, process_id: i64) -> TestResult<Vec<(String, String, String)>> {
    let acts = || -> TestResult<Vec<_>> {
        let ledger = database.ledger_of(process_id)?;
        Ok(ledger.into_iter().filter(|(_, signals, _)| !signals.is_empty()).collect())
    };
    wait_until("the ledger", || acts().is_ok_and(|acts| !acts.is_empty()));
    acts()
}

/// What a reaper does now; nothing where all it finds is that it can't write.
fn reap(store: &Store) -> govstore::Result<Vec<ReapEvent>> {
    match store.reap() {
        Ok(report) => Ok(report.events),
        Err(Error::LockTimeout { .. }) => Ok(Vec::new()),
        Err(other) => Err(other),
    }
}

fn entry(verdict: &str, signals: &str, outcome: &str) -> (String, String, String) {
    (verdict.to_owned(), signals.to_owned(), outcome.to_owned())
}

fn signals_sent(database: &Database) -> TestResult<i64> {
    database.count("SELECT count(*) FROM reap_events WHERE signals <> ''")
}

#[test]
fn an_idle_fleet_wakes_a_server_that_was_stopped_inside_its_transaction() -> TestResult {
    let database = database()?;
    let fleet: [_; 3] = fleet(&database);
    let mut victim = victim(&database.path(), STOP_AT);
    let stopped = Instant::now();
    assert_eq!(victim.expect_line("updated"), "1", "nothing is lost");
    assert!(stopped.elapsed() < PROMISED + SLACK, "{:?}", stopped.elapsed());
    assert_eq!(told(&database, victim.process_id)?, [entry("alive", "CONT", "continued")]);
    let evidence = "SELECT evidence FROM reap_events WHERE signals <> ''";
    let evidence: String = database.sql()?.query_row(evidence, (), |row| row.get(0))?;
    assert!(evidence.contains("stopped inside a transaction"), "{evidence}");
    assert!(evidence.ends_with("SIGCONT was enough"), "{evidence}");
    assert_eq!(database.state_of(victim.process_id)?, "running");

    victim.tell("update writer");
    assert_eq!(victim.expect_line("updated"), "2");
    let update = Command::new(govstore_testkit::govstore())
        .arg("--db")
        .arg(database.path())
        .args(["update", "writer"])
        .output()?;
    assert!(update.status.success(), "{update:?}");
    assert_eq!(database.store()?.agent("writer")?.total_updates, 3);
    victim.end();
    fleet.into_iter().for_each(Server::end);
    Ok(())
}

#[test]
fn a_server_that_stops_again_and_again_is_ended_by_exactly_one_of_four() -> TestResult {
    let database = database()?;
    let store = database.store()?;
    for _ in 0..3 {
        store.process_update("writer", &Update::default())?;
    }
    let fleet: [_; 4] = fleet(&database);
    let mut command = Command::new(test_server());
    command.arg(database.path()).args(["--agent", "writer", "--deaf", "--no-reap"]);
    command.env(STAY_STOPPED_AT, "after the read:2");
    let mut victim = Server::launch_command(command).registered();
    assert_eq!(victim.expect_line("updated"), "4");
    let stopped = Instant::now();
    assert!(!victim.wait().success());
    assert!(stopped.elapsed() < PROMISED + SLACK, "{:?}", stopped.elapsed());

    wait_until("the ledger", || signals_sent(&database).is_ok_and(|sent| sent > 0));
    // The others wait for each other and look again; those who come late find nothing to be done.
    for mut server in fleet {
        server.ask_to_reap();
        server.expect_line("ready");
        server.end();
    }
    assert_eq!(signals_sent(&database)?, 1, "of one reaper");
    assert_eq!(told(&database, victim.process_id)?, [entry("stale", "CONT TERM CONT KILL", "killed")]);
    assert_ne!(database.state_of(victim.process_id)?, "running");
    let report = store.process_update("writer", &Update::default())?;
    assert_eq!(report.metrics.total_updates, 5, "what was acknowledged is kept, the rest rolled back");
    Ok(())
}

#[test]
fn the_agents_that_an_ended_server_had_locked_are_free() -> TestResult {
    let database = database()?;
    let store = database.store()?;
    store.process_update("tester", &Update::default())?;
    let _fleet: [_; 1] = fleet(&database);
    let mut command = worker(&database.path(), "victim");
    command.env(STAY_STOPPED_AT, "after the read:1");
    let mut victim = Server::launch_command(command).registered();
    victim.tell("lock tester");
    victim.expect_line("locked");
    victim.tell("update writer");
    victim.wait();
    assert_eq!(told(&database, victim.process_id)?, [entry("stale", "CONT TERM CONT", "terminated")]);
    assert!(store.locks()?.is_empty());
    store.process_update("tester", &Update::default())?;
    Ok(())
}

#[test]
fn one_who_goes_on_and_takes_its_time_is_left_alone_and_told_of_once() -> TestResult {
    let database = database()?;
    let mut server = busy_server(&database);
    let mut writer = slow_writer(worker(&database.path(), "the editor"));
    writer.stop();
    wait_until("somebody to wake it", || state_letter(writer.pid()) != Some('T'));
    let said = wait_in_vain(&mut server);
    assert!(said.contains("the editor") && !said.contains("stopped"), "{said}");
    writer.tell("");
    writer.expect_line("written");
    assert_eq!(told(&database, writer.process_id)?, [entry("alive", "CONT", "continued")]);
    server.end();
    writer.end();
    assert_eq!(signals_sent(&database)?, 1);
    assert_eq!(database.store()?.agent("tester")?.notes, "written slowly", "nothing is lost");
    Ok(())
}

#[test]
fn a_shell_that_is_stopped_is_named_and_never_signalled() -> TestResult {
    let database = database()?;
    let mut server = busy_server(&database);
    let _fleet: [_; 2] = fleet(&database);
    let mut shell = match Command::new("sqlite3")
        .arg(database.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(shell) => Killed(shell),
        Err(e) => {
            eprintln!("skipped: no sqlite3 shell ({e})");
            return Ok(());
        }
    };
    let mut stdin = shell.0.stdin.take().ok_or("no stdin")?;
    writeln!(stdin, ".timeout 60000\nBEGIN IMMEDIATE;\nSELECT 'inside';")?;
    let mut line = String::new();
    BufReader::new(shell.0.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    assert_eq!(line.trim(), "inside");
    kill_process(Pid::from_child(&shell.0), Signal::STOP)?;
    wait_until_stopped(shell.0.id());

    let said = wait_in_vain(&mut server);
    let store = database.store()?;
    let named = format!("PID {} (sqlite3)", shell.0.id());
    assert!(said.contains(&named) && said.contains("is stopped"), "{said}");
    assert!(reap(&store)?.is_empty());
    assert_eq!(store.second_look_due(), None, "it is not for a reaper");
    assert_eq!(state_letter(shell.0.id()), Some('T'), "nobody has continued it");
    kill_process(Pid::from_child(&shell.0), Signal::CONT)?;
    drop(stdin); // rolls back
    assert!(shell.0.wait()?.success());
    assert_eq!(signals_sent(&database)?, 0);
    Ok(())
}

#[test]
fn a_holder_that_runs_is_named_and_never_signalled() -> TestResult {
    let database = database()?;
    let mut server = busy_server(&database);
    let _fleet: [_; 2] = fleet(&database);
    let mut writer = slow_writer(worker(&database.path(), "the editor"));
    let said = wait_in_vain(&mut server);
    let named = format!("PID {} (the editor", writer.pid());
    assert!(said.contains(&named) && !said.contains("stopped"), "{said}");
    writer.tell("");
    writer.expect_line("written");
    server.expect_line("updated");
    assert_eq!(signals_sent(&database)?, 0);
    writer.end();
    Ok(())
}

#[test]
fn a_program_that_is_not_registered_reaps_in_two_looks() -> TestResult {
    let database = database()?;
    let store = database.store()?;
    let mut victim = victim(&database.path(), STOP_AT);
    let registered = store.register(ProcessInfo::new("newcomer", "1"));
    let Err(Error::LockTimeout { holder: Some(holder), .. }) = registered else { panic!("{registered:?}") };
    assert_eq!((holder.process_id, holder.state), (Some(victim.process_id), HolderState::Stopped));

    let store = database.store()?; // one that has seen nothing yet
    assert_eq!(store.second_look_due(), None);
    assert!(reap(&store)?.is_empty(), "at first sight nobody is helped");
    let due = store.second_look_due().ok_or("it is not due")?;
    assert!(due <= Duration::from_millis(200), "{due:?}");
    thread::sleep(due);
    let events = reap(&store)?;
    assert_eq!((events[0].pid, events[0].outcome), (victim.pid(), Outcome::Continued));
    assert_eq!(victim.expect_line("updated"), "1");
    reap(&store)?;
    assert_eq!(store.second_look_due(), None);
    victim.end();
    Ok(())
}

#[test]
fn a_server_that_starts_alone_with_a_stopped_one_waits_and_helps() -> TestResult {
    let database = database()?;
    let mut victim = victim(&database.path(), STOP_AT);
    let log = database.folder().join("log");
    let mut serve = Command::new(govstore_testkit::govstore());
    serve.arg("--db").arg(database.path()).arg("serve").arg("--log-file").arg(&log);
    let mut serve =
        Killed(serve.env("RUST_LOG", "warn").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?);
    let began = Instant::now();
    assert_eq!(victim.expect_line("updated"), "1");
    let there = "SELECT count(*) FROM processes WHERE name = 'govstore' AND state = 'running'";
    wait_until("the server to register", || database.count(there).is_ok_and(|servers| servers == 1));
    assert!(began.elapsed() < PROMISED + SLACK, "{:?}", began.elapsed());
    assert_eq!(told(&database, victim.process_id)?, [entry("alive", "CONT", "continued")]);
    let log = fs::read_to_string(log)?;
    assert!(log.contains("WARN") && log.contains("cannot register yet"), "{log}");
    drop(serve.0.stdin.take());
    assert!(serve.0.wait()?.success());
    victim.end();
    Ok(())
}

#[test]
fn a_server_does_not_start_beside_a_holder_that_nobody_may_wake() -> TestResult {
    let database = database()?;
    let holder = database.sql()?;
    holder.execute_batch("BEGIN IMMEDIATE")?;
    let refused = Command::new(govstore_testkit::govstore())
        .arg("--db")
        .arg(database.path())
        .arg("serve")
        .stdin(Stdio::null())
        .output()?;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    Ok(())
}

#[test]
fn a_holder_of_another_user_is_named_and_never_signalled() -> TestResult {
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !can("root, to be another user", &[&as_nobody[..], &["true"]].concat()) {
        return Ok(());
    }
    let database = database()?;
    let store = database.store()?;
    let program = share_with_everybody(&database, test_worker())?;
    let mut server = busy_server(&database);
    let mut command = Command::new(as_nobody[0]);
    command.args(&as_nobody[1..]).arg(program).arg(database.path()).arg("theirs");
    command.env(STOP_AT, "after the read:1");
    let mut theirs = Server::launch_command(command).registered();
    theirs.tell("update writer");
    wait_until_stopped(theirs.pid());

    let said = wait_in_vain(&mut server);
    assert!(said.contains("(theirs, ") && said.contains("another user"), "{said}");
    let (holder, message) = in_the_way(&store);
    assert_eq!((holder.state, holder.out_of_reach), (HolderState::Stopped, Some(OutOfReach::AnotherUser)));
    assert!(message.contains("its owner has to wake it"), "{message}");
    assert_eq!(state_letter(theirs.pid()), Some('T'), "nobody has continued it");
    theirs.signal(Signal::CONT);
    theirs.expect_line("updated");
    assert_eq!(signals_sent(&database)?, 0);
    theirs.end();
    Ok(())
}

#[test]
fn a_holder_in_a_container_is_named_and_never_signalled() -> TestResult {
    let in_a_namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !can("root, for a PID namespace", &[&in_a_namespace[..], &["true"]].concat()) {
        return Ok(());
    }
    let database = database()?;
    let mut server = busy_server(&database);
    let mut command = Command::new(in_a_namespace[0]);
    command.args(&in_a_namespace[1..]).arg(test_worker()).arg(database.path()).arg("contained");
    let mut contained = slow_writer(command);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", contained.pid()))?;
    let pid: u32 = children.trim().parse()?; // as this namespace counts; its own PID is 1
    let raw = Pid::from_raw(pid.cast_signed()).ok_or("no PID")?;
    kill_process(raw, Signal::STOP)?;
    wait_until_stopped(pid);

    let said = wait_in_vain(&mut server);
    assert!(said.contains(&format!("PID {pid} (contained, ")), "{said}");
    let (holder, message) = in_the_way(&database.store()?);
    assert_eq!(holder.out_of_reach, Some(OutOfReach::AnotherNamespace));
    assert_eq!(holder.process_id, Some(contained.process_id));
    assert!(message.contains("it runs in another PID namespace"), "{message}");
    assert_eq!(state_letter(pid), Some('T'), "nobody has continued it");
    kill_process(raw, Signal::CONT)?;
    contained.tell("");
    contained.expect_line("written");
    assert_eq!(signals_sent(&database)?, 0);
    contained.end();
    Ok(())
}

#[test]
fn a_holder_that_is_frozen_by_its_cgroup_is_named_with_what_wakes_it() -> TestResult {
    let database = database()?;
    let store = database.store()?;
    let mut server = busy_server(&database);
    let mut writer = slow_writer(worker(&database.path(), "the editor"));
    let Some(cgroup) = Cgroup::of(writer.pid()) else { return Ok(()) };
    cgroup.set_frozen(true)?;
    let said = wait_in_vain(&mut server);
    assert!(said.contains("(the editor, "), "{said}");
    let (holder, message) = in_the_way(&store);
    assert_eq!((holder.state, holder.out_of_reach), (HolderState::Frozen, None), "{message}");
    assert!(message.contains("is frozen by its cgroup; `docker unpause`"), "{message}");
    cgroup.set_frozen(false)?;
    writer.tell("");
    writer.expect_line("written");
    server.expect_line("updated");

    server.end();
    store.set_setting("stale_after_s", "300")?; // nobody takes the lock away meanwhile
    writer.tell("lock tester");
    writer.expect_line("locked");
    cgroup.set_frozen(true)?;
    let locked = store.process_update("tester", &Update::default());
    let Err(error @ Error::AgentLocked { .. }) = locked else { panic!("{locked:?}") };
    assert_eq!(error.holder().map(|holder| holder.state), Some(HolderState::Frozen));
    assert!(error.to_string().contains("and is frozen by its cgroup"), "{error}");
    assert_eq!(store.locks()?[0].state, HolderState::Frozen);
    cgroup.set_frozen(false)?;
    writer.end();
    assert_eq!(signals_sent(&database)?, 0);
    Ok(())
}

/// A cgroup with one process in it, of version 1 or 2.
struct Cgroup {
    folder: PathBuf,
    is_version_1: bool,
}

impl Cgroup {
    /// `None`, with a word, where none can be made.
    fn of(pid: u32) -> Option<Self> {
        let hierarchies =
            [("/sys/fs/cgroup/freezer", true), ("/sys/fs/cgroup", false), ("/sys/fs/cgroup/unified", false)];
        for (hierarchy, is_version_1) in hierarchies {
            let folder = Path::new(hierarchy).join(format!("govstore-test-{pid}"));
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let cgroup = Self { folder, is_version_1 };
            let switch = cgroup.folder.join(if is_version_1 { "freezer.state" } else { "cgroup.freeze" });
            if switch.exists() && fs::write(cgroup.folder.join("cgroup.procs"), pid.to_string()).is_ok() {
                return Some(cgroup);
            }
        }
        eprintln!("skipped: needs a cgroup that can be made and frozen");
        None
    }

    fn set_frozen(&self, frozen: bool) -> std::io::Result<()> {
        let (switch, word, state, done) = match (self.is_version_1, frozen) {
            (true, true) => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            (true, false) => ("freezer.state", "THAWED", "freezer.state", "THAWED"),
            (false, true) => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
            (false, false) => ("cgroup.freeze", "0", "cgroup.events", "frozen 0"),
        };
        fs::write(self.folder.join(switch), word)?;
        let state = self.folder.join(state);
        wait_until("the cgroup", || fs::read_to_string(&state).is_ok_and(|state| state.contains(done)));
        Ok(())
    }
}

impl Drop for Cgroup {
    /// Its process is thawed, moved out, and left to whoever has started it.
    fn drop(&mut self) {
        let switch = if self.is_version_1 { ("freezer.state", "THAWED") } else { ("cgroup.freeze", "0") };
        let _ = fs::write(self.folder.join(switch.0), switch.1);
        let members = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        let outside = self.folder.with_file_name("cgroup.procs");
        members.lines().for_each(|pid| drop(fs::write(&outside, pid)));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Files on Btrfs have another device number in `/proc/locks` than `stat` gives.
#[test]
fn a_stopped_holder_is_found_on_btrfs_too() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (image, place) = (folder.path().join("image"), folder.path().join("place"));
    File::create(&image)?.set_len(128 << 20)?;
    fs::create_dir(&place)?;
    let (image, at) = (image.to_str().ok_or("a name")?, place.to_str().ok_or("a name")?);
    if !can("mkfs.btrfs", &["mkfs.btrfs", "-q", image])
        || !can("root, for a loop mount of Btrfs", &["mount", "-o", "loop", image, at])
    {
        return Ok(());
    }
    let _mounted = Mounted(place.clone());
    let path = place.join("governance.db");
    let store = Store::open(&path)?;
    for (key, value) in SETTINGS {
        store.set_setting(key, value)?;
    }
    let mut victim = victim(&path, STOP_AT);
    let (holder, _) = in_the_way(&store);
    assert_eq!((holder.pid, holder.process_id), (victim.pid(), Some(victim.process_id)));
    let reaper = Store::open(&path)?;
    assert!(reap(&reaper)?.is_empty());
    thread::sleep(reaper.second_look_due().ok_or("it is not due")?);
    assert_eq!(reap(&reaper)?[0].outcome, Outcome::Continued);
    assert_eq!(victim.expect_line("updated"), "1");
    victim.end();
    Ok(())
}

/// A mounted file system, until it is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, should a process of a test that failed be in it still.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A child that is ended at the latest when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
