//! Processes on systems that are not Linux: sysinfo to look at them, `kill` to signal them.
//!
//! Identity is PID and start time in seconds since 1970, which the kernel notes when a process starts; it also
//! tells boots apart. Without a pidfd a moment remains between the last look and the signal. A signal could go
//! astray only if in that moment the victim ended and its PID came round to a process that started within the
//! same second as the victim, which is one that the look itself could not have told apart.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, UpdateKind};

use super::file_id::FileId;
use super::system::parent_pid;
use super::system::{Here, Hold, LockKind, NoHold, Parent, Presence, Sighting, Signal, System};
#[cfg(unix)]
use super::system::{gone_or_hidden, signalable};

/// `boot_id` where the system tells none: start times tell boots apart.
const NO_BOOT_ID: &str = "unknown";

/// Any system, as this process sees it.
pub(crate) struct Portable {
    here: Here,
}

impl Portable {
    /// Looks who we are.
    #[cfg_attr(
        all(target_os = "linux", not(govstore_portable), not(test)),
        expect(dead_code, reason = "on Linux the tests alone use it")
    )]
    pub fn new() -> io::Result<Self> {
        let pid = std::process::id();
        match look_at(pid) {
            Sighting::Present(seen) => Ok(Self {
                here: Here {
                    host_id: None,
                    boot_id: NO_BOOT_ID.to_owned(),
                    pid_namespace: None,
                    time_namespace: None,
                    pid,
                    start_ticks: seen.start_ticks,
                    uid: seen.uid,
                    sees_open_files: false,
                },
            }),
            _ => Err(io::Error::other("the system does not show this process to itself")),
        }
    }
}

impl System for Portable {
    fn here(&self) -> &Here {
        &self.here
    }

    fn parent(&self) -> Option<Parent> {
        let pid = parent_pid()?;
        match look_at(pid) {
            Sighting::Present(seen) if parent_pid() == Some(pid) => {
                Some(Parent { pid, start_ticks: seen.start_ticks })
            }
            _ => None,
        }
    }

    fn look_at(&self, pid: u32) -> Sighting {
        look_at(pid)
    }

    fn command(&self, pid: u32) -> Option<String> {
        with_process(pid, |process| process.name().to_string_lossy().into_owned())
    }

    /// No other system has a list of locks that can be read without opening the file.
    fn lock_owners(&self, _file: &Path, _kind: LockKind, _bytes: RangeInclusive<u64>) -> Vec<u32> {
        Vec::new()
    }

    fn displaced(&self, _database: &Path, _wal_index: &Path) -> Vec<u32> {
        Vec::new()
    }

    /// No other system shows it without a program or unsafe code of its own.
    fn has_open(&self, _pid: u32, _files: &[FileId]) -> Option<bool> {
        None
    }

    fn users_of(&self, _files: &[FileId]) -> Vec<u32> {
        Vec::new()
    }

    fn hold(&self, pid: u32, start_ticks: u64) -> Result<Box<dyn Hold>, NoHold> {
        let held = Identified { pid, start_ticks };
        held.still_there()?;
        Ok(Box::new(held))
    }
}

/// A process that is looked at again before each signal.
struct Identified {
    pid: u32,
    start_ticks: u64,
}

impl Identified {
    fn still_there(&self) -> Result<(), NoHold> {
        match look_at(self.pid) {
            Sighting::Hidden(reason) => Err(NoHold::Denied(io::Error::other(reason))),
            seen if seen.rules_out(self.start_ticks) => Err(NoHold::Gone),
            _ => Ok(()),
        }
    }
}

impl Hold for Identified {
    #[cfg(unix)]
    fn send(&self, signal: Signal) -> Result<(), NoHold> {
        let pid = signalable(self.pid)?;
        self.still_there()?;
        rustix::process::kill_process(pid, signal.number()).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => NoHold::Gone,
            other => NoHold::Denied(other.into()),
        })
    }

    /// Without signals there is no asking to end: only `KILL` does something.
    #[cfg(not(unix))]
    fn send(&self, signal: Signal) -> Result<(), NoHold> {
        self.still_there()?;
        if signal == Signal::Kill && !with_process(self.pid, |process| process.kill()).unwrap_or(true) {
            return Err(NoHold::Denied(io::Error::other("the system refuses to end it")));
        }
        Ok(())
    }

    fn has_exited(&self) -> bool {
        matches!(self.still_there(), Err(NoHold::Gone))
    }
}

fn look_at(pid: u32) -> Sighting {
    let seen = with_process(pid, |process| Presence {
        start_ticks: process.start_time(),
        uid: uid(process),
        exited: matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead),
        stopped: matches!(process.status(), ProcessStatus::Stop | ProcessStatus::Tracing),
        traced: process.status() == ProcessStatus::Tracing,
    });
    match seen {
        Some(presence) => Sighting::Present(presence),
        #[cfg(unix)]
        None => gone_or_hidden(pid, "the system does not show it to us"),
        #[cfg(not(unix))]
        None => Sighting::Gone,
    }
}

fn with_process<T>(pid: u32, look: impl FnOnce(&sysinfo::Process) -> T) -> Option<T> {
    let pid = Pid::from_u32(pid);
    let mut system = sysinfo::System::new().ok()?;
    let what = ProcessRefreshKind::nothing().with_user(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    system.process(pid).map(look)
}

#[cfg(unix)]
fn uid(process: &sysinfo::Process) -> Option<u32> {
    process.user_id().map(|uid| **uid)
}

#[cfg(not(unix))]
fn uid(_process: &sysinfo::Process) -> Option<u32> {
    None // users have no numbers there; the system itself refuses to end what is not ours
}
