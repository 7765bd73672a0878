//! The claim: one transaction that judges again, takes the victims, and forgets who has exited.

use std::fmt;
use std::time::Duration;

use rusqlite::{OptionalExtension, named_params};

use super::ledger::{self, Happened, Outcome, ReapEvent};
use super::memory::Mark;
use super::observe::Scene;
use super::plan::{self, Action, Judgement, ReapPlan, Verdict};
use super::signal;
use crate::agent;
use crate::error::Result;
use crate::process::clock;
use crate::process::record::{self, Claimant, Now, Record};
use crate::process::registration;
use crate::process::system::System;
use crate::store::column::Parsed;
use crate::store::{Settings, Store, TxResult, WriteTx, settings};
use crate::timestamp::Timestamp;

/// Time for what a reaper does beside waiting for its victims and for the write lock.
const SLACK: Duration = Duration::from_secs(1);

/// What a reaper took.
pub(super) struct Claimed {
    pub victims: Vec<Victim>,
    /// What is done already: processes forgotten, locks released, judgements put off.
    pub events: Vec<ReapEvent>,
    /// The judgement that all this rests on.
    pub plan: ReapPlan,
}

/// A process that this reaper, and nobody else, is to end.
pub(super) struct Victim {
    pub judgement: Judgement,
    pub claimed_at: Timestamp,
    /// Identifies the claim, together with the reaper.
    pub until_monotonic_ms: i64,
    pub grace_ms: u64,
}

/// A mark that was noted in a transaction, for the memory to keep once that is committed.
struct Noted {
    process_id: i64,
    mark: Mark,
    longest_gap_ms: i64,
}

/// Judges again by the rows as they are now and by what was seen of them, and claims the victims. What is put off is
/// noted, and remembered once that is committed.
pub(super) fn claim(store: &Store, system: &dyn System, scene: &Scene) -> Result<Claimed> {
    let memory = store.member().memory().clone();
    let (claimed, noted) = store.write(|tx| {
        let settings = settings::read(tx)?;
        let now = Now::read(system);
        let records = record::registered(tx, &now)?;
        let plan = scene.plan(&records, now.monotonic_ms, &settings, &memory, 0);
        let until_monotonic_ms = now.monotonic_ms + lease_ms(&settings);
        let claimant = claimant(system);

        let (mut victims, mut events, mut noted) = (Vec::new(), Vec::new(), Vec::new());
        for (judgement, record) in plan.judgements.iter().zip(&records) {
            let process_id = judgement.process.process_id;
            let outcome = match judgement.action {
                Action::Leave => continue,
                Action::Postpone => {
                    noted.extend(remembered(judgement, record, &settings));
                    if !note_suspicion(tx, process_id, now.monotonic_ms)? {
                        continue;
                    }
                    Outcome::Postponed
                }
                Action::Forget => {
                    let exited = judgement.verdict == Verdict::Exited;
                    registration::end(tx, process_id, if exited { "exited" } else { "forgotten" })?;
                    Outcome::Forgotten
                }
                Action::Release => {
                    agent::release_locks(tx, process_id)?;
                    Outcome::Released
                }
                Action::End => {
                    take(tx, judgement, &claimant, until_monotonic_ms)?;
                    victims.push(Victim {
                        judgement: judgement.clone(),
                        claimed_at: tx.at,
                        until_monotonic_ms,
                        grace_ms: settings.terminate_grace_ms,
                    });
                    continue;
                }
            };
            let happened = Happened::without_signal(outcome);
            events.push(ledger::append(tx, judgement, &happened, system, tx.process_id())?);
        }
        Ok((Claimed { victims, events, plan }, noted))
    })?;
    remember(store, noted, &claimed.plan);
    Ok(claimed)
}

/// Releases the locks on agents whose holders can't be expected to come back, and does nothing else: for those who
/// wait for such a lock, and have no time to end anybody. Says when to look again, if a judgement was put off.
pub(super) fn release_lapsed(store: &Store, system: &dyn System, scene: &Scene) -> Result<Option<Duration>> {
    let memory = store.member().memory().clone();
    let (plan, noted) = store.write(|tx| {
        let settings = settings::read(tx)?;
        let now = Now::read(system);
        let records = record::registered(tx, &now)?;
        let plan = scene.plan(&records, now.monotonic_ms, &settings, &memory, 0);
        let mut noted = Vec::new();
        for (judgement, record) in plan.judgements.iter().zip(&records).filter(|(_, r)| r.holds_locks) {
            let process_id = judgement.process.process_id;
            match judgement.action {
                Action::Postpone => {
                    noted.extend(remembered(judgement, record, &settings));
                    note_suspicion(tx, process_id, now.monotonic_ms)?;
                }
                Action::Forget | Action::Release | Action::End => {
                    agent::release_locks(tx, process_id)?;
                    let happened = Happened::without_signal(Outcome::Released);
                    ledger::append(tx, judgement, &happened, system, tx.process_id())?;
                }
                Action::Leave => {}
            }
        }
        Ok((plan, noted))
    })?;
    let is_any = !noted.is_empty();
    remember(store, noted, &plan);
    Ok(plan.look_again_after().filter(|_| is_any))
}

/// What is to be remembered of a judgement that is put off.
fn remembered(judgement: &Judgement, record: &Record, settings: &Settings) -> Option<Noted> {
    let again_after_ms = plan::again_after_ms(record, settings);
    // Twice where the breaker is on; and a moment more, since a busy machine is not a frozen one.
    let longest_gap_ms = again_after_ms.saturating_add((again_after_ms / 2).max(1_000));
    let process_id = judgement.process.process_id;
    judgement.mark.map(|mark| Noted { process_id, mark, longest_gap_ms })
}

/// The transaction that noted these is committed.
fn remember(store: &Store, noted: Vec<Noted>, plan: &ReapPlan) {
    let mut memory = store.member().memory();
    let now_ms = clock::monotonic_ms();
    for Noted { process_id, mark, longest_gap_ms } in noted {
        memory.note(process_id, mark, now_ms, longest_gap_ms);
    }
    memory.keep(|process_id| plan.judgements.iter().any(|j| j.process.process_id == process_id));
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

impl Store {
    /// Why a reaper has claimed this process; `None` if none has, or if it is not registered. A server that is told to
    /// end asks this, so that its log says by whom and why.
    pub fn claim_on_me(&self) -> Result<Option<ClaimOnMe>> {
        let Some(process_id) = self.member().process_id() else { return Ok(None) };
        self.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT p.claim_verdict, p.claim_evidence, p.claimed_at, p.claimed_by_pid, r.name
                 FROM processes AS p
                 LEFT JOIN processes AS r
                   ON r.pid = p.claimed_by_pid AND r.start_ticks = p.claimed_by_start_ticks AND r.ended_at IS NULL
                 WHERE p.process_id = :process_id AND p.state = 'terminating'",
            )?;
            let claim = statement.query_row(named_params! { ":process_id": process_id }, |row| {
                Ok(ClaimOnMe {
                    verdict: row.get::<_, Parsed<_>>(0)?.0,
                    evidence: row.get(1)?,
                    claimed_at: row.get::<_, Parsed<_>>(2)?.0,
                    reaper_pid: row.get(3)?,
                    reaper_name: row.get(4)?,
                })
            });
            Ok(claim.optional()?)
        })
    }
}

/// This process as one who claims.
pub(super) fn claimant(system: &dyn System) -> Claimant {
    let here = system.here();
    Claimant { pid: here.pid, pid_namespace: here.pid_namespace, start_ticks: here.start_ticks }
}

/// How long a claim holds at most: the waits of its reaper, and some more.
fn lease_ms(settings: &Settings) -> i64 {
    let grace = Duration::from_millis(settings.terminate_grace_ms);
    let lease = grace + signal::KILL_PATIENCE + ledger::RECORD_PATIENCE + SLACK;
    i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 2)
}

fn take(tx: &WriteTx<'_>, judgement: &Judgement, by: &Claimant, until_monotonic_ms: i64) -> TxResult<()> {
    tx.prepare_cached(
        "UPDATE processes SET
           state = 'terminating', claim_verdict = :verdict, claim_evidence = :evidence, claimed_at = :now,
           claimed_by_pid = :pid, claimed_by_pid_namespace = :pid_namespace,
           claimed_by_start_ticks = :start_ticks, claim_until_monotonic_ms = :until_monotonic_ms
         WHERE process_id = :process_id",
    )?
    .execute(named_params! {
        ":process_id": judgement.process.process_id,
        ":verdict": judgement.verdict.as_str(),
        ":evidence": judgement.evidence,
        ":now": tx.at_text,
        ":pid": by.pid,
        ":pid_namespace": by.pid_namespace,
        ":start_ticks": by.start_ticks,
        ":until_monotonic_ms": until_monotonic_ms,
    })?;
    Ok(())
}

/// Notes in the database, for people, that a process is doubted; whether that is new. It always writes something: the
/// note is also the proof that this process could write.
fn note_suspicion(tx: &WriteTx<'_>, process_id: i64, now_ms: i64) -> TxResult<bool> {
    let is_new = tx
        .prepare_cached(
            "SELECT suspected_monotonic_ms IS NULL FROM heartbeats WHERE process_id = :process_id",
        )?
        .query_row(named_params! { ":process_id": process_id }, |row| row.get(0))
        .optional()?;
    // An UPDATE to what is there already would write no page.
    tx.prepare_cached(
        "UPDATE heartbeats SET suspected_monotonic_ms = :now_ms WHERE process_id = :process_id",
    )?
    .execute(named_params! { ":process_id": process_id, ":now_ms": now_ms })?;
    Ok(is_new.unwrap_or(false))
}
