//! The front: the process that the client has started, with the client's pipes, the registry and the figures.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::RunId;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::books::Books;
use crate::client_out::ClientOut;
use crate::control::{self, Control, ToFront, ToKeeper};
use crate::gate::Gate;
use crate::input::Input;
use crate::keeper::{self, Orders};
use crate::options::RunOptions;
use crate::overheard::Overheard;
use crate::pipe::client;
use crate::restart::{self, Handshake, Restarts, Said};
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
fn watched_client() -> Option<OwnedFd> {
    let parent = getppid();
    let held = parent.and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
    held.filter(|_| getppid() == parent) // still our parent after that, so the PID was its own
}

/// Runs a server until nothing is left of it. Returns how it ended.
pub fn run(options: RunOptions) -> Result<ServerStatus, RunError> {
    let client = watched_client();
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
    let restarts = options.restart_on_failure.then(Restarts::default);
    let on_claim = Box::new(move || drop((&claim).write(b"c")));
    let start = Start::prepare(options, Some(run_id), container.clone(), on_claim)?;
    if let Some(reason) = start.refusal {
        refused::answer(&reason)?;
        return Ok(ServerStatus::Exited(1));
    }
    let Start { books, overheard, gate, command, log, .. } = start;
    let front = Front { wakes, orders: Orders { run_id, graces, container, command }, log };
    let status = front.run(&overheard, &books, gate, restarts)?;
    books.close();
    Ok(status)
}

/// How long a server that is started again may take to answer the handshake before the client's words reach it.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);

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
        let fds = [
            Some(other),
            Some(self.signal.as_fd()),
            Some(self.claimed.as_fd()),
            self.client.as_ref().map(AsFd::as_fd),
        ];
        let [other, signal, claimed, client_gone] = wake::wait_for(fds, until)?;
        let woken = Woken { other, told_to_end: signal || claimed, client_gone };
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

struct Front {
    wakes: Wakes,
    orders: Orders,
    log: Option<File>,
}

/// A server that runs.
struct Running {
    keeper: Child,
    control: Arc<Control>,
    /// `None` if it can't have a PID.
    server: Option<Pid>,
    /// Can be read once all that it has said is passed on.
    done: UnixStream,
}

impl Front {
    fn run(
        mut self,
        overheard: &Arc<Overheard>,
        books: &Books,
        gate: Option<Gate>,
        restarts: Option<Restarts>,
    ) -> Result<ServerStatus, RunError> {
        let line = Arc::new(Line {
            overheard: Arc::clone(overheard),
            out: ClientOut::default(),
            input: Input::new(restarts.is_some()),
            books: books.words(),
            gate,
            handshake: restarts.is_some().then(Handshake::default),
        });
        let (stop, stopped) = UnixStream::pair()?;
        let mut stop = Some(stop); // dropped to end the client's words
        let up = Arc::clone(&line);
        // It may wait for the client for as long as this process lives, so nobody waits for it.
        thread::Builder::new().name("upstream".to_owned()).spawn(move || traffic::upstream(&up, &stopped))?;

        let mut restarts = restarts;
        let mut said = Said::default();
        loop {
            let status = match self.start(&line, &said, &mut stop)? {
                Ok(mut running) => {
                    let told = self.wait_for_end(&running.control, &mut stop)?;
                    let status = match told {
                        Some(status) => {
                            let _ = running.keeper.wait();
                            status
                        }
                        None => self.end_without_keeper(running.keeper, running.server),
                    };
                    self.hear_last_words(&running.done, &mut stop)?;
                    status
                }
                Err(status) => status,
            };
            let is_wanted = stop.is_some() && self.wakes.client.is_some();
            let Some(restarts) = restarts.as_mut().filter(|_| is_wanted) else { return Ok(status) };
            if !restarts.may_follow(status) {
                return Ok(status);
            }
            line.input.lose(); // from here on nothing is said to the one that is gone
            let unanswered = line.overheard.abandon();
            line.out.interject(&restart::errors(&unanswered, status))?;
            said =
                line.handshake.as_ref().map(|handshake| handshake.to_repeat(&unanswered)).unwrap_or_default();
            say("the server has failed, and is started again");
        }
    }

    /// Starts a server, and tells it what one before it was told. `Err`: how it ended at once.
    fn start(
        &mut self,
        line: &Arc<Line>,
        said: &Said,
        stop: &mut Option<UnixStream>,
    ) -> Result<Result<Running, ServerStatus>, RunError> {
        let (control, theirs) = control::pair()?;
        let control = Arc::new(control);
        let mut command = self.orders.command();
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        if self.log.is_some() {
            command.stderr(Stdio::piped());
        }
        let mut keeper = command.spawn()?;
        drop(command); // with it the keeper's end of the socket
        let (done, held) = UnixStream::pair()?;
        if let (Some(errors), Some(log)) = (keeper.stderr.take(), &self.log) {
            let (held, log) = (held.try_clone()?, log.try_clone()?);
            thread::Builder::new().name("errors".to_owned()).spawn(move || {
                traffic::errors(&File::from(OwnedFd::from(errors)), log);
                drop(held);
            })?;
        }
        let (server, input, output) = match control.listen()? {
            Some(ToFront::Started { pid, input, output }) => (Pid::from_raw(pid), File::from(input), output),
            Some(ToFront::Failed(reason)) => {
                let _ = keeper.wait();
                return Err(RunError::System(io::Error::other(reason)));
            }
            Some(ToFront::Ended(status)) => return Ok(Err(status)),
            None => return Ok(Err(self.end_without_keeper(keeper, None))),
        };
        let (heard, told) = UnixStream::pair()?;
        let unheard = said.initialize.as_ref().map(|(id, _)| (id.clone(), told));
        let down = Arc::clone(line);
        thread::Builder::new().name("downstream".to_owned()).spawn(move || {
            let is_heard = traffic::downstream(&down, File::from(output), unheard);
            if down.handshake.is_none() || !is_heard {
                client::close_output(); // nothing more comes
            }
            drop(held);
        })?;
        if let Some((_, initialize)) = &said.initialize {
            // One that fails at once has not heard it; its end is what counts.
            let _ = (&input).write_all(initialize);
            let until = Instant::now() + HANDSHAKE_PATIENCE;
            loop {
                let woken = self.wakes.wait(heard.as_fd(), Some(until))?;
                if woken.client_gone || woken.told_to_end {
                    *stop = None;
                }
                if woken.other || stop.is_none() || Instant::now() >= until {
                    break;
                }
            }
            let _ = (&input).write_all(said.initialized.as_deref().unwrap_or_default());
        }
        if stop.is_none() {
            control.tell(ToKeeper::EndNow);
        }
        line.input.open(input, &control);
        Ok(Ok(Running { keeper, control, server, done }))
    }

    /// Waits for what the keeper has to say at the end; `None` if it is gone and has not said it.
    fn wait_for_end(
        &mut self,
        control: &Control,
        stop: &mut Option<UnixStream>,
    ) -> Result<Option<ServerStatus>, RunError> {
        loop {
            let woken = self.wakes.wait(control.as_fd(), None)?;
            if woken.client_gone {
                *stop = None;
                control.tell(ToKeeper::InputOver);
            }
            if woken.told_to_end {
                *stop = None;
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
    fn hear_last_words(&mut self, done: &UnixStream, stop: &mut Option<UnixStream>) -> Result<(), RunError> {
        let mut until = stop.is_none().then(|| Instant::now() + LAST_WORDS_PATIENCE);
        loop {
            let woken = self.wakes.wait(done.as_fd(), until)?;
            if woken.other || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            if woken.client_gone || woken.told_to_end {
                *stop = None;
                until.get_or_insert_with(|| Instant::now() + LAST_WORDS_PATIENCE);
            }
        }
    }
}
