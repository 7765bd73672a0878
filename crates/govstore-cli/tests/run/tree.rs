//! A wrapped tree of processes, and what is left of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use govstore_testkit::{state_letter, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::TestResult;

pub const GOVSTORE: &str = env!("CARGO_BIN_EXE_govstore");

/// A folder with a database, and a mark that every process of this test has in its environment.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> TestResult<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("governance.db")
    }

    /// `govstore`, with its database and the mark.
    pub fn govstore(&self) -> Command {
        let mut command = Command::new(GOVSTORE);
        self.mark(&mut command);
        command
    }

    /// What a command of `govstore` says as JSON.
    pub fn json(&self, arguments: &[&str]) -> TestResult<Value> {
        let output = self.govstore().arg("--json").args(arguments).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn mark(&self, command: &mut Command) {
        command.env("GOVSTORE_DB", self.database()).env("GOVSTORE_TEST_MARK", self.path());
    }

    /// `govstore run`, where a server that ends by itself has the time for it on any machine.
    pub fn run(&self, options: &[&str], server: &[&str]) -> Command {
        self.run_with_graces(["20", "1"], options, server)
    }

    pub fn run_with_graces(&self, [end, term]: [&str; 2], options: &[&str], server: &[&str]) -> Command {
        let mut command = self.govstore();
        command.args(["run", "--end-grace", end, "--term-grace", term]).args(options).arg("--").args(server);
        command
    }

    /// A client that is a shell: it runs `script`, whose arguments are a command that wraps a server.
    pub fn client(&self, script: &str, graces: [&str; 2], server: &[&str]) -> Command {
        let wrapper = self.run_with_graces(graces, &[], server);
        let mut client = Command::new("sh");
        self.mark(&mut client);
        client.args(["-c", script, "client", GOVSTORE]).args(wrapper.get_args());
        client
    }

    /// Every process with the mark that has not ended.
    pub fn left(&self) -> Vec<i32> {
        let mark = format!("GOVSTORE_TEST_MARK={}", self.path().display());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| has_environment(*pid, &mark) && !has_ended(*pid)).collect()
    }

    /// Waits until nobody with the mark is left. Returns how long that took.
    pub fn wait_until_nothing_is_left(&self) -> TestResult<Duration> {
        let began = Instant::now();
        while !self.left().is_empty() {
            if began.elapsed() > Duration::from_secs(20) {
                let left: Vec<_> = self.left().into_iter().map(|pid| (pid, command_line(pid))).collect();
                return Err(format!("left: {left:?}").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed())
    }
}

/// Whatever a test leaves when it fails.
impl Drop for Home {
    fn drop(&mut self) {
        for pid in self.left() {
            let _ = kill(pid, Signal::KILL);
        }
    }
}

fn has_environment(pid: i32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

/// Whether a process has ended; one that can't be looked at any more has.
fn has_ended(pid: i32) -> bool {
    u32::try_from(pid).ok().and_then(state_letter).is_none_or(|state| matches!(state, 'Z' | 'X'))
}

pub fn command_line(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

/// Signals a process that this test has started.
pub fn kill(pid: i32, signal: Signal) -> TestResult {
    Ok(kill_process(Pid::from_raw(pid).ok_or("no PID")?, signal)?)
}

/// The children of a process.
pub fn children(pid: u32) -> TestResult<Vec<i32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let listed = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Ok(children)
}

/// What every process of the hostile tree does to live on. Each writes a file once it is there.
const HOSTILE: &str = r#"
here=$1
sh -c 'echo $$ > "$0/background"; exec sleep 600' "$here" &
setsid sh -c 'echo $$ > "$0/session"; exec sleep 601' "$here" &
(sh -c 'echo $$ > "$0/double"; exec sleep 602' "$here" &)
setsid sh -c 'trap "" TERM HUP INT; echo $$ > "$0/stubborn"; while :; do sleep 0.3; done' "$here" &
trap "" PIPE
echo $$ > "$here/server"
echo ready
while :; do sleep 0.3; done
"#;

const MEMBERS: [&str; 5] = ["background", "session", "double", "stubborn", "server"];

/// A hostile tree that runs: with a background child, a daemon, a double fork, one that ignores SIGTERM, and a server that
/// ignores the end of its input.
pub struct Hostile {
    pub home: Home,
    /// The process that this test has started: the client, or the front if the test is the client.
    pub started: Child,
    pub stdin: Option<ChildStdin>,
    pub front: i32,
    pub keeper: i32,
    pub server: i32,
}

impl Hostile {
    /// This test is the client.
    pub fn start() -> TestResult<Self> {
        let home = Home::new()?;
        let mut command =
            home.run_with_graces(["0.2", "0.2"], &[], &["sh", "-c", HOSTILE, "server", path(&home)?]);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Self::launch(home, command, |started| Ok(i32::try_from(started.id())?))
    }

    /// The client is a shell, and another process holds the front's standard input open.
    pub fn start_by_client() -> TestResult<Self> {
        let home = Home::new()?;
        let server = ["sh", "-c", HOSTILE, "server", path(&home)?];
        let client = home.client(r#"sleep 5 | "$@""#, ["0.2", "0.2"], &server);
        Self::launch(home, client, |client| {
            let children = children(client.id())?;
            let front = children.into_iter().find(|pid| command_line(*pid).contains(" run "));
            front.ok_or_else(|| "no front".into())
        })
    }

    fn launch(
        home: Home,
        mut command: Command,
        front: impl FnOnce(&Child) -> TestResult<i32>,
    ) -> TestResult<Self> {
        let mut started =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let stdin = started.stdin.take();
        wait_until("the tree", || MEMBERS.iter().all(|member| member_pid(&home, member).is_some()));
        let front = front(&started)?;
        let keeper = *children(u32::try_from(front)?)?.first().ok_or("no keeper")?;
        let server = member_pid(&home, "server").ok_or("no server")?;
        Ok(Self { home, started, stdin, front, keeper, server })
    }

    /// How many of the tree and its guardians run; not those that come and go.
    pub fn running(&self) -> usize {
        let left = self.home.left();
        let members = MEMBERS.iter().filter_map(|member| member_pid(&self.home, member));
        members.chain([self.front, self.keeper]).filter(|pid| left.contains(pid)).count()
    }

    /// Waits until nothing is left of the tree, and collects what this test has started.
    pub fn wait_until_nothing_is_left(mut self) -> TestResult<Duration> {
        let took = self.home.wait_until_nothing_is_left()?;
        self.started.wait()?;
        Ok(took)
    }
}

fn path(home: &Home) -> TestResult<&str> {
    Ok(home.path().to_str().ok_or("a path that is no text")?)
}

fn member_pid(home: &Home, member: &str) -> Option<i32> {
    fs::read_to_string(home.path().join(member)).ok()?.trim().parse().ok()
}
