//! Who is in the way: the process that holds SQLite's write lock, or the lock of an agent.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params};
use serde::{Serialize, Serializer};

use super::liveness;
use super::record::{self, Now, Process, Record};
use super::system::{LockKind, Native, Sighting, System};
use crate::error::Result;
use crate::store::column::Parsed;
use crate::store::{Settings, TxResult, beside};
use crate::text_enum::text_enum;
use crate::timestamp::Timestamp;

/// The byte of a wal-index (`-shm`) that a writer locks: `WAL_WRITE_LOCK`, the first of SQLite's eight lock
/// bytes, which begin at 120 (`UNIX_SHM_BASE`). Part of the file format: <https://sqlite.org/walformat.html>.
const WAL_WRITE_LOCK: RangeInclusive<u64> = 120..=120;
/// The bytes of which a reader locks one, for as long as its snapshot stands: `WAL_READ_LOCK(0)` to `(4)`.
const WAL_READ_LOCKS: RangeInclusive<u64> = 123..=127;

text_enum! {
    /// What a process that is waited for was doing when it was last looked at.
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
    pub enum OutOfReach {
        /// It belongs to another user.
        AnotherUser => "another_user",
        /// It runs in another PID namespace, as of a container.
        AnotherNamespace => "another_namespace",
    }
}

/// The process that holds a lock which somebody waits for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LockHolder {
    /// Its PID: of the one that holds SQLite's write lock as the PID namespace of this process counts, of the one that
    /// holds the lock of an agent as its own does.
    pub pid: u32,
    /// What it calls itself in the registry; else the name of its command, empty where that can't be known.
    pub name: String,
    /// Its number in the registry; `None` if it is not registered.
    pub process_id: Option<i64>,
    /// When it registered.
    pub registered_at: Option<Timestamp>,
    /// For how long it has held the lock; in JSON `held_for_s`, in seconds. Of an agent's lock that is exact. Of
    /// SQLite's write lock nothing knows it: it is how long ago the one who waited first saw this process
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
    /// Says who has this PID now, with the help of the registry if it can be read.
    pub(crate) fn identify(pid: u32, held_for: Duration, registry: Option<&Connection>) -> Self {
        let unknown = Self {
            pid,
            name: String::new(),
            process_id: None,
            registered_at: None,
            held_for,
            state: HolderState::Unknown,
            out_of_reach: None,
        };
        let Ok(native) = record::native() else { return unknown };
        let sighting = native.look_at(pid);
        let pid_elsewhere = native.pid_elsewhere(pid);
        let holder = Self {
            name: native.command(pid).unwrap_or_default(),
            state: state_or_frozen(sighting.state(), &native, pid),
            out_of_reach: match &sighting {
                _ if pid_elsewhere.is_some() => Some(OutOfReach::AnotherNamespace),
                Sighting::Present(seen) if seen.uid != native.here().uid => Some(OutOfReach::AnotherUser),
                _ => None,
            },
            ..unknown
        };
        let (Sighting::Present(seen), Some(registry)) = (&sighting, registry) else { return holder };
        match registered(registry, &native, pid, pid_elsewhere, seen.start_ticks) {
            Ok(Some((process_id, name, registered_at))) => {
                Self { process_id: Some(process_id), name, registered_at: Some(registered_at), ..holder }
            }
            // An error here must not hide the one that is being reported.
            Ok(None) | Err(_) => holder,
        }
    }

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

/// A frozen process seems to run, and files have to be read to tell. Of one that is both stopped and frozen, the cgroup
/// comes first.
fn state_or_frozen(state: HolderState, system: &dyn System, pid: u32) -> HolderState {
    let may_be_frozen = matches!(state, HolderState::Running | HolderState::Stopped);
    if may_be_frozen && system.is_frozen(pid) { HolderState::Frozen } else { state }
}

/// The PID of the process that holds the write lock of the database whose wal-index is `shm`, if somebody does
/// and if that can be known. The file is not opened: POSIX would drop this process's own locks on it.
pub(crate) fn write_lock_owner(shm: &Path) -> Option<u32> {
    record::native().ok()?.lock_owners(shm, LockKind::Write, WAL_WRITE_LOCK).first().copied()
}

/// Other processes that read the database just now, with the names of their commands where those can be known:
/// what they see stays in the log.
pub(crate) fn readers(database: &Path) -> Vec<(u32, Option<String>)> {
    let Ok(system) = record::native() else { return Vec::new() };
    let mut pids = system.lock_owners(&wal_index(database), LockKind::Read, WAL_READ_LOCKS);
    pids.retain(|pid| *pid != std::process::id());
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().map(|pid| (pid, system.command(pid))).collect()
}

/// PIDs of processes that have a file open which was the database once and is no longer: it was moved, deleted or
/// replaced under them. Other users' processes can't be looked at.
pub(crate) fn displaced(database: &Path) -> Vec<u32> {
    let (Ok(system), Ok(database)) = (record::native(), database.canonicalize()) else { return Vec::new() };
    system.displaced(&database, &wal_index(&database))
}

/// The wal-index of a database.
pub(crate) fn wal_index(database: &Path) -> PathBuf {
    beside(database, "-shm")
}

/// The row of a process that has this PID here; in another PID namespace it has registered by the one that it has there.
fn registered(
    conn: &Connection,
    system: &dyn System,
    pid: u32,
    pid_elsewhere: Option<u32>,
    start_ticks: u64,
) -> TxResult<Option<(i64, String, Timestamp)>> {
    let here = system.here();
    Ok(conn
        .prepare_cached(
            "SELECT process_id, name, registered_at FROM processes
             WHERE pid = :pid AND start_ticks = :start_ticks AND boot_id = :boot_id
               AND (coalesce(pid_namespace, 0) = coalesce(:pid_namespace, 0)) = :is_here
               AND state IN ('running', 'terminating')",
        )?
        .query_row(
            named_params! {
                ":pid": pid_elsewhere.unwrap_or(pid),
                ":is_here": pid_elsewhere.is_none(),
                ":start_ticks": start_ticks,
                ":boot_id": here.boot_id,
                ":pid_namespace": here.pid_namespace,
            },
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Parsed<_>>(2)?.0)),
        )
        .optional()?)
}

/// Whether a registered process still stands behind what it holds.
pub(crate) enum Standing {
    /// It may well live. `held_for` is for the caller to fill in.
    Firm {
        holder: LockHolder,
        /// Whether nothing was heard of it for too long, so that a reaper should look twice.
        is_silent: bool,
    },
    /// It is gone for certain.
    Fallen(Fallen),
}

/// A judgement that a later beat makes void.
pub(crate) struct Fallen {
    process_id: i64,
    /// The beat that was judged; `None` if there was none.
    beat_ms: Option<i64>,
}

impl Fallen {
    pub const fn process_id(&self) -> i64 {
        self.process_id
    }

    /// Whether it has not beaten since it was judged.
    pub fn still_holds(&self, conn: &Connection) -> TxResult<bool> {
        Ok(last_beat_ms(conn, self.process_id)? == self.beat_ms)
    }
}

fn last_beat_ms(conn: &Connection, process_id: i64) -> TxResult<Option<i64>> {
    Ok(conn
        .prepare_cached("SELECT monotonic_ms FROM heartbeats WHERE process_id = :process_id")?
        .query_row(named_params! { ":process_id": process_id }, |row| row.get(0))
        .optional()?)
}

/// One who looks at the holders of locks.
pub(crate) struct Witness {
    native: Native,
}

impl Witness {
    pub fn call() -> Result<Self> {
        Ok(Self { native: record::native()? })
    }

    /// Judges the process with this number in the registry, by its row and by a look at it. Never by how long
    /// it has held anything. Outside of any transaction.
    pub fn judge(&self, conn: &Connection, process_id: i64, settings: &Settings) -> TxResult<Standing> {
        let now = Now::read(&self.native);
        let Some(record) = record::find(conn, process_id, &now)? else {
            return Ok(Standing::Fallen(Fallen { process_id, beat_ms: last_beat_ms(conn, process_id)? }));
        };
        let state = self.state_of(&record);
        if state == HolderState::Gone {
            let beat_ms = record.beat.as_ref().map(|beat| beat.monotonic_ms);
            return Ok(Standing::Fallen(Fallen { process_id, beat_ms }));
        }
        let is_silent = record.is_silent(self.native.here(), now.monotonic_ms, settings);
        let holder = LockHolder {
            pid: record.process.pid,
            out_of_reach: self.out_of_reach(&record.process),
            name: record.process.name,
            process_id: Some(process_id),
            registered_at: Some(record.process.registered_at),
            held_for: Duration::ZERO,
            state,
        };
        Ok(Standing::Firm { holder, is_silent })
    }

    /// What the process of a row is doing; gone, if another one has its PID or it belongs to an earlier boot.
    fn state_of(&self, record: &Record) -> HolderState {
        let (process, here) = (&record.process, self.native.here());
        let is_near = process.boot_id == here.boot_id && process.pid_namespace == here.pid_namespace;
        let sighting = is_near.then(|| self.native.look_at(process.pid));
        liveness::state(process, sighting.as_ref(), here)
    }

    fn out_of_reach(&self, process: &Process) -> Option<OutOfReach> {
        let here = self.native.here();
        if process.pid_namespace != here.pid_namespace {
            return Some(OutOfReach::AnotherNamespace);
        }
        (process.uid != here.uid).then_some(OutOfReach::AnotherUser)
    }

    /// What the process with this number in the registry is doing.
    pub fn look_at(&self, conn: &Connection, process_id: i64) -> TxResult<HolderState> {
        let record = record::find(conn, process_id, &Now::read(&self.native))?;
        Ok(record.map_or(HolderState::Gone, |record| {
            state_or_frozen(self.state_of(&record), &self.native, record.process.pid)
        }))
    }

    /// Looks once more at a holder that was waited for in vain: it may be frozen.
    pub fn look_closer(&self, holder: LockHolder) -> LockHolder {
        LockHolder { state: state_or_frozen(holder.state, &self.native, holder.pid), ..holder }
    }
}
