//! Who holds a lock: SQLite's write lock, or the lock of an agent.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::timestamp::Timestamp;
use crate::text_enum::text_enum;

text_enum! {
    /// What a process that is waited for was doing when it was last looked at.
    #[non_exhaustive]
    pub enum HolderState {
        /// It runs.
        Running => "running",
        /// It was stopped, as with SIGSTOP or Ctrl-Z: it goes on after SIGCONT.
        Stopped => "stopped",
        /// Its cgroup is frozen, as by `docker pause`: no signal wakes it.
        Frozen => "frozen",
        /// It has ended.
        Gone => "gone",
        /// It can't be looked at from here, as in another PID namespace.
        Unknown => "unknown",
    }
}

text_enum! {
    /// Why a process is not for this one to wake or to end.
    #[non_exhaustive]
    pub enum OutOfReach {
        /// It belongs to another user.
        AnotherUser => "another_user",
        /// It runs in another PID namespace, as of a container.
        AnotherNamespace => "another_namespace",
    }
}

/// The process that holds a lock for which another one waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LockHolder {
    /// Its PID: of the one that holds SQLite's write lock as the PID namespace of this process counts, of the one that
    /// holds the lock of an agent as its own does.
    pub pid: u32,
    /// What it calls itself in the registry; else the name of its command, empty where that can't be known. Of one that
    /// runs on another machine, with that machine: `my-server on db-client-2`.
    pub name: String,
    /// Its number in the registry; `None` if it is not registered.
    pub process_id: Option<i64>,
    /// When it registered.
    pub registered_at: Option<Timestamp>,
    /// For how long it has held the lock; in JSON `held_for_s`, in seconds. Of an agent's lock that is exact. Of
    /// SQLite's write lock nothing knows it: it is how long ago the waiter first saw this process
    /// hold it, having found it again at every look since, so at least that long unless it was let go in
    /// between.
    #[serde(rename = "held_for_s", serialize_with = "seconds")]
    pub held_for: Duration,
    /// What it was doing.
    pub state: HolderState,
    /// Why it is not for this process to wake or to end; `None` if nothing speaks against it.
    pub out_of_reach: Option<OutOfReach>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl LockHolder {
    /// Whether it is this very process.
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.pid == std::process::id() && self.state != HolderState::Unknown
    }
}

/// Who it is, for a sentence: `PID 4711 (my-server, registered 2025-11-19T20:41:09.824Z)`.
impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_this_process() {
            return write!(f, "another thread of this process (PID {})", self.pid);
        }
        write!(f, "PID {}", self.pid)?;
        match (self.name.as_str(), self.registered_at) {
            ("", _) => Ok(()),
            (name, Some(at)) => write!(f, " ({name}, registered {at})"),
            (name, None) => write!(f, " ({name})"),
        }
    }
}

/// A held lock on an agent, as its row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockRow {
    /// The holder's number in the registry.
    pub process_id: i64,
    pub token: i64,
    pub acquired_at: Timestamp,
}

/// A lock that is held on an agent: a row of the view `lock_holders`, and what its holder is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AgentLockInfo {
    /// The agent.
    pub agent_id: String,
    /// The fencing token.
    pub token: i64,
    /// The holder's number in the registry.
    pub process_id: i64,
    /// The holder's PID; `None` if it is no longer registered.
    pub pid: Option<u32>,
    /// What the holder calls itself; `None` if it is no longer registered.
    pub name: Option<String>,
    /// What the holder is doing.
    pub state: HolderState,
    /// Since when it is held.
    pub acquired_at: Timestamp,
    /// When the holder last said that it still needs it.
    pub renewed_at: Timestamp,
    /// For how long it has been held, in seconds by wall clock.
    pub held_for_s: f64,
    /// Seconds since the holder's last heartbeat by wall clock; `None` if it is no longer registered.
    pub heartbeat_age_s: Option<f64>,
    /// What for, in the holder's words.
    pub reason: Option<String>,
}
