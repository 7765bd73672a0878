//! Real servers for the tests: the program `examples/server.rs`, started, watched and ended.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Durability, Outcome, ReapReport, Store};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

pub type TestResult = Result<(), Box<dyn Error>>;

/// Patience for what is sure to happen: generous, for machines that are busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `done` says so, or panics with what was waited for.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A database of its own for one test.
pub struct Database {
    folder: tempfile::TempDir,
}

impl Database {
    /// A new one, with these settings. Unless they say otherwise, an interval is short, so that a second look comes soon;
    /// what is stale, and what is unused, stays at 300 s.
    pub fn new(settings: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let database = Self { folder: tempfile::tempdir()? };
        let store = database.store()?;
        store.set_setting("heartbeat_interval_s", "0.2")?;
        for (key, value) in settings {
            store.set_setting(key, value)?;
        }
        Ok(database)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("governance.db")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database as a process that is not registered has it open.
    pub fn store(&self) -> govstore::Result<Store> {
        Store::options().durability(Durability::Normal).open(self.path())
    }

    /// The database as the `sqlite3` shell has it open.
    pub fn sql(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(self.path())?;
        conn.busy_timeout(PATIENCE)?;
        Ok(conn)
    }

    /// Makes a process's last heartbeat this much older.
    pub fn age_heartbeat(&self, process_id: i64, by_s: i64) -> TestResult {
        let aged = self.sql()?.execute(
            "UPDATE heartbeats SET monotonic_ms = monotonic_ms - ?2 * 1000 WHERE process_id = ?1",
            (process_id, by_s),
        )?;
        assert_eq!(aged, 1, "process {process_id} has a heartbeat");
        Ok(())
    }

    /// Makes a process's last activity this much older.
    pub fn age_activity(&self, process_id: i64, by_s: i64) -> TestResult {
        let aged = self.sql()?.execute(
            "UPDATE processes SET last_activity_monotonic_ms = last_activity_monotonic_ms - ?2 * 1000
             WHERE process_id = ?1",
            (process_id, by_s),
        )?;
        assert_eq!(aged, 1, "process {process_id} is registered");
        Ok(())
    }

    pub fn state_of(&self, process_id: i64) -> rusqlite::Result<String> {
        let sql = "SELECT state FROM processes WHERE process_id = ?1";
        self.sql()?.query_row(sql, [process_id], |row| row.get(0))
    }

    /// What reapers did to one process, by the ledger: verdict, signals, outcome. Without what was put off.
    pub fn ledger_of(&self, process_id: i64) -> rusqlite::Result<Vec<(String, String, String)>> {
        self.sql()?
            .prepare(
                "SELECT verdict, signals, outcome FROM reap_events WHERE process_id = ?1 AND outcome <> 'postponed'
                 ORDER BY reap_event_id",
            )?
            .query_map([process_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }

    pub fn count(&self, sql: &str) -> rusqlite::Result<i64> {
        self.sql()?.query_row(sql, [], |row| row.get(0))
    }
}

/// Reaps, and again until nothing is put off any more. What was put off is not among the events.
pub fn reap(store: &Store) -> govstore::Result<ReapReport> {
    let mut report = store.reap_with_second_look(|_, _| ())?;
    report.events.retain(|event| event.outcome != Outcome::Postponed);
    Ok(report)
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// Closing it asks the server to end.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    pub process_id: i64,
}

impl Server {
    /// Starts a server and waits until it has registered.
    pub fn start(database: &Database, options: &[&str]) -> Self {
        Self::launch(database, options).registered()
    }

    /// Starts a server and doesn't wait.
    pub fn launch(database: &Database, options: &[&str]) -> Launched {
        let mut command = Command::new(program());
        command.arg(database.path()).args(options);
        Self::launch_command(command)
    }

    /// Starts a worker, which does as it is told, line by line.
    pub fn worker(database: &Database, options: &[&str]) -> Self {
        Self::launch_command(Self::worker_command(database, options)).registered()
    }

    /// The command that starts a worker.
    pub fn worker_command(database: &Database, options: &[&str]) -> Command {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let mut command = Command::new(PROGRAM.get_or_init(|| example("worker")));
        command.arg(database.path()).args(options);
        command
    }

    /// Starts a server by a command of the test's own, which leaves stdin and stdout to it.
    pub fn launch_command(mut command: Command) -> Launched {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Launched(Self { child, stdin, lines, seen: Vec::new(), process_id: 0 })
    }

    /// Starts a server as the child of a client, a shell: that one is the child of the test, has its PID, and is
    /// what `crash` ends. stdin and stdout are the server's.
    pub fn start_under_a_client(database: &Database, options: &[&str]) -> Self {
        let mut client = Command::new("sh");
        // A shell gives a job in the background /dev/null for stdin, unless told otherwise.
        client.args(["-c", "exec 3<&0; \"$@\" <&3 & exec 3<&-; wait", "client"]);
        client.arg(program()).arg(database.path()).args(options);
        Self::launch_command(client).registered()
    }

    /// Has it reap. It says `ready` afterwards.
    pub fn ask_to_reap(&mut self) {
        self.tell("reap");
    }

    /// Writes a line to its stdin, in one piece: it may end as soon as it has read it.
    pub fn tell(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn close_stdin(&mut self) {
        drop(self.stdin.take());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that begins so, and returns the rest of it.
    pub fn expect_line(&mut self, prefix: &str) -> String {
        self.next_line(prefix).unwrap_or_else(|| panic!("the server said {:?} and not {prefix:?}", self.seen))
    }

    /// The rest of the next line that begins so; `None` if the server ends without it.
    fn next_line(&mut self, prefix: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            self.seen.push(line.clone());
            if let Some(rest) = line.strip_prefix(prefix) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it with SIGSTOP, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        wait_until("the server to stop", || state_letter(self.pid()) == Some('T'));
    }

    /// Ends it with SIGKILL and buries it, as a server that crashed and whose parent noticed.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it with SIGKILL and leaves a zombie.
    pub fn crash_and_leave_a_zombie(&mut self) {
        self.child.kill().unwrap();
        wait_until("the zombie", || state_letter(self.pid()) == Some('Z'));
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("the server to end", || self.has_ended());
        self.child.wait().unwrap()
    }

    /// Closes its stdin, waits for its end, and checks that nothing else had ended it.
    pub fn end(mut self) {
        drop(self.stdin.take());
        let status = self.wait();
        assert_eq!(self.expect_line("ended:"), "stdin closed");
        assert!(status.success(), "{status}");
    }

    /// Everything that it said and that was not waited for, to its end.
    pub fn rest_until_end(&mut self) -> Vec<String> {
        self.lines.iter().collect()
    }

    /// Everything that it has said so far and that was not waited for.
    pub fn rest(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that was started and may not have registered yet.
pub struct Launched(Server);

impl Launched {
    /// The server as it is: it doesn't say when it has registered.
    pub fn unannounced(self) -> Server {
        self.0
    }

    /// Waits until it has registered.
    pub fn registered(mut self) -> Server {
        self.0.process_id = self.0.expect_line("registered").parse().unwrap();
        self.0
    }

    /// Waits until it has registered, or has ended without.
    pub fn registered_or_ended(mut self) -> Result<Server, ExitStatus> {
        match self.0.next_line("registered") {
            Some(process_id) => {
                self.0.process_id = process_id.parse().unwrap();
                Ok(self.0)
            }
            None => Err(self.0.wait()),
        }
    }

    pub fn pid(&self) -> u32 {
        self.0.pid()
    }
}

/// The state of a process as one letter: `S` sleeping, `T` stopped, `Z` zombie; `None` if there is none.
pub fn state_letter(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The example server, built as these tests were.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example("server"))
}

/// An example, built as these tests were. `cargo test --test NAME` alone would not build it.
pub fn example(name: &str) -> PathBuf {
    // target/PROFILE/deps/this-test → target/PROFILE/examples/NAME
    let profile = env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    build.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "{build:?}");
    profile.join("examples").join(name)
}

// For what needs namespaces or another user.

/// Runs `command`, or says why the test was skipped. The portable side knows no PID namespaces, since systems
/// that are not Linux have none.
pub fn can(what: &str, command: &[&str]) -> bool {
    if cfg!(govstore_portable) && what.contains("PID namespace") {
        eprintln!("skipped: this is Linux's alone");
        return false;
    }
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let able = output.is_ok_and(|output| output.status.success());
    if !able {
        eprintln!("skipped: this needs {what}");
    }
    able
}

pub const PID_NAMESPACE: [&str; 3] = ["unshare", "--pid", "--fork"];

/// A shell script in a PID namespace of its own, where `$SERVER $DB` is a server with the test's stdin (3), and
/// `await_go` waits for [`go`].
pub fn in_pid_namespace(database: &Database, mount_proc: bool, script: &str) -> Command {
    let mut command = Command::new(PID_NAMESPACE[0]);
    command.args(&PID_NAMESPACE[1..]);
    command.args(mount_proc.then_some("--mount-proc"));
    command.args([
        "sh",
        "-c",
        &format!("exec 3<&0\nawait_go() {{ until [ -e $DB.go ]; do sleep 0.02; done; }}\n{script}"),
    ]);
    command.env("SERVER", program()).env("DB", database.path());
    command
}

/// Lets the script go on.
pub fn go(database: &Database) -> io::Result<()> {
    fs::write(format!("{}.go", database.path().display()), "")
}

/// Lets other users write the database, which somebody must have open, and gives them a server to run.
pub fn share_with_everybody(database: &Database) -> io::Result<PathBuf> {
    let copy = database.folder().join("server");
    fs::copy(program(), &copy)?;
    let file = |suffix: &str| PathBuf::from(format!("{}{suffix}", database.path().display()));
    for (path, mode) in [
        (database.folder().to_owned(), 0o777),
        (copy.clone(), 0o755),
        (file(""), 0o666),
        (file("-wal"), 0o666),
        (file("-shm"), 0o666),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(copy)
}
