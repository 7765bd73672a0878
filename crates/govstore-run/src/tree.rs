//! The tree of processes that a wrapped server is, and its end.
//!
//! Whoever ends it is a child subreaper: a process whose parent ended becomes its child, however it was started
//! (`setsid`, a double fork). So once it has no children, nothing is left of the tree, and no list of processes could be
//! as sure. The list in `/proc` is for the signals alone.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, wait,
};

use crate::control::{Control, ToKeeper};
use crate::options::Graces;
use crate::say::say;
use crate::status::ServerStatus;
use crate::wake::{drain, wait_for};

/// How long a process may take to go after SIGKILL. One that takes longer can't be ended by this user.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Where the end of a tree has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is not to end.
    Running,
    /// Its input is closed, and it may end by itself until then.
    InputOver(Instant),
    /// It was told to end by SIGTERM, and may do so until then.
    Terminating(Instant),
    /// It was ended by SIGKILL.
    Killing(Instant),
}

impl Stage {
    const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::InputOver(until) | Self::Terminating(until) | Self::Killing(until) => Some(until),
        }
    }
}

/// What wakes who waits for a tree.
pub struct Wakers<'a> {
    /// Is readable after a child has ended.
    pub child: &'a UnixStream,
    /// Is readable after a signal has asked this process to end, if it has to obey.
    pub signal: Option<&'a UnixStream>,
    /// What the front says, and the end of which is the front's end.
    pub control: Option<&'a Control>,
}

/// From now on, processes below this one whose parents end become its children.
pub fn adopt() -> rustix::io::Result<()> {
    set_child_subreaper(Some(getpid()))
}

/// Waits until nothing is left of the tree, and ends it once it is told to, or the server has ended. Returns how the
/// server ended, as far as that is known.
pub fn keep(
    server: Option<Pid>,
    mut stage: Stage,
    graces: Graces,
    wakers: &Wakers<'_>,
) -> rustix::io::Result<ServerStatus> {
    let mut status = ServerStatus::Unknown;
    let mut control = wakers.control;
    loop {
        let is_over = !reap_children(|pid, how| {
            if Some(pid) == server {
                status = ServerStatus::from(how);
            }
        })?;
        if is_over {
            return Ok(status);
        }
        let now = Instant::now();
        let has_server_ended = status != ServerStatus::Unknown;
        stage = match stage {
            Stage::Running | Stage::InputOver(_) if has_server_ended => terminate(now, graces),
            Stage::InputOver(until) if now >= until => terminate(now, graces),
            Stage::Terminating(until) if now >= until => {
                signal_all(&[Signal::KILL]);
                Stage::Killing(now + KILL_PATIENCE)
            }
            Stage::Killing(until) if now >= until => {
                let left: Vec<_> =
                    descendants().iter().map(|(pid, _)| pid.as_raw_nonzero().to_string()).collect();
                say(&format!("these processes can't be ended: PID {}", left.join(", ")));
                return Ok(status);
            }
            Stage::Killing(until) => {
                signal_all(&[Signal::KILL]); // those that were born while the others were looked for
                Stage::Killing(until)
            }
            waiting => waiting,
        };
        let fds = [Some(wakers.child.as_fd()), wakers.signal.map(AsFd::as_fd), control.map(AsFd::as_fd)];
        let [_, signal, word] = wait_for(fds, stage.deadline())?;
        drain(wakers.child);
        if signal {
            wakers.signal.iter().for_each(|socket| drain(socket));
        }
        if signal && !matches!(stage, Stage::Terminating(_) | Stage::Killing(_)) {
            stage = terminate(Instant::now(), graces);
        }
        if word && let Some(from_front) = control {
            match from_front.receive()? {
                Some(ToKeeper::EndNow) if !matches!(stage, Stage::Terminating(_) | Stage::Killing(_)) => {
                    stage = terminate(Instant::now(), graces);
                }
                Some(ToKeeper::InputOver) if stage == Stage::Running => {
                    stage = Stage::InputOver(Instant::now() + graces.end_of_input);
                }
                Some(_) => {}
                None => {
                    // The front is gone, and with it the other end of the server's input.
                    control = None;
                    if stage == Stage::Running {
                        stage = Stage::InputOver(Instant::now() + graces.end_of_input);
                    }
                }
            }
        }
    }
}

/// Tells all to end, once; a stopped process can't obey until it is continued.
fn terminate(now: Instant, graces: Graces) -> Stage {
    signal_all(&[Signal::TERM, Signal::CONT]);
    Stage::Terminating(now + graces.terminate)
}

/// Asks for the exit status of every child that has ended. `false` if there is no child any more.
fn reap_children(mut each: impl FnMut(Pid, WaitStatus)) -> rustix::io::Result<bool> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, how))) => each(pid, how),
            Ok(None) => return Ok(true),
            Err(Errno::CHILD) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(other) => return Err(other),
        }
    }
}

/// Signals every process below this one, each held by a pidfd that is known to be of that very process.
fn signal_all(signals: &[Signal]) {
    for (pid, start) in descendants() {
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Had the PID gone to another process since, that one would have started later.
        if Stat::read(pid).is_some_and(|stat| stat.start == start) {
            for signal in signals {
                let _ = pidfd_send_signal(&held, *signal); // it may have ended just now
            }
        }
    }
}

/// The processes below this one, and when each started.
fn descendants() -> Vec<(Pid, u64)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let all: Vec<(Pid, Stat)> = pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect();
    let mut found: Vec<(Pid, u64)> = Vec::new();
    let mut parents = vec![getpid()];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.parent == Some(parent)) {
            found.push((*pid, stat.start));
            parents.push(*pid);
        }
    }
    found
}

/// What we need of `/proc/PID/stat`.
struct Stat {
    parent: Option<Pid>,
    start: u64,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
    }

    /// The second field is the command's name in parentheses, and may itself hold spaces and parentheses, so the fields
    /// are counted from the last one on. See `proc_pid_stat(5)`.
    fn parse(stat: &[u8]) -> Option<Self> {
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let after_name = str::from_utf8(stat.get(close + 1..)?).ok()?;
        let field = |number: usize| after_name.split_ascii_whitespace().nth(number - 3);
        Some(Self { parent: Pid::from_raw(field(4)?.parse().ok()?), start: field(22)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let fields = "R 17 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 7 0 98765 21 22";
        for name in ["server", "a (b) c", "x) Z 0 0", ") ("] {
            let stat = Stat::parse(format!("42 ({name}) {fields}\n").as_bytes()).expect("a stat");
            assert_eq!((stat.parent, stat.start), (Pid::from_raw(17), 98765), "{name}");
        }
        assert!(Stat::parse(b"42 (server").is_none());
    }
}
