//! One process's row with its heartbeat, and the queries that read it.

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::Serialize;

use super::clock;
use super::reaper::Verdict;
use super::system::{Native, System};
use crate::error::{Error, Result};
use crate::store::column::Parsed;
use crate::store::{LimitPolicy, Settings, Store, TxResult, settings};
use crate::text_enum::text_enum;
use crate::timestamp::Timestamp;

text_enum! {
    /// Where a registered process is in its life.
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
}

/// A process with what only the reaper looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub process: Process,
    pub beat: Option<LastBeat>,
    /// Since when it is unused: its last use, else its registration.
    pub activity_monotonic_ms: i64,
    /// Whether it holds locks on agents.
    pub holds_locks: bool,
    pub claim: Option<Claim>,
}

/// The last beat of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "named as the columns")]
pub(super) struct LastBeat {
    pub monotonic_ms: i64,
    /// How old it is by the wall clock.
    pub wall_age_ms: i64,
    pub interval_ms: i64,
    pub recovered_monotonic_ms: Option<i64>,
}

/// A reaper's claim on a process that it is about to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub verdict: Verdict,
    pub claimed_at: Timestamp,
    /// The reaper; `None` once it has given up, and somebody may try again after `until_monotonic_ms`.
    pub claimant: Option<Claimant>,
    pub until_monotonic_ms: i64,
}

/// The reaper that made a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimant {
    pub pid: u32,
    pub pid_namespace: Option<u64>,
    pub start_ticks: u64,
}

/// The present, by the clock of one boot, as the queries need it.
pub(super) struct Now<'a> {
    pub boot_id: &'a str,
    pub monotonic_ms: i64,
    pub at: Timestamp,
}

impl<'a> Now<'a> {
    pub fn read(system: &'a dyn System) -> Self {
        Self { boot_id: &system.here().boot_id, monotonic_ms: clock::monotonic_ms(), at: Timestamp::now() }
    }
}

impl Store {
    /// The registered processes, those that a reaper is ending included, oldest first.
    ///
    /// This is what the registry says; [`Store::reap_plan`] also looks at the processes themselves.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let system = native()?;
        let records = self.read(|conn| registered(conn, &Now::read(&system)))?;
        Ok(records.into_iter().map(|record| record.process).collect())
    }

    /// The registered processes whose heartbeat is stale, oldest first. However many have a fresh one, they are
    /// not looked at.
    pub fn stale_processes(&self) -> Result<Vec<Process>> {
        let system = native()?;
        let records = self.read(|conn| stale(conn, &settings::read(conn)?, &Now::read(&system)))?;
        Ok(records.into_iter().map(|record| record.process).collect())
    }
}

/// The operating system's side.
pub(super) fn native() -> Result<Native> {
    Native::new().map_err(|source| Error::CannotIdentify { source })
}

/// Running and terminating processes, oldest first.
pub(super) fn registered(conn: &Connection, now: &Now<'_>) -> TxResult<Vec<Record>> {
    let mut statement = conn.prepare_cached(
        "SELECT p.*, h.monotonic_ms, h.beat_at, h.interval_ms, h.recovered_monotonic_ms,
                EXISTS (SELECT 1 FROM agent_locks AS l WHERE l.process_id = p.process_id) AS holds_locks
         FROM processes AS p
         LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
         WHERE p.state IN ('running', 'terminating')
         ORDER BY p.process_id",
    )?;
    let rows = statement.query_map([], |row| from_row(row, now))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One of those, by its number.
pub(super) fn find(conn: &Connection, process_id: i64, now: &Now<'_>) -> TxResult<Option<Record>> {
    let mut statement = conn.prepare_cached(
        "SELECT p.*, h.monotonic_ms, h.beat_at, h.interval_ms, h.recovered_monotonic_ms,
                EXISTS (SELECT 1 FROM agent_locks AS l WHERE l.process_id = p.process_id) AS holds_locks
         FROM processes AS p
         LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
         WHERE p.process_id = :process_id AND p.state IN ('running', 'terminating')",
    )?;
    let parameters = named_params! { ":process_id": process_id };
    Ok(statement.query_row(parameters, |row| from_row(row, now)).optional()?)
}

/// Running processes whose heartbeat is stale by the clock alone. A beat of another boot is.
fn stale(conn: &Connection, settings: &Settings, now: &Now<'_>) -> TxResult<Vec<Record>> {
    let mut statement = conn.prepare_cached(
        "WITH old (process_id) AS (
           SELECT process_id FROM heartbeats
           WHERE boot_id = :boot_id AND monotonic_ms < :now_ms - :stale_after_ms
           UNION ALL
           SELECT process_id FROM heartbeats WHERE boot_id < :boot_id
           UNION ALL
           SELECT process_id FROM heartbeats WHERE boot_id > :boot_id
         )
         SELECT p.*, h.monotonic_ms, h.beat_at, h.interval_ms, h.recovered_monotonic_ms,
                EXISTS (SELECT 1 FROM agent_locks AS l WHERE l.process_id = p.process_id) AS holds_locks
         FROM old
         CROSS JOIN heartbeats AS h ON h.process_id = old.process_id
         CROSS JOIN processes AS p ON p.process_id = old.process_id
         WHERE p.state = 'running'
           AND (h.boot_id <> :boot_id OR h.monotonic_ms < :now_ms - 2 * h.interval_ms)
         ORDER BY p.process_id",
    )?;
    let parameters = named_params! {
        ":boot_id": now.boot_id,
        ":now_ms": now.monotonic_ms,
        ":stale_after_ms": settings.stale_after_ms(),
    };
    let rows = statement.query_map(parameters, |row| from_row(row, now))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether a reaper would find something to do, as far as the registry can tell without a look at the
/// processes. Its cost does not grow with the processes that live.
pub(super) fn is_reaping_due(conn: &Connection, settings: &Settings, now: &Now<'_>) -> TxResult<bool> {
    if !stale(conn, settings, now)?.is_empty() {
        return Ok(true);
    }
    let mut statement = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM processes WHERE state = 'terminating')
             OR EXISTS (SELECT 1 FROM processes
                        WHERE parent_gone = 1 AND state = 'running'
                          AND last_activity_monotonic_ms < :now_ms - :stale_after_ms)
             OR (:limits
                 AND (SELECT count(*)
                      FROM (SELECT 1 FROM processes WHERE state = 'running' LIMIT :max_processes + 1))
                     > :max_processes)",
    )?;
    let parameters = named_params! {
        ":now_ms": now.monotonic_ms,
        ":stale_after_ms": settings.stale_after_ms(),
        ":limits": settings.limit_policy != LimitPolicy::Refuse,
        ":max_processes": settings.max_processes,
    };
    Ok(statement.query_row(parameters, |row| row.get(0))?)
}

pub(super) fn from_row(row: &Row<'_>, now: &Now<'_>) -> rusqlite::Result<Record> {
    let boot_id: String = row.get("boot_id")?;
    let this_boot = boot_id == now.boot_id;
    let age_s = |monotonic_ms: i64| this_boot.then(|| seconds(age_ms(now.monotonic_ms, monotonic_ms)));
    let last_activity_at = row.get::<_, Option<Parsed<_>>>("last_activity_at")?.map(|parsed| parsed.0);
    let activity_monotonic_ms = row.get("last_activity_monotonic_ms")?;
    let beat_at = row.get::<_, Option<Parsed<Timestamp>>>("beat_at")?.map(|parsed| parsed.0);
    let beat = match (row.get("monotonic_ms")?, beat_at) {
        (Some(monotonic_ms), Some(beat_at)) => Some(LastBeat {
            monotonic_ms,
            wall_age_ms: now.at.to_utc().signed_duration_since(beat_at.to_utc()).num_milliseconds(),
            interval_ms: row.get("interval_ms")?,
            recovered_monotonic_ms: row.get("recovered_monotonic_ms")?,
        }),
        _ => None,
    };
    Ok(Record {
        claim: claim_from_row(row)?,
        activity_monotonic_ms,
        holds_locks: row.get("holds_locks")?,
        process: Process {
            process_id: row.get("process_id")?,
            name: row.get("name")?,
            version: row.get("version")?,
            pid: row.get("pid")?,
            host_id: row.get("host_id")?,
            boot_id,
            pid_namespace: row.get("pid_namespace")?,
            time_namespace: row.get("time_namespace")?,
            start_ticks: row.get("start_ticks")?,
            parent_pid: row.get("parent_pid")?,
            parent_start_ticks: row.get("parent_start_ticks")?,
            parent_gone: row.get("parent_gone")?,
            uid: row.get("uid")?,
            state: row.get::<_, Parsed<_>>("state")?.0,
            registered_at: row.get::<_, Parsed<_>>("registered_at")?.0,
            activity_age_s: last_activity_at.and_then(|_| age_s(activity_monotonic_ms)),
            last_activity_at,
            beat_at,
            heartbeat_age_s: beat.as_ref().and_then(|beat| age_s(beat.monotonic_ms)),
        },
        beat,
    })
}

fn claim_from_row(row: &Row<'_>) -> rusqlite::Result<Option<Claim>> {
    let Some(until_monotonic_ms) = row.get("claim_until_monotonic_ms")? else { return Ok(None) };
    let claimant = match row.get("claimed_by_pid")? {
        None => None,
        Some(pid) => Some(Claimant {
            pid,
            pid_namespace: row.get("claimed_by_pid_namespace")?,
            start_ticks: row.get("claimed_by_start_ticks")?,
        }),
    };
    Ok(Some(Claim {
        verdict: row.get::<_, Parsed<_>>("claim_verdict")?.0,
        claimed_at: row.get::<_, Parsed<_>>("claimed_at")?.0,
        claimant,
        until_monotonic_ms,
    }))
}

/// How long ago a moment of this boot was. A row can hold any number, and none may make a reaper panic or take an
/// ancient beat for a fresh one.
pub(super) const fn age_ms(now_ms: i64, then_ms: i64) -> i64 {
    now_ms.saturating_sub(then_ms)
}

/// Milliseconds of an age as seconds; an age is never negative.
#[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
pub(super) fn seconds(milliseconds: i64) -> f64 {
    milliseconds.max(0) as f64 / 1_000.0
}
