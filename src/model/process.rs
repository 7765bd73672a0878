//! A registered server process: its row, its heartbeat, and a reaper's claim on it.

use std::fmt;

use serde::Serialize;

use super::run::{Container, RunId};
use super::timestamp::Timestamp;
use super::verdict::Verdict;
use crate::text_enum::text_enum;

text_enum! {
    /// Where a registered process is in its life.
    #[non_exhaustive]
    pub enum ProcessState {
        /// It is registered.
        Running => "running",
        /// A reaper has claimed it: it must end.
        Terminating => "terminating",
        /// It deregistered.
        Ended => "ended",
        /// It was found to be gone.
        Exited => "exited",
        /// A reaper ended it with SIGTERM.
        Terminated => "terminated",
        /// A reaper ended it with SIGKILL.
        Killed => "killed",
        /// Nobody could tell what became of it.
        Forgotten => "forgotten",
    }
}

/// A registered server process. Ages are measured on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// Its number in this registry; never given twice.
    pub process_id: i64,
    /// What it calls itself.
    pub name: String,
    /// Its version, in its own words.
    pub version: String,
    /// What the MCP client that it serves calls itself; `None` until that has introduced itself, and for programs that
    /// serve none.
    pub client_name: Option<String>,
    /// That client's version, in its own words.
    pub client_version: Option<String>,
    /// The version of the protocol that the two speak.
    pub protocol_version: Option<String>,
    /// Its PID, as its own PID namespace counts.
    pub pid: u32,
    /// Which machine it runs on, by its machine id; `None` where that has none.
    pub host_id: Option<String>,
    /// Which boot of which machine it belongs to.
    pub boot_id: String,
    /// Inode of its PID namespace; `None` where the system has none.
    pub pid_namespace: Option<u64>,
    /// Inode of its time namespace; `None` where the system has none.
    pub time_namespace: Option<u64>,
    /// When it started: kernel ticks since boot on Linux, elsewhere seconds since 1970.
    pub start_ticks: u64,
    /// The PID of its client; `None` if that could not be seen.
    pub parent_pid: Option<u32>,
    /// When its client started.
    pub parent_start_ticks: Option<u64>,
    /// Whether at its last beat its client was gone.
    pub parent_gone: bool,
    /// Its user.
    pub uid: Option<u32>,
    /// Where it is in its life.
    pub state: ProcessState,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When its client last used it; `None` if not yet.
    pub last_activity_at: Option<Timestamp>,
    /// When it last said that it lives.
    pub beat_at: Option<Timestamp>,
    /// Seconds since then; `None` for a process of another boot.
    pub heartbeat_age_s: Option<f64>,
    /// Seconds since its client last used it; `None` if not yet, or for a process of another boot.
    pub activity_age_s: Option<f64>,
    /// The tree of processes that it stands in front of, if it wraps a server.
    pub run_id: Option<RunId>,
    /// The container of that server, if it is one.
    pub container: Option<Container>,
}

/// A process with what only the reaper looks at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessRecord {
    pub process: Process,
    pub beat: Option<Heartbeat>,
    /// Since when it is unused: its last use, else its registration.
    pub activity_monotonic_ms: i64,
    /// Whether it holds locks on agents.
    pub holds_locks: bool,
    pub claim: Option<Claim>,
}

/// The last heartbeat of a process, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "named as the columns")]
pub(crate) struct Heartbeat {
    pub monotonic_ms: i64,
    /// How old it is by the wall clock.
    pub wall_age_ms: i64,
    pub interval_ms: i64,
    pub recovered_monotonic_ms: Option<i64>,
}

/// A reaper's claim on a process that it is about to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub verdict: Verdict,
    pub claimed_at: Timestamp,
    /// The reaper; `None` once it has given up, and somebody may try again after `until_monotonic_ms`.
    pub claimant: Option<Claimant>,
    pub until_monotonic_ms: i64,
}

/// The reaper that made a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub pid: u32,
    pub pid_namespace: Option<u64>,
    pub start_ticks: u64,
}

/// The present, by the clock of one boot, as the queries need it.
pub(crate) struct Now<'a> {
    pub boot_id: &'a str,
    pub monotonic_ms: i64,
    pub at: Timestamp,
}

/// What a process's own row says of it when it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnRow {
    pub state: ProcessState,
    pub parent_gone: bool,
}

/// A process that the registry knows by its kernel identity.
pub(crate) struct KnownProcess {
    pub process_id: i64,
    pub name: String,
    pub registered_at: Timestamp,
    pub state: ProcessState,
}

/// Longest name and version, in characters.
const NAME_MAX_CHARS: usize = 200;

/// What a process tells the registry about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) run_id: Option<RunId>,
    pub(crate) container: Option<Container>,
    pub(crate) most_of_name: Option<u32>,
}

impl ProcessInfo {
    /// A server's name and version, for people; cut to 200 characters.
    ///
    /// ```
    /// let info = govstore::ProcessInfo::new("my-server", env!("CARGO_PKG_VERSION"));
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let cut = |text: String| text.chars().take(NAME_MAX_CHARS).collect::<String>();
        let name = cut(name.into());
        Self {
            name: if name.is_empty() { "unnamed".to_owned() } else { name },
            version: cut(version.into()),
            run_id: None,
            container: None,
            most_of_name: None,
        }
    }

    /// The same, standing in front of another server: a tree of processes that all have [`RunId::VARIABLE`] in their
    /// environments. Once this process and the one with [`RunId::KEEPER_VARIABLE`] are gone, a reaper ends what is left
    /// of the tree.
    ///
    /// ```
    /// use govstore::{ProcessInfo, RunId};
    ///
    /// let info = ProcessInfo::new("files", "1.2").run(RunId::random()).at_most(3);
    /// ```
    #[must_use]
    pub const fn run(mut self, run_id: RunId) -> Self {
        self.run_id = Some(run_id);
        self
    }

    /// The same, where that server is a container. A reaper that ends what is left of it removes that, too.
    #[must_use]
    pub fn container(mut self, container: Container) -> Self {
        self.container = Some(container);
        self
    }

    /// The same, which may only register while fewer than `limit` processes of its name live; else
    /// [`Error::TooManyOfName`](crate::Error::TooManyOfName).
    #[must_use]
    pub const fn at_most(mut self, limit: u32) -> Self {
        self.most_of_name = Some(limit);
        self
    }
}

/// Longest name, version and protocol version of a client, in characters.
const CLIENT_MAX_CHARS: usize = 128;

/// What a client tells its server about itself, in a handshake.
///
/// The texts are a stranger's: they are cut to 128 characters, control characters are left out, and an empty one is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) protocol_version: Option<String>,
}

impl ClientInfo {
    /// A client's name and version.
    ///
    /// ```
    /// let client = govstore::ClientInfo::new("claude-code", "2.1").protocol_version("2025-11-25");
    /// ```
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        let tamed = |text| tamed(text, CLIENT_MAX_CHARS);
        Self { name: tamed(name), version: tamed(version), protocol_version: None }
    }

    /// The same, speaking this version of the protocol.
    #[must_use]
    pub fn protocol_version(mut self, version: &str) -> Self {
        self.protocol_version = tamed(version, CLIENT_MAX_CHARS);
        self
    }
}

/// A stranger's text as it is kept: without control characters, and no longer than this. `None` if nothing is left.
pub(super) fn tamed(text: &str, most_chars: usize) -> Option<String> {
    let kept: String = text.chars().filter(|c| !c.is_control()).take(most_chars).collect();
    (!kept.trim().is_empty()).then_some(kept)
}

/// A process that has a database open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DatabaseUser {
    /// Its PID.
    pub pid: u32,
    /// The name of its command; `None` where it can't be seen.
    pub command: Option<String>,
}

/// Who it is, for a sentence: `PID 4711 (sqlite3)`.
impl fmt::Display for DatabaseUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == std::process::id() {
            return write!(f, "this process itself (PID {})", self.pid);
        }
        write!(f, "PID {}", self.pid)?;
        self.command.as_ref().map_or(Ok(()), |command| write!(f, " ({command})"))
    }
}

/// How long ago a moment of this boot was. A row can hold any number, and none may make a reaper panic or take an
/// ancient beat for a fresh one.
pub(crate) const fn age_ms(now_ms: i64, then_ms: i64) -> i64 {
    now_ms.saturating_sub(then_ms)
}

/// Milliseconds of an age as seconds; an age is never negative.
#[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
pub(crate) fn seconds(milliseconds: i64) -> f64 {
    milliseconds.max(0) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_itself_is_short_and_does_nothing() {
        let client = ClientInfo::new("\u{1b}[2Jevil\n\0", &"é".repeat(1000)).protocol_version(" \t ");
        assert_eq!(client.name.as_deref(), Some("[2Jevil"));
        assert_eq!(client.version.map(|version| version.chars().count()), Some(CLIENT_MAX_CHARS));
        assert_eq!(client.protocol_version, None);
    }
}
