//! The front: the process that the client has started, with the client's pipes, the registry and the figures.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::RunId;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::books::Books;
use crate::client_out::ClientOut;
use crate::control::{self, Control, ToFront, ToKeeper};
use crate::gate::Gate;
use crate::keeper::{self, Orders};
use crate::options::RunOptions;
use crate::overheard::Overheard;
use crate::say::say;
use crate::start::{RunError, Start};
use crate::status::ServerStatus;
use crate::traffic::{self, Line};
use crate::tree::{self, Stage, Wakers};
use crate::{container, refused, wake};

/// How long the server's last words may take once the client is gone, or a signal says to end.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(500);

/// The process that has started this one, if it can be watched. To be called early: a parent that was gone before is not
/// missed.
fn client() -> Option<OwnedFd> {
    let parent = getppid();
    let held = parent.and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
    held.filter(|_| getppid() == parent) // still our parent after that, so the PID was its own
}

/// Runs a server until nothing is left of it. Returns how it ended.
pub fn run(options: RunOptions) -> Result<ServerStatus, RunError> {
    let client = client();
    tree::adopt()?;
    let (claim, claimed) = UnixStream::pair()?;
    claimed.set_nonblocking(true)?;
    let wakes = Wakes {
        child: wake::on_signals(&[SIGCHLD])?,
        signal: wake::on_signals(&[SIGTERM, SIGINT, SIGHUP])?,
        claimed,
        client,
    };
    let run_id = RunId::random();
    let mut options = options;
    let container = container::of(&mut options.command, &run_id).unwrap_or_else(|error| {
        say(&format!("the container may be left at the end, since its id can't be kept: {error}"));
        None
    });
    let graces = options.graces;
    let on_claim = Box::new(move || drop(io::Write::write(&mut &claim, b"c")));
    let start = Start::prepare(options, Some(run_id), container.clone(), on_claim)?;
    if let Some(reason) = start.refusal {
        refused::answer(&reason)?;
        return Ok(ServerStatus::Exited(1));
    }
    let Start { books, overheard, gate, command, log, .. } = start;
    let front = Front { wakes, orders: Orders { run_id, graces, container, command }, log };
    let status = front.run(&overheard, &books, gate)?;
    books.close();
    Ok(status)
}

/// What wakes the front.
struct Wakes {
    child: UnixStream,
    signal: UnixStream,
    /// Can be read once a reaper has claimed this process.
    claimed: UnixStream,
    /// The client; `None` once it is gone, or where it can't be watched.
    client: Option<OwnedFd>,
}

/// What has woken it.
#[derive(Debug, Default)]
struct Woken {
    client_gone: bool,
    told_to_end: bool,
    /// The one that it waited for besides.
    other: bool,
}

impl Wakes {
    /// Waits for one of them, for `other`, or until a moment.
    fn wait(&mut self, other: BorrowedFd<'_>, until: Option<Instant>) -> rustix::io::Result<Woken> {
        let timeout = until.map(|until| tree::timespec(until.saturating_duration_since(Instant::now())));
        let mut fds = vec![readable(other), readable(self.signal.as_fd()), readable(self.claimed.as_fd())];
        fds.extend(self.client.as_ref().map(|client| readable(client.as_fd())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let woken =
            Woken { other: is_ready(0), told_to_end: is_ready(1) || is_ready(2), client_gone: is_ready(3) };
        if woken.client_gone {
            self.client = None; // it is gone for good, and would wake us for ever
        }
        if woken.told_to_end {
            wake::drain(&self.signal);
            wake::drain(&self.claimed);
        }
        Ok(woken)
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

struct Front {
    wakes: Wakes,
    orders: Orders,
    log: Option<File>,
}

impl Front {
    fn run(
        mut self,
        overheard: &Arc<Overheard>,
        books: &Books,
        gate: Option<Gate>,
    ) -> Result<ServerStatus, RunError> {
        let (control, theirs) = control::pair()?;
        let control = Arc::new(control);
        let mut command = self.orders.command();
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        if self.log.is_some() {
            command.stderr(Stdio::piped());
        }
        let mut keeper = command.spawn()?;
        drop(command); // with it the keeper's end of the socket
        let (mut passing, done) = Passing::new()?;
        if let (Some(errors), Some(log)) = (keeper.stderr.take(), self.log.take()) {
            let done = done.try_clone()?;
            thread::Builder::new().name("errors".to_owned()).spawn(move || {
                traffic::errors(File::from(OwnedFd::from(errors)), log);
                drop(done);
            })?;
        }
        let (server, input, output) = match control.listen()? {
            Some(ToFront::Started { pid, input, output }) => (Pid::from_raw(pid), input, output),
            Some(ToFront::Failed(reason)) => {
                let _ = keeper.wait();
                return Err(RunError::System(io::Error::other(reason)));
            }
            Some(ToFront::Ended(status)) => return Ok(status),
            None => return Ok(self.end_without_keeper(keeper, None)),
        };
        let line = Arc::new(Line {
            overheard: Arc::clone(overheard),
            out: ClientOut::default(),
            control: Arc::clone(&control),
            books: books.words(),
            gate,
        });
        let (stop, stopped) = UnixStream::pair()?;
        passing.stop = Some(stop);
        let up = Arc::clone(&line);
        // It may wait for the client for as long as this process lives, so nobody waits for it.
        thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(move || traffic::upstream(&up, File::from(input), &stopped))?;
        thread::Builder::new().name("downstream".to_owned()).spawn(move || {
            traffic::downstream(&line, File::from(output));
            drop(done);
        })?;

        let status = match self.wait_for_end(&control, &mut passing)? {
            Some(status) => {
                let _ = keeper.wait();
                status
            }
            None => self.end_without_keeper(keeper, server),
        };
        self.hear_last_words(&mut passing)?;
        Ok(status)
    }

    /// Waits for what the keeper has to say at the end; `None` if it is gone and has not said it.
    fn wait_for_end(
        &mut self,
        control: &Control,
        passing: &mut Passing,
    ) -> Result<Option<ServerStatus>, RunError> {
        loop {
            let woken = self.wakes.wait(control.as_fd(), None)?;
            if woken.client_gone {
                passing.end_input();
                control.tell(ToKeeper::InputOver);
            }
            if woken.told_to_end {
                passing.end_input();
                control.tell(ToKeeper::EndNow);
            }
            if woken.other {
                match control.listen()? {
                    Some(ToFront::Ended(status)) => return Ok(Some(status)),
                    Some(_) => {}
                    None => return Ok(None),
                }
            }
        }
    }

    /// The keeper was killed: what it has left is this process's to end. The server itself went with it.
    fn end_without_keeper(&self, mut keeper: Child, server: Option<Pid>) -> ServerStatus {
        let _ = keeper.wait();
        let wakers = Wakers { child: &self.wakes.child, signal: None, control: None };
        let at_once = Stage::InputOver(Instant::now());
        let status =
            tree::keep(server, at_once, self.orders.graces, &wakers).unwrap_or(ServerStatus::Unknown);
        if let Some(container) = &self.orders.container {
            keeper::remove(container);
        }
        status
    }

    /// Waits until all that the server has said is passed on. A client that is slow gets the time it needs; one that is
    /// gone, or wants an end, doesn't.
    fn hear_last_words(&mut self, passing: &mut Passing) -> Result<(), RunError> {
        let mut until = passing.is_in_haste().then(|| Instant::now() + LAST_WORDS_PATIENCE);
        loop {
            let woken = self.wakes.wait(passing.done.as_fd(), until)?;
            if woken.other || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            if woken.client_gone || woken.told_to_end {
                passing.end_input();
                until.get_or_insert_with(|| Instant::now() + LAST_WORDS_PATIENCE);
            }
        }
    }
}

/// The threads that pass on what is said.
struct Passing {
    /// Dropped to end the server's input.
    stop: Option<UnixStream>,
    /// Can be read once all that the server has said is passed on.
    done: UnixStream,
}

impl Passing {
    /// Also what is to be dropped, with its clones, at the end.
    fn new() -> io::Result<(Self, UnixStream)> {
        let (done, held) = UnixStream::pair()?;
        Ok((Self { stop: None, done }, held))
    }

    fn end_input(&mut self) {
        self.stop = None;
    }

    /// Whether the client is gone, or wants an end.
    const fn is_in_haste(&self) -> bool {
        self.stop.is_none()
    }
}
