//! A server that lives the way an MCP server does: it registers, reaps, beats, updates agents, and ends by itself
//! when nobody needs it.
//!
//! ```sh
//! cargo run --example test-server -- governance.db --agent writer
//! ```
//!
//! It says on stdout what happens to it, one line each, and reaps when it reads the line `reap`. The tests use it
//! as the real process; the options that make it misbehave are for them.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use govstore::{Beat, Outcome, ProcessInfo, Registration, Store, Update};

/// Why a server ends, or what it is told.
enum Event {
    Reap,
    StdinClosed,
    Sigterm,
    Sigint,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(env::args().skip(1))?;
    let (sender, events) = mpsc::channel();
    listen_for_signals(sender.clone())?; // first of all: from here on SIGTERM ends it in good order
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == "reap" && sender.send(Event::Reap).is_err() {
                return;
            }
        }
        let _ = sender.send(Event::StdinClosed);
    });

    let store = Store::open(&options.db)?;
    let registration = store.register(ProcessInfo::new(&options.name, env!("CARGO_PKG_VERSION")))?;
    if options.heartbeat {
        registration.start_heartbeat()?;
    }
    println!("registered {}", registration.process_id());
    if options.reap {
        reap(&store)?;
    }
    if options.fork {
        fork_and_report(&store, registration);
        return Ok(());
    }

    let reason = loop {
        match events.recv_timeout(options.every) {
            Ok(Event::Reap) => reap(&store)?,
            Ok(Event::StdinClosed) | Err(RecvTimeoutError::Disconnected) => break "stdin closed",
            Ok(Event::Sigterm) if options.deaf => println!("ignored SIGTERM"),
            Ok(Event::Sigterm) => break "SIGTERM",
            Ok(Event::Sigint) => break "SIGINT",
            Err(RecvTimeoutError::Timeout) => {
                if let Some(agent) = &options.agent {
                    match store.process_update(agent, &Update::default()) {
                        Ok(report) => println!("updated {}", report.metrics.total_updates),
                        Err(busy @ govstore::Error::LockTimeout { .. }) => println!("busy: {busy}"),
                        Err(other) => return Err(other.into()),
                    }
                }
            }
        }
        if registration.must_exit() && !options.deaf {
            break "a reaper claimed it";
        }
        if registration.is_parent_gone() && !options.outlive_parent {
            break "its parent is gone";
        }
    };
    registration.deregister()?;
    println!("ended: {reason}");
    Ok(())
}

fn reap(store: &Store) -> govstore::Result<()> {
    for event in store.reap()?.events.into_iter().filter(|event| event.outcome != Outcome::Postponed) {
        println!("reaped {} {} {}", event.pid, event.verdict, event.outcome);
    }
    println!("ready");
    Ok(())
}

#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Options {
    db: PathBuf,
    /// What it calls itself.
    name: String,
    /// Which agent it updates, if any.
    agent: Option<String>,
    /// Between two updates, and between two looks at whether it must end.
    every: Duration,
    heartbeat: bool,
    reap: bool,
    /// Ignores SIGTERM.
    deaf: bool,
    /// Stays when its parent is gone.
    outlive_parent: bool,
    /// Forks, and says what the child is told.
    fork: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let db = args.next().ok_or("which database? server DB [--agent AGENT] [--every MS] [--name NAME]")?;
        let mut options = Self {
            db: db.into(),
            name: "example-server".to_owned(),
            agent: None,
            every: Duration::from_millis(20),
            heartbeat: true,
            reap: true,
            deaf: false,
            outlive_parent: false,
            fork: false,
        };
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or(format!("{option} needs a value"));
            match option.as_str() {
                "--name" => options.name = value()?,
                "--agent" => options.agent = Some(value()?),
                "--every" => options.every = Duration::from_millis(value()?.parse()?),
                "--no-heartbeat" => options.heartbeat = false,
                "--no-reap" => options.reap = false,
                "--deaf" => options.deaf = true,
                "--outlive-parent" => options.outlive_parent = true,
                "--fork" => options.fork = true,
                _ => return Err(format!("{option} is no option").into()),
            }
        }
        Ok(options)
    }
}

#[cfg(unix)]
fn listen_for_signals(sender: mpsc::Sender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for signal in &mut signals {
            let event = if signal == SIGINT { Event::Sigint } else { Event::Sigterm };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn listen_for_signals(_sender: mpsc::Sender<Event>) -> io::Result<()> {
    Ok(()) // Ctrl-C ends it, and its row is cleared away as that of one who died
}

/// In a forked child, the store and the registration say that they are the parent's, and dropping the
/// registration changes nothing.
#[cfg(unix)]
fn fork_and_report(store: &Store, registration: Registration) {
    match fork::fork() {
        Ok(fork::Fork::Child) => {
            let told = |outcome: Result<(), govstore::Error>| match outcome {
                Err(govstore::Error::Forked { opened_by }) => format!("forked from {opened_by}"),
                other => format!("{other:?}"),
            };
            println!("child beat: {}", told(registration.beat().map(|_: Beat| ())));
            println!("child heartbeat: {}", told(registration.start_heartbeat()));
            println!("child update: {}", told(store.process_update("a", &Update::default()).map(drop)));
            println!("child register: {}", told(store.register(ProcessInfo::new("child", "1")).map(drop)));
            println!("child processes: {}", told(store.processes().map(drop)));
            drop(registration);
            println!("child dropped it");
            std::process::exit(0);
        }
        Ok(fork::Fork::Parent(child)) => {
            let _ = fork::waitpid(child);
            println!("parent beat: {:?}", registration.beat().ok());
            let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        }
        Err(error) => println!("cannot fork: {error}"),
    }
}

#[cfg(not(unix))]
fn fork_and_report(_store: &Store, _registration: Registration) {
    println!("there is no fork here");
}
