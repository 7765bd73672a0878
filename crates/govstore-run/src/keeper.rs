//! The keeper: starts the server, and ends its tree once the server ends, the front says so, or the front is gone.
//!
//! It is a session of its own, since clients end stubborn servers by a signal to the whole process group.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io};

use govstore::{Container, RunId};
use rustix::process::{Pid, getpid, getppid, setsid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::control::{Control, ToFront};
use crate::options::Graces;
use crate::say::say;
use crate::tree::{self, Stage, Wakers};
use crate::{trampoline, wake};

/// The first argument that makes this program a keeper.
pub const VERB: &str = "run-keeper";

/// How long the removal of a container may take.
pub const CONTAINER_PATIENCE: Duration = Duration::from_secs(10);

/// What a front tells its keeper at the start.
#[derive(Debug, Clone)]
pub struct Orders {
    pub run_id: RunId,
    pub graces: Graces,
    pub container: Option<Container>,
    pub command: Vec<OsString>,
}

impl Orders {
    /// The keeper as a command, whose standard input has to be its end of the control socket.
    pub fn command(&self) -> Command {
        // The file that runs, even if another one has its name by now, as after an upgrade.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("govstore").arg(VERB).arg(getpid().as_raw_nonzero().to_string());
        command.arg(self.graces.end_of_input.as_millis().to_string());
        command.arg(self.graces.terminate.as_millis().to_string());
        match &self.container {
            Some(container) => {
                command.arg(container.runtime.as_str()).arg(&container.id_file);
            }
            None => {
                command.args(["-", "-"]);
            }
        }
        command.args(&self.command);
        command.env(RunId::KEEPER_VARIABLE, self.run_id.to_string());
        command
    }

    /// What [`command`](Self::command) made of it, after the first argument.
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<(Pid, Self)> {
        let mut number = || arguments.next()?.to_str()?.parse().ok();
        let front = Pid::from_raw(i32::try_from(number()?).ok()?)?;
        let graces = Graces {
            end_of_input: Duration::from_millis(number()?),
            terminate: Duration::from_millis(number()?),
        };
        let runtime = arguments.next()?;
        let id_file = arguments.next()?;
        let container = runtime.to_str()?.parse().ok().map(|runtime| Container::new(runtime, id_file));
        let run_id = env::var(RunId::KEEPER_VARIABLE).ok()?.parse().ok()?;
        Some((front, Self { run_id, graces, container, command: arguments.collect() }))
    }
}

/// Runs as the keeper, until nothing is left of the server.
pub fn main(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let (front, orders) = Orders::parse(arguments)
        .ok_or_else(|| io::Error::other(format!("{VERB} is started by `govstore run` alone")))?;
    let _ = setsid(); // it fails if this process leads a session already
    tree::adopt()?;
    let child = wake::on_signals(&[SIGCHLD])?;
    let signal = wake::on_signals(&[SIGTERM, SIGINT, SIGHUP])?;
    let control = Control::from(rustix::stdio::stdin().try_clone_to_owned()?);
    keep_nothing_open()?;
    if getppid() != Some(front) {
        return Ok(()); // it is gone already, and nothing was started
    }

    let mut command = Command::new("/proc/self/exe");
    command.arg0("govstore").arg(trampoline::VERB).arg(getpid().as_raw_nonzero().to_string());
    command.args(&orders.command);
    command.env_remove(RunId::KEEPER_VARIABLE).env(RunId::VARIABLE, orders.run_id.to_string());
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = match command.spawn() {
        Ok(server) => server,
        Err(error) => {
            control.report(ToFront::Failed(error.to_string()));
            return Ok(());
        }
    };
    drop(command);
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(input), Some(output)) = (pid, server.stdin.take(), server.stdout.take()) {
        let (input, output) = (OwnedFd::from(input), OwnedFd::from(output));
        control.report(ToFront::Started { pid: pid.as_raw_nonzero().get(), input, output });
    }

    let wakers = Wakers { child: &child, signal: Some(&signal), control: Some(&control) };
    let status = tree::keep(pid, Stage::Running, orders.graces, &wakers)?;
    if let Some(container) = &orders.container {
        remove(container);
    }
    control.report(ToFront::Ended(status));
    Ok(())
}

/// Removes the container of a server that has ended: ending its client doesn't end it.
pub fn remove(container: &Container) {
    if let Err(error) = container.remove(CONTAINER_PATIENCE) {
        say(&format!("the container of the server may be left: {error}"));
    }
}

/// Lets go of the client's pipes. Standard input was the control socket, which is held by another number now.
fn keep_nothing_open() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    Ok(())
}
