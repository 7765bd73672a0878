//! Whether a registered process lives: the one definition, which the reaper's plan, the locks of agents, `ps`,
//! `watch` and the messages of errors all ask.
//!
//! The best evidence is the kernel's, and it comes first: whether that very process exists, has this database open, is
//! stopped, and whether its client is. It needs no lock. Heartbeat and activity need the write lock, so they are never
//! the only evidence, and the reaper's `plan` believes them after a second look alone. Everything here but [`observe`],
//! [`or_frozen`] and the reading of clocks is pure: rows and sightings in, words out.

use crate::error::{Error, Result};
use crate::model::{Heartbeat, HolderState, Now, Process, ProcessRecord, Settings, Timestamp, age_ms};
use crate::os::{self, Here, Mark, Native, Presence, Remains, Sighting, System, clock};

/// What was seen of one registered process.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    pub process: Sighting,
    /// Whether it has this database open; `None` where that can't be seen.
    pub has_database_open: Option<bool>,
    /// Whether its cgroup is frozen, as by `docker pause`.
    pub frozen: bool,
    /// Its client, if one is registered.
    pub parent: Option<Sighting>,
    /// What is left of the tree of processes that it stood in front of, if it did so and is gone.
    pub remains: Option<Remains>,
    /// The reaper that claimed it: its PID, and what was seen there.
    pub claimant: Option<(u32, Sighting)>,
}

/// What the kernel says about the process that a row means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// It is gone for certain.
    Gone(String),
    /// It runs on another machine.
    Remote(String),
    /// It can't be judged from here, or not by this process.
    Unjudgeable(String),
    /// It registered after the look.
    Unseen,
    /// It is certainly the one that registered, and its user is ours.
    Identified(Identified),
}

/// A process that is certainly the one that registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identified {
    /// It was stopped, as with SIGSTOP or Ctrl-Z.
    pub stopped: bool,
    /// A debugger has it.
    pub traced: bool,
    /// Its cgroup is frozen, as by `docker pause`.
    pub frozen: bool,
    pub client: Client,
}

/// The process that started a server, as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// It is there, or nothing is known of it.
    There,
    /// It was stopped.
    Stopped,
    /// It is certainly gone.
    Gone,
}

/// Asks the kernel's evidence: `seen` is `None` for a process that registered after the look.
pub(crate) fn kernel(process: &Process, seen: Option<&Observation>, here: &Here) -> Kernel {
    if let Some(elsewhere) = elsewhere(process, here) {
        return elsewhere;
    }
    let Some(seen) = seen else { return Kernel::Unseen };
    let present = match &seen.process {
        Sighting::Gone => return Kernel::Gone(format!("there is no PID {}", process.pid)),
        Sighting::Hidden(reason) => return Kernel::Unjudgeable(reason.clone()),
        Sighting::Present(present) => present,
    };
    if present.start_ticks != process.start_ticks {
        return Kernel::Gone(format!("PID {} has gone to another process, which started later", process.pid));
    }
    if present.exited {
        return Kernel::Gone("it has ended and is a zombie".to_owned());
    }
    if present.uid != here.uid || process.uid != here.uid {
        return Kernel::Unjudgeable("it belongs to another user".to_owned());
    }
    match seen.has_database_open {
        Some(true) => {}
        None if !here.sees_open_files => {}
        Some(false) => {
            return Kernel::Unjudgeable(
                "it does not have this database open, so its row may be forged or left behind".to_owned(),
            );
        }
        None => return Kernel::Unjudgeable("its open files can't be looked at".to_owned()),
    }
    Kernel::Identified(identified(process, present, seen))
}

/// Why a process can't be looked at from here, if so: its PID, its start or its clock mean something else.
fn elsewhere(process: &Process, here: &Here) -> Option<Kernel> {
    if process.boot_id != here.boot_id {
        // The same boot is the same machine, whatever the machine ids say. Of two boots they alone can tell.
        let is_remote =
            process.host_id.is_some() && here.host_id.is_some() && process.host_id != here.host_id;
        return Some(if is_remote {
            Kernel::Remote("it runs on another machine".to_owned())
        } else {
            Kernel::Gone("it belongs to an earlier boot".to_owned())
        });
    }
    if process.pid_namespace != here.pid_namespace {
        let reason = "it runs in another PID namespace, so its PID says nothing here";
        return Some(Kernel::Unjudgeable(reason.to_owned()));
    }
    if !shares_clock(process, here) {
        let reason = "it runs in another time namespace, so its clock and its start say nothing here";
        return Some(Kernel::Unjudgeable(reason.to_owned()));
    }
    None
}

/// Whether a process reads the same monotonic clock as we do. govstore 0.1 didn't register its time namespace; there
/// the kernel start, which is shown by the reader's clock, has to match.
pub(crate) fn shares_clock(process: &Process, here: &Here) -> bool {
    let same_time = process.time_namespace.is_none() || process.time_namespace == here.time_namespace;
    process.boot_id == here.boot_id && same_time
}

fn identified(process: &Process, present: &Presence, seen: &Observation) -> Identified {
    Identified {
        stopped: present.stopped,
        traced: present.traced,
        frozen: seen.frozen,
        client: client(process, seen),
    }
}

/// What is known of a process's client: it has said so, or it can be seen.
pub(crate) fn client(process: &Process, seen: &Observation) -> Client {
    if process.parent_gone {
        return Client::Gone;
    }
    match (&seen.parent, process.parent_start_ticks) {
        (Some(sighting), Some(start_ticks)) if sighting.rules_out(start_ticks) => Client::Gone,
        (Some(Sighting::Present(parent)), Some(_)) if parent.stopped => Client::Stopped,
        _ => Client::There,
    }
}

/// What the process that a row means is doing, in the words that a message about a holder uses: by a look at its PID
/// alone, which may be any user's. `None`: it was not looked at.
pub(crate) fn state(process: &Process, sighting: Option<&Sighting>, here: &Here) -> HolderState {
    match (elsewhere(process, here), sighting) {
        (Some(Kernel::Gone(_)), _) => HolderState::Gone,
        (Some(Kernel::Remote(_)), _) | (_, None) => HolderState::Unknown,
        // Its start can't be compared.
        (Some(_), Some(Sighting::Present(present))) if present.stopped => HolderState::Stopped,
        (Some(_), Some(Sighting::Present(_))) => HolderState::Running,
        (Some(_), Some(_)) => HolderState::Unknown,
        (None, Some(sighting)) if sighting.rules_out(process.start_ticks) => HolderState::Gone,
        (None, Some(sighting)) => doing(sighting),
    }
}

/// What the process that has a PID is doing.
pub(crate) fn doing(sighting: &Sighting) -> HolderState {
    match sighting {
        Sighting::Gone => HolderState::Gone,
        Sighting::Hidden(_) => HolderState::Unknown,
        Sighting::Present(seen) if seen.exited => HolderState::Gone,
        Sighting::Present(seen) if seen.stopped => HolderState::Stopped,
        Sighting::Present(_) => HolderState::Running,
    }
}

/// A frozen process seems to run, and files have to be read to tell. Of one that is both stopped and frozen, the cgroup
/// comes first.
pub(crate) fn or_frozen(state: HolderState, system: &dyn System, pid: u32) -> HolderState {
    let may_be_frozen = matches!(state, HolderState::Running | HolderState::Stopped);
    if may_be_frozen && system.is_frozen(pid) { HolderState::Frozen } else { state }
}

/// Whether the PID of a process means the same here: it shares boot and PID namespace with us.
pub(crate) fn is_near(process: &Process, here: &Here) -> bool {
    process.boot_id == here.boot_id && process.pid_namespace == here.pid_namespace
}

/// Looks at one registered process of this PID namespace. `mark`: by what it is known that it has the database open.
pub(crate) fn observe(record: &ProcessRecord, system: &dyn System, mark: &Mark) -> Observation {
    let process = &record.process;
    let claimant = record.claim.as_ref().and_then(|claim| claim.claimant.as_ref());
    let seen = system.look_at(process.pid);
    let run_id = process.run_id.filter(|_| {
        process.uid == system.here().uid && seen.rules_out(process.start_ticks) // else there is no need to know
    });
    Observation {
        process: seen,
        remains: run_id.and_then(|run_id| system.remains(&run_id.of_members(), &run_id.of_keeper())),
        has_database_open: mark.is_on(process.pid, system),
        frozen: system.is_frozen(process.pid),
        parent: process.parent_pid.map(|pid| system.look_at(pid)),
        claimant: claimant.map(|claimant| (claimant.pid, system.look_at(claimant.pid))),
    }
}

/// The system that this process judges others by.
pub(crate) fn system() -> Result<Native> {
    os::native().map_err(|source| Error::CannotIdentify { source })
}

impl<'a> Now<'a> {
    /// Reads the clocks.
    pub fn read(system: &'a dyn System) -> Self {
        Self { boot_id: &system.here().boot_id, monotonic_ms: clock::monotonic_ms(), at: Timestamp::now() }
    }
}

impl ProcessRecord {
    /// For how long nothing was heard of a process: no beat, and no use. By the monotonic clock, or for one with
    /// another clock by the wall clock. `None` if it has no heartbeat row, which says nothing about it.
    pub fn silent_ms(&self, here: &Here, now_ms: i64) -> Option<i64> {
        let beat = self.beat.as_ref()?;
        if shares_clock(&self.process, here) {
            let beat_ms = age_ms(now_ms, beat.monotonic_ms);
            let used = self.process.last_activity_at.is_some();
            Some(if used { beat_ms.min(self.unused_ms(now_ms)) } else { beat_ms })
        } else {
            Some(beat.wall_age_ms)
        }
    }

    /// For how long no client has used it, since it registered at most. Only of one that shares our clock.
    pub fn unused_ms(&self, now_ms: i64) -> i64 {
        age_ms(now_ms, self.activity_monotonic_ms)
    }

    /// Whether nothing was heard of it for longer than may be.
    pub fn is_silent(&self, here: &Here, now_ms: i64, settings: &Settings) -> bool {
        let limit_ms = self.beat.as_ref().map(|beat| beat.limit_ms(settings));
        self.silent_ms(here, now_ms).zip(limit_ms).is_some_and(|(silent_ms, limit_ms)| silent_ms > limit_ms)
    }
}

impl Heartbeat {
    /// The age from which on this beat is too old. A process may follow an older, longer interval until its next one.
    pub fn limit_ms(&self, settings: &Settings) -> i64 {
        settings.stale_after_ms().max(self.interval_ms.saturating_mul(2))
    }
}
