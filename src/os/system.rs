//! What the registry and the reaper ask of the operating system, as a trait.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use super::file_id::FileId;

/// This process, and what it shares with those that it can judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Here {
    /// The machine, by its machine id; `None` where it has none, as in many containers.
    pub host_id: Option<String>,
    pub boot_id: String,
    pub pid_namespace: Option<u64>,
    /// Clocks and start times of another one can't be compared with ours.
    pub time_namespace: Option<u64>,
    pub pid: u32,
    pub start_ticks: u64,
    pub uid: Option<u32>,
    /// Whether the system shows which files a process of ours has open.
    pub sees_open_files: bool,
}

/// A process that was alive when it was looked at: PID and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub pid: u32,
    pub start_ticks: u64,
}

/// What a look at one PID showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// No process has that PID.
    Gone,
    /// There may be one, but it cannot be looked at: EPERM is not dead.
    Hidden(String),
    /// A process has it.
    Present(Presence),
}

/// A process that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub start_ticks: u64,
    pub uid: Option<u32>,
    /// It has ended, and its parent did not ask for its exit status yet: a zombie.
    pub exited: bool,
    /// It was stopped, as with SIGSTOP.
    pub stopped: bool,
    /// A debugger has it.
    pub traced: bool,
}

impl Sighting {
    /// Whether the process that started at `start_ticks` is certainly gone.
    pub fn rules_out(&self, start_ticks: u64) -> bool {
        match self {
            Self::Gone => true,
            Self::Hidden(_) => false,
            Self::Present(presence) => presence.exited || presence.start_ticks != start_ticks,
        }
    }
}

/// What the registry and the reaper ask of the operating system.
pub(crate) trait System: Sync {
    /// This process.
    fn here(&self) -> &Here;

    /// The parent of this process; `None` where it cannot be seen.
    fn parent(&self) -> Option<Parent>;

    /// Looks at a PID.
    fn look_at(&self, pid: u32) -> Sighting;

    /// What its command is called; `None` where it cannot be seen.
    fn command(&self, pid: u32) -> Option<String>;

    /// What is left of a tree of processes that say in their environments that they belong to it, by `member`; the one
    /// that ends it says so by `keeper`. `None` where environments can't be seen.
    fn remains(&self, _member: &str, _keeper: &str) -> Option<Remains> {
        None // known on Linux alone
    }

    /// Holds a process of such a tree, so that it can be signalled.
    fn hold_remnant(&self, _remnant: Remnant, _member: &str) -> Result<Box<dyn Hold>, NoHold> {
        Err(NoHold::Gone)
    }

    /// Whether its cgroup is frozen, as by `docker pause`. It looks as if it ran, and no signal wakes it.
    fn is_frozen(&self, _pid: u32) -> bool {
        false // known on Linux alone
    }

    /// Its PID in its own PID namespace, if that is another one than ours.
    fn pid_elsewhere(&self, _pid: u32) -> Option<u32> {
        None // there are no others
    }

    /// The PIDs of the processes that have locked some of these bytes of a file in this way; none where that
    /// cannot be known. Only looks at the file's metadata.
    fn lock_owners(&self, file: &Path, kind: LockKind, bytes: RangeInclusive<u64>) -> Vec<u32>;

    /// The PIDs of the processes that have a file open which was `database` once and is no longer, and of those
    /// that have its `wal_index` open without it; none where that cannot be known.
    fn displaced(&self, database: &Path, wal_index: &Path) -> Vec<u32>;

    /// Whether a process has one of these files open, whatever name it opened it by; `None` where the system doesn't
    /// tell, as of other users' processes.
    fn has_open(&self, pid: u32, files: &[FileId]) -> Option<bool>;

    /// Whether a process has a file in memory of this name; `None` where the system doesn't tell.
    #[cfg(feature = "postgres")]
    fn has_open_in_memory(&self, _pid: u32, _name: &str) -> Option<bool> {
        None // only Linux shows it
    }

    /// The PIDs of all processes, this one too, that are known to have one of these files open.
    fn users_of(&self, files: &[FileId]) -> Vec<u32>;

    /// Takes hold of the process that has this PID and started then, so that a signal reaches it or nobody.
    fn hold(&self, pid: u32, start_ticks: u64) -> Result<Box<dyn Hold>, NoHold>;
}

/// What is left of a tree of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Whether the process lives whose work it is to end the others.
    pub has_keeper: bool,
    pub processes: Vec<Remnant>,
}

/// A process that is left of it: PID and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remnant {
    pub pid: u32,
    pub start_ticks: u64,
}

/// How a process may lock bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockKind {
    Read,
    Write,
}

/// A hold on one identified process.
pub(crate) trait Hold {
    /// Sends it a signal; nobody else gets it, even if it has ended since.
    fn send(&self, signal: Signal) -> Result<(), NoHold>;

    /// Whether it has ended, a zombie included.
    fn has_exited(&self) -> bool;
}

/// Why a process cannot be signalled.
#[derive(Debug)]
pub(crate) enum NoHold {
    /// It has ended.
    Gone,
    /// The system refuses.
    Denied(io::Error),
}

/// The signals that the reaper sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Term,
    Cont,
    Kill,
}

impl Signal {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Cont => "CONT",
            Self::Kill => "KILL",
        }
    }

    #[cfg(unix)]
    pub const fn number(self) -> rustix::process::Signal {
        match self {
            Self::Term => rustix::process::Signal::TERM,
            Self::Cont => rustix::process::Signal::CONT,
            Self::Kill => rustix::process::Signal::KILL,
        }
    }
}

/// A PID that may be signalled. 0 and negative numbers would reach whole process groups, and 1 is init.
#[cfg(unix)]
pub(crate) fn signalable(pid: u32) -> Result<rustix::process::Pid, NoHold> {
    let refused = || NoHold::Denied(io::Error::other(format!("PID {pid} is never signalled")));
    if pid <= 1 || pid == std::process::id() {
        return Err(refused());
    }
    let raw = i32::try_from(pid).map_err(|_| refused())?;
    rustix::process::Pid::from_raw(raw).ok_or_else(refused)
}

/// Whether a PID that could not be looked at is free, or belongs to somebody who is hidden from us.
#[cfg(unix)]
pub(crate) fn gone_or_hidden(pid: u32, reason: &str) -> Sighting {
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    match raw.map(rustix::process::test_kill_process) {
        None | Some(Err(rustix::io::Errno::SRCH)) => Sighting::Gone,
        Some(_) => Sighting::Hidden(reason.to_owned()),
    }
}

/// The PID of this process's parent as it is now.
#[cfg(unix)]
pub(crate) fn parent_pid() -> Option<u32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
}

/// Where a process outlives its parent without being told of it.
#[cfg(not(unix))]
pub(crate) fn parent_pid() -> Option<u32> {
    None
}
