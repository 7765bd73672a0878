//! Where there is no Linux: one process stands in front of the server, and does what the system lets it do.
//!
//! On Windows it puts itself into a job that ends with it: whatever the server has started goes when this process goes, by
//! whatever end. Elsewhere the server is a process group of its own, which gets the signals; what leaves the group, and what
//! is left when this process is killed, isn't found.

use std::fs::File;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::client_out::ClientOut;
use crate::control::{Control, End};
use crate::input::Input;
use crate::options::{Graces, RunOptions};
use crate::pipe::client::Stop;
use crate::refused;
use crate::start::{RunError, Start};
use crate::status::ServerStatus;
use crate::traffic::{self, Line};

/// Between two looks at the server and the client, where the system tells of neither.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs a server until it has ended. Returns how it ended.
pub fn run(options: RunOptions) -> Result<ServerStatus, RunError> {
    let client = Client::find();
    let graces = options.graces;
    if options.restart_on_failure {
        crate::say::say("a server that fails is not started again on this system");
    }
    let (end, ends) = channel();
    let to_end = end.clone();
    let on_claim = move || {
        let _ = to_end.send(End::Now);
    };
    let start = Start::prepare(options, None, None, Box::new(on_claim))?;
    if let Some(reason) = start.refusal {
        refused::answer(&reason)?;
        return Ok(ServerStatus::Exited(1));
    }
    let Start { books, overheard, gate, command, log, .. } = start;
    let tree = Tree::new()?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::other("no command is given").into());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    if log.is_some() {
        command.stderr(Stdio::piped());
    }
    tree.prepare(&mut command);
    let mut server = match command.spawn() {
        Ok(server) => server,
        Err(error) => {
            crate::say::say(&format!("cannot start {}: {error}", program.display()));
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            return Ok(ServerStatus::Exited(code));
        }
    };
    let (Some(input), Some(output)) = (server.stdin.take(), server.stdout.take()) else {
        return Err(io::Error::other("the server has no pipes").into());
    };
    if let (Some(errors), Some(log)) = (server.stderr.take(), log) {
        thread::spawn(move || traffic::errors(&file(errors), log));
    }
    let line = Arc::new(Line {
        overheard,
        out: ClientOut::default(),
        input: Input::new(false),
        books: books.words(),
        gate,
        handshake: None,
    });
    line.input.open(file(input), &Arc::new(Control(end)));
    let up = Arc::clone(&line);
    // It may wait for the client for as long as this process lives, so nobody waits for it.
    thread::spawn(move || traffic::upstream(&up, &Stop));
    let down = thread::spawn(move || traffic::downstream::<()>(&line, file(output), None));

    let status = wait(&mut server, &tree, graces, &ends, client)?;
    tree.kill(&server);
    let _ = down.join(); // until all that it has said is passed on
    books.close();
    Ok(status)
}

/// Waits for the server, and ends it once it is told to.
fn wait(
    server: &mut Child,
    tree: &Tree,
    graces: Graces,
    ends: &Receiver<End>,
    client: Client,
) -> io::Result<ServerStatus> {
    let mut terminate_at = None;
    let mut kill_at = None;
    loop {
        if let Some(status) = server.try_wait()? {
            return Ok(status_of(status));
        }
        let now = Instant::now();
        if terminate_at.is_some_and(|at| now >= at) && kill_at.is_none() {
            tree.terminate(server);
            kill_at = Some(now + graces.terminate);
        }
        if kill_at.is_some_and(|at| now >= at) {
            tree.kill(server);
            server.kill()?;
        }
        let end = match ends.recv_timeout(LOOK_EVERY) {
            Ok(end) => Some(end),
            Err(RecvTimeoutError::Timeout) => client.is_gone().then_some(End::InputOver),
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(LOOK_EVERY);
                None
            }
        };
        match end {
            Some(End::InputOver) => {
                terminate_at.get_or_insert_with(|| Instant::now() + graces.end_of_input);
            }
            Some(End::Now) => terminate_at = Some(Instant::now()),
            None => {}
        }
    }
}

#[cfg(unix)]
fn status_of(status: std::process::ExitStatus) -> ServerStatus {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => ServerStatus::Exited(code),
        (None, Some(signal)) => ServerStatus::Signaled(signal),
        (None, None) => ServerStatus::Unknown,
    }
}

#[cfg(not(unix))]
fn status_of(status: std::process::ExitStatus) -> ServerStatus {
    status.code().map_or(ServerStatus::Unknown, ServerStatus::Exited)
}

#[cfg(unix)]
fn file(pipe: impl Into<std::os::fd::OwnedFd>) -> File {
    File::from(pipe.into())
}

#[cfg(windows)]
fn file(pipe: impl Into<std::os::windows::io::OwnedHandle>) -> File {
    File::from(pipe.into())
}

/// The process that has started this one.
struct Client {
    #[cfg(unix)]
    pid: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Client {
    fn find() -> Self {
        Self { pid: rustix::process::getppid() }
    }

    /// The children of a process that ends get another parent.
    fn is_gone(&self) -> bool {
        rustix::process::getppid() != self.pid
    }
}

/// Systems without parents: the client has to close standard input.
#[cfg(not(unix))]
impl Client {
    const fn find() -> Self {
        Self {}
    }

    const fn is_gone(&self) -> bool {
        false
    }
}

/// The server with what it has started, as far as the system keeps them together: a process group.
#[cfg(unix)]
struct Tree;

#[cfg(unix)]
impl Tree {
    const fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn prepare(&self, command: &mut Command) {
        std::os::unix::process::CommandExt::process_group(command, 0);
    }

    fn terminate(&self, server: &Child) {
        signal(server, rustix::process::Signal::TERM);
        signal(server, rustix::process::Signal::CONT);
    }

    fn kill(&self, server: &Child) {
        signal(server, rustix::process::Signal::KILL);
    }
}

#[cfg(unix)]
fn signal(server: &Child, signal: rustix::process::Signal) {
    let group = i32::try_from(server.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, signal); // it may be empty by now
    }
}

/// The server with what it has started: all are in a job, which ends with this process.
#[cfg(windows)]
struct Tree {
    _job: win32job::Job,
}

#[cfg(windows)]
impl Tree {
    fn new() -> io::Result<Self> {
        let job = win32job::Job::create().map_err(io::Error::other)?;
        let mut limits = job.query_extended_limit_info().map_err(io::Error::other)?;
        limits.limit_kill_on_job_close();
        job.set_extended_limit_info(&limits).map_err(io::Error::other)?;
        job.assign_current_process().map_err(io::Error::other)?;
        Ok(Self { _job: job })
    }

    /// Children are in the job of their parent.
    const fn prepare(&self, _command: &mut Command) {}

    /// There is nothing that a process could be asked by.
    const fn terminate(&self, _server: &Child) {}

    /// The others go with the job.
    const fn kill(&self, _server: &Child) {}
}
