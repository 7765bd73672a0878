//! What a server is started through: it dies with its keeper.
//!
//! The parent-death signal can only be set by the process itself, and stays through an exec. It comes when the thread ends
//! that has started the process; a keeper has one thread.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The first argument that makes this program a trampoline.
pub const VERB: &str = "run-server";

/// Becomes the server. Returns only if that fails, with what a shell would exit with.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let keeper = arguments.next().and_then(|pid| Pid::from_raw(pid.to_str()?.parse().ok()?));
    let (Some(keeper), Some(program)) = (keeper, arguments.next()) else {
        eprintln!("{VERB} is started by `govstore run` alone");
        return ExitCode::from(2);
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("govstore run: {}", io::Error::from(error)); // it runs, and its keeper ends it while it can
    }
    if getppid() != Some(keeper) {
        return ExitCode::FAILURE; // the keeper was gone before it could be heard of
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("govstore run: cannot start {}: {error}", program.display());
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}
