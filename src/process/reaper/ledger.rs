//! The ledger: what a reaper did, or put off, and to whom. Append only.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, Row, named_params};
use serde::Serialize;

use super::claim::{self, Victim};
use super::plan::{Judgement, Verdict};
use super::signal::Ending;
use crate::error::Result;
use crate::process::clock;
use crate::process::record::Process;
use crate::process::registration;
use crate::process::system::{Signal, System};
use crate::store::column::Parsed;
use crate::store::{Store, TxResult, WriteTx, settings};
use crate::text_enum::text_enum;
use crate::timestamp::Timestamp;

/// How long a reaper waits for the write lock to record what it did. Longer than others wait: it has been done,
/// and should not go untold.
pub(super) const RECORD_PATIENCE: Duration = Duration::from_secs(10);

/// How many entries are kept.
const KEPT: i64 = 10_000;

text_enum! {
    /// What became of a judgement.
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
    const fn ended_as(self) -> Option<&'static str> {
        match self {
            Self::Terminated => Some("terminated"),
            Self::Killed => Some("killed"),
            Self::Gone => Some("exited"),
            _ => None,
        }
    }
}

/// One entry of the reaper's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

impl Store {
    /// Entries of the reaper's ledger after the one of this number, oldest first, at most `limit` of them. They are
    /// numbered in the order of their commits, so asking again with the last number misses none.
    pub fn reap_events_after(&self, reap_event_id: i64, limit: u32) -> Result<Vec<ReapEvent>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT * FROM reap_events
                 WHERE reap_event_id > :reap_event_id
                 ORDER BY reap_event_id
                 LIMIT :limit",
            )?;
            let parameters = named_params! { ":reap_event_id": reap_event_id, ":limit": limit };
            let rows = statement.query_map(parameters, from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// What happened to a judged process.
pub(super) struct Happened {
    outcome: Outcome,
    claimed_at: Option<Timestamp>,
    signals: String,
    took_ms: Option<i64>,
    refusal: Option<String>,
}

impl Happened {
    pub const fn without_signal(outcome: Outcome) -> Self {
        Self { outcome, claimed_at: None, signals: String::new(), took_ms: None, refusal: None }
    }

    fn to_victim(victim: &Victim, ending: &Ending) -> Self {
        Self { claimed_at: Some(victim.claimed_at), ..Self::without_claim(ending) }
    }

    fn without_claim(ending: &Ending) -> Self {
        let names: Vec<&str> = ending.signals.iter().copied().map(Signal::name).collect();
        let took_ms = (!names.is_empty()).then(|| i64::try_from(ending.took.as_millis()).unwrap_or(i64::MAX));
        Self {
            outcome: ending.outcome,
            claimed_at: None,
            signals: names.join(" "),
            took_ms,
            refusal: ending.refusal.clone(),
        }
    }
}

/// Records in one transaction what became of the victims: their rows, their locks, and the ledger. A victim
/// whose claim was taken over meanwhile is left to whoever has it. One that was forgotten meanwhile, since it was gone,
/// is told of all the same: a signal that was sent must not go untold.
pub(super) fn record(
    store: &Store,
    system: &dyn System,
    victims: &[Victim],
    endings: &[Ending],
) -> Result<Vec<ReapEvent>> {
    if victims.is_empty() {
        return Ok(Vec::new());
    }
    store.write_within(RECORD_PATIENCE, |tx| {
        let mut events = Vec::new();
        for (victim, ending) in victims.iter().zip(endings) {
            let process_id = victim.judgement.process.process_id;
            let ended_as = ending.outcome.ended_as();
            if release_claim(tx, system, victim)? {
                match ended_as {
                    Some(state) => registration::end(tx, process_id, state)?,
                    None => defer_claim(tx, process_id)?, // somebody tries again, though not at once
                }
            } else if ending.signals.is_empty() || !correct_end(tx, process_id, ended_as)? {
                continue;
            }
            let happened = Happened::to_victim(victim, ending);
            events.push(append(tx, &victim.judgement, &happened, system, tx.process_id())?);
        }
        Ok(events)
    })
}

/// Records what became of a process that held the write lock and could not be claimed.
pub(super) fn record_unblocking(
    store: &Store,
    system: &dyn System,
    process: &Process,
    verdict: Verdict,
    evidence: &str,
    ending: &Ending,
) -> Result<ReapEvent> {
    store.write_within(RECORD_PATIENCE, |tx| {
        if let Some(state) = ending.outcome.ended_as() {
            registration::end(tx, process.process_id, state)?;
        }
        let happened = Happened::without_claim(ending);
        append_of(tx, process, verdict, evidence, &happened, system, tx.process_id())
    })
}

/// Lets go of a claim; `false` if it is somebody else's by now.
fn release_claim(tx: &WriteTx<'_>, system: &dyn System, victim: &Victim) -> TxResult<bool> {
    let by = claim::claimant(system);
    let released = tx
        .prepare_cached(
            "UPDATE processes SET
               claimed_by_pid = NULL, claimed_by_pid_namespace = NULL, claimed_by_start_ticks = NULL
             WHERE process_id = :process_id AND state = 'terminating'
               AND claim_until_monotonic_ms = :until_monotonic_ms
               AND claimed_by_pid = :pid AND claimed_by_pid_namespace IS :pid_namespace
               AND claimed_by_start_ticks = :start_ticks",
        )?
        .execute(named_params! {
            ":process_id": victim.judgement.process.process_id,
            ":until_monotonic_ms": victim.until_monotonic_ms,
            ":pid": by.pid,
            ":pid_namespace": by.pid_namespace,
            ":start_ticks": by.start_ticks,
        })?;
    Ok(released == 1)
}

/// Says how a victim ended that somebody else has found gone, and forgotten, before this reaper could record its end.
/// `false` if nobody has.
fn correct_end(tx: &WriteTx<'_>, process_id: i64, state: Option<&str>) -> TxResult<bool> {
    let corrected = tx
        .prepare_cached(
            "UPDATE processes SET state = :state
             WHERE process_id = :process_id AND state = 'exited' AND :state IS NOT NULL",
        )?
        .execute(named_params! { ":state": state, ":process_id": process_id })?;
    Ok(corrected == 1)
}

/// Leaves a claim that nobody pursues for now.
fn defer_claim(tx: &WriteTx<'_>, process_id: i64) -> TxResult<()> {
    let again_ms = clock::monotonic_ms().saturating_add(settings::read(tx)?.stale_after_ms());
    tx.prepare_cached(
        "UPDATE processes SET claim_until_monotonic_ms = :again_ms WHERE process_id = :process_id",
    )?
    .execute(named_params! { ":process_id": process_id, ":again_ms": again_ms })?;
    Ok(())
}

/// Appends an entry about a judgement.
pub(super) fn append(
    tx: &WriteTx<'_>,
    judgement: &Judgement,
    happened: &Happened,
    system: &dyn System,
    caller: Option<i64>,
) -> TxResult<ReapEvent> {
    append_of(tx, &judgement.process, judgement.verdict, &judgement.evidence, happened, system, caller)
}

/// Appends one entry, and removes what has become too old.
fn append_of(
    tx: &WriteTx<'_>,
    process: &Process,
    verdict: Verdict,
    evidence: &str,
    happened: &Happened,
    system: &dyn System,
    caller: Option<i64>,
) -> TxResult<ReapEvent> {
    let evidence = match &happened.refusal {
        Some(refusal) => format!("{evidence}; refused: {refusal}"),
        None => evidence.to_owned(),
    };
    let mut event = ReapEvent {
        reap_event_id: 0,
        recorded_at: tx.at,
        process_id: process.process_id,
        name: process.name.clone(),
        version: process.version.clone(),
        pid: process.pid,
        verdict,
        evidence,
        heartbeat_age_ms: process.heartbeat_age_s.map(milliseconds),
        activity_age_ms: process.activity_age_s.map(milliseconds),
        claimed_at: happened.claimed_at,
        signals: happened.signals.clone(),
        took_ms: happened.took_ms,
        outcome: happened.outcome,
        reaper_pid: system.here().pid,
        reaper_process_id: caller,
    };
    event.reap_event_id = tx
        .prepare_cached(
            "INSERT INTO reap_events (
               recorded_at, process_id, name, version, pid, boot_id, pid_namespace, start_ticks, verdict, evidence,
               heartbeat_age_ms, activity_age_ms, claimed_at, signals, took_ms, outcome, reaper_pid,
               reaper_process_id
             ) VALUES (
               :recorded_at, :process_id, :name, :version, :pid, :boot_id, :pid_namespace, :start_ticks, :verdict,
               :evidence, :heartbeat_age_ms, :activity_age_ms, :claimed_at, :signals, :took_ms, :outcome,
               :reaper_pid, :reaper_process_id
             )",
        )?
        .insert(named_params! {
            ":recorded_at": event.recorded_at.to_string(),
            ":process_id": event.process_id,
            ":name": event.name,
            ":version": event.version,
            ":pid": event.pid,
            ":boot_id": process.boot_id,
            ":pid_namespace": process.pid_namespace,
            ":start_ticks": process.start_ticks,
            ":verdict": event.verdict.as_str(),
            ":evidence": event.evidence,
            ":heartbeat_age_ms": event.heartbeat_age_ms,
            ":activity_age_ms": event.activity_age_ms,
            ":claimed_at": event.claimed_at.map(|at| at.to_string()),
            ":signals": event.signals,
            ":took_ms": event.took_ms,
            ":outcome": event.outcome.as_str(),
            ":reaper_pid": event.reaper_pid,
            ":reaper_process_id": event.reaper_process_id,
        })?;
    tx.prepare_cached("DELETE FROM reap_events WHERE reap_event_id <= :newest - :kept")?
        .execute(named_params! { ":newest": event.reap_event_id, ":kept": KEPT })?;
    Ok(event)
}

pub(super) fn newest(conn: &Connection, last: u32) -> TxResult<Vec<ReapEvent>> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM (SELECT * FROM reap_events ORDER BY reap_event_id DESC LIMIT :last)
         ORDER BY reap_event_id",
    )?;
    let rows = statement.query_map(named_params! { ":last": last }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How the registrations of these processes came to their end, as far as a reaper had a part in it; by `process_id`.
pub(in crate::process) fn ends(
    conn: &Connection,
    first_process_id: i64,
) -> TxResult<HashMap<i64, ReapEvent>> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM reap_events
         WHERE process_id >= :first_process_id AND outcome IN ('terminated', 'killed', 'gone', 'forgotten')
         ORDER BY reap_event_id",
    )?;
    let rows = statement.query_map(named_params! { ":first_process_id": first_process_id }, from_row)?;
    Ok(rows.map(|event| event.map(|event| (event.process_id, event))).collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ReapEvent> {
    Ok(ReapEvent {
        reap_event_id: row.get("reap_event_id")?,
        recorded_at: row.get::<_, Parsed<_>>("recorded_at")?.0,
        process_id: row.get("process_id")?,
        name: row.get("name")?,
        version: row.get("version")?,
        pid: row.get("pid")?,
        verdict: row.get::<_, Parsed<_>>("verdict")?.0,
        evidence: row.get("evidence")?,
        heartbeat_age_ms: row.get("heartbeat_age_ms")?,
        activity_age_ms: row.get("activity_age_ms")?,
        claimed_at: row.get::<_, Option<Parsed<_>>>("claimed_at")?.map(|parsed| parsed.0),
        signals: row.get("signals")?,
        took_ms: row.get("took_ms")?,
        outcome: row.get::<_, Parsed<_>>("outcome")?.0,
        reaper_pid: row.get("reaper_pid")?,
        reaper_process_id: row.get("reaper_process_id")?,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "ages of processes")]
fn milliseconds(age_s: f64) -> i64 {
    (age_s * 1_000.0).round() as i64
}
