//! How processes are judged, and what the reaper did about it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::lock::LockHolder;
use super::process::{Process, ProcessState};
use super::run::RunId;
use super::timestamp::Timestamp;
use super::verdict::Verdict;
use crate::text_enum::text_enum;

text_enum! {
    /// What the reaper does about a judgement.
    #[non_exhaustive]
    pub enum Action {
        /// Nothing.
        Leave => "leave",
        /// Removes it from the registry, without a signal.
        Forget => "forget",
        /// Notes it, to judge again an interval later.
        Postpone => "postpone",
        /// Releases its locks on agents, and leaves it alone.
        Release => "release",
        /// Ends it: SIGTERM, then SIGKILL.
        End => "end",
    }
}

/// What must not move between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The moment of the last beat.
    Beat(i64),
    /// The same of one that could not be expected to beat, as it was stopped together with its client. Once it goes on,
    /// what was noted before says nothing about it any more.
    SparedBeat(i64),
    /// The moment since which it is unused.
    Unused(i64),
}

/// One process, and what the reaper thinks of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Judgement {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// What it was judged to be.
    pub verdict: Verdict,
    /// What is done about it.
    pub action: Action,
    /// What the verdict rests on, in words.
    pub evidence: String,
    /// Whether it was seen to be stopped, as with SIGSTOP or Ctrl-Z.
    pub stopped: bool,
    /// Whether it holds one of `max_processes` places: it lives, and the caller could end it or is it.
    pub occupies: bool,
    /// For a judgement that is put off: in how many milliseconds it may be made.
    #[serde(skip)]
    pub(crate) again_in_ms: i64,
    /// What must not have moved by then.
    #[serde(skip)]
    pub(crate) mark: Option<Mark>,
    /// The run of which something is left, if the process is gone and that is to be ended in its place.
    #[serde(skip)]
    pub(crate) run_left: Option<RunId>,
}

/// How every registered process was judged, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReapPlan {
    /// The judgements.
    pub judgements: Vec<Judgement>,
}

impl ReapPlan {
    /// Whether a reaper has anything to write or to signal.
    pub(crate) fn calls_for_action(&self) -> bool {
        self.judgements.iter().any(|judgement| judgement.action != Action::Leave)
    }

    /// How long until a judgement that was put off may be made; `None` if none was.
    #[must_use]
    pub fn look_again_after(&self) -> Option<Duration> {
        let postponed = self.judgements.iter().filter(|judgement| judgement.action == Action::Postpone);
        let in_ms = postponed.map(|judgement| judgement.again_in_ms).min()?;
        Some(Duration::from_millis(in_ms.unsigned_abs()))
    }

    /// The processes that hold a place.
    pub fn occupants(&self) -> impl Iterator<Item = &Process> {
        self.judgements.iter().filter(|judgement| judgement.occupies).map(|judgement| &judgement.process)
    }
}

text_enum! {
    /// What became of a judgement.
    #[non_exhaustive]
    pub enum Outcome {
        /// The process obeyed SIGTERM.
        Terminated => "terminated",
        /// The process had to be killed.
        Killed => "killed",
        /// The process ended before it was signalled.
        Gone => "gone",
        /// The process left the registry without a signal.
        Forgotten => "forgotten",
        /// It is judged again an interval later.
        Postponed => "postponed",
        /// It was stopped while it held the write lock, and went on after SIGCONT.
        Continued => "continued",
        /// It lives, and its locks on agents were released.
        Released => "released",
        /// The process did not go, not even after SIGKILL. It is tried again later.
        Survived => "survived",
        /// The system refused to signal it. It is tried again later.
        Denied => "denied",
    }
}

impl Outcome {
    /// The state of a process's row that this ends; `None` if the process may live.
    pub(crate) const fn ended_as(self) -> Option<ProcessState> {
        match self {
            Self::Terminated => Some(ProcessState::Terminated),
            Self::Killed => Some(ProcessState::Killed),
            Self::Gone => Some(ProcessState::Exited),
            _ => None,
        }
    }
}

/// One entry of the reaper's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReapEvent {
    /// Order of arrival.
    pub reap_event_id: i64,
    /// When it was over.
    pub recorded_at: Timestamp,
    /// The victim's number in the registry.
    pub process_id: i64,
    /// What the victim called itself.
    pub name: String,
    /// The victim's version.
    pub version: String,
    /// What the client that it served called itself; `None` if that is not known, or no longer.
    pub client_name: Option<String>,
    /// That client's version.
    pub client_version: Option<String>,
    /// The victim's PID.
    pub pid: u32,
    /// What it was judged to be.
    pub verdict: Verdict,
    /// What the verdict rests on, in words.
    pub evidence: String,
    /// Age of its heartbeat when it was judged, in milliseconds; `None` if that is not known.
    pub heartbeat_age_ms: Option<i64>,
    /// Age of its activity then, in milliseconds; `None` if that is not known.
    pub activity_age_ms: Option<i64>,
    /// When it was claimed; `None` if it was not to be signalled.
    pub claimed_at: Option<Timestamp>,
    /// What was sent, in order: `TERM CONT KILL`.
    pub signals: String,
    /// Milliseconds from the first signal to the outcome; `None` if nothing was sent.
    pub took_ms: Option<i64>,
    /// What became of it.
    pub outcome: Outcome,
    /// The reaper's PID.
    pub reaper_pid: u32,
    /// The reaper's number in the registry, if it was registered.
    pub reaper_process_id: Option<i64>,
}

/// What a reaper did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReapReport {
    /// What it did or put off, as in the ledger.
    pub events: Vec<ReapEvent>,
    /// How it judged every registered process, and why.
    pub plan: ReapPlan,
}

/// What a reaper looks at a second time before it acts.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SecondLook<'a> {
    /// The processes whose judgement was put off.
    At(&'a ReapPlan),
    /// A process that is stopped while it holds the write lock; `None` where it can't be named.
    AtHolder(Option<&'a LockHolder>),
}

/// Why a reaper has claimed this process, for its log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimOnMe {
    /// What it was judged to be.
    pub verdict: Verdict,
    /// What the verdict rests on, in words.
    pub evidence: String,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// The reaper's PID.
    pub reaper_pid: Option<u32>,
    /// What the reaper calls itself, if it is registered.
    pub reaper_name: Option<String>,
}

/// `as surplus, by PID 4711 (govstore): 10 processes live, over max_processes 9; …`
impl fmt::Display for ClaimOnMe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "as {}", self.verdict)?;
        match (self.reaper_pid, &self.reaper_name) {
            (Some(pid), Some(name)) => write!(f, ", by PID {pid} ({name})")?,
            (Some(pid), None) => write!(f, ", by PID {pid}")?,
            _ => {}
        }
        write!(f, ": {}", self.evidence)
    }
}

/// A process that was registered, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EndedProcess {
    /// The process. Its state says how it ended: by itself, found to be gone, or through a reaper.
    #[serde(flatten)]
    pub process: Process,
    /// When it deregistered, or was found or made to be gone.
    pub ended_at: Timestamp,
    /// The entry of the reaper's ledger that tells why; `None` if no reaper had a part in it.
    pub reaped: Option<ReapEvent>,
}
