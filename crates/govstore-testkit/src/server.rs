//! Real servers for the tests: the program of [`mod@crate::test_server`], started, watched and ended.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::database::Database;
use crate::program::{test_server, test_worker};
use crate::wait::{PATIENCE, wait_until};

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
        let mut command = Command::new(test_server());
        command.arg(database.address()).args(options);
        Self::launch_command(command)
    }

    /// Starts a worker, which does as it is told, line by line.
    pub fn worker(database: &Database, options: &[&str]) -> Self {
        Self::launch_command(Self::worker_command(database, options)).registered()
    }

    /// The command that starts a worker.
    pub fn worker_command(database: &Database, options: &[&str]) -> Command {
        let mut command = Command::new(test_worker());
        command.arg(database.address()).args(options);
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
        client.arg(test_server()).arg(database.address()).args(options);
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
        &format!("exec 3<&0\nawait_go() {{ until [ -e $GO ]; do sleep 0.02; done; }}\n{script}"),
    ]);
    command.env("SERVER", test_server()).env("DB", database.address()).env("GO", go_file(database));
    command
}

/// Lets the script go on.
pub fn go(database: &Database) -> io::Result<()> {
    fs::write(go_file(database), "")
}

/// What the script waits for.
fn go_file(database: &Database) -> PathBuf {
    database.folder().join("go")
}

/// Lets other users write the database, which somebody must have open, and gives them a copy of this program to run.
pub fn share_with_everybody(database: &Database, program: &Path) -> io::Result<PathBuf> {
    let copy = database.folder().join(program.file_name().expect("a program has a name"));
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    database.share_with_everybody()?;
    Ok(copy)
}
