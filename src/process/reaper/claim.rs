//! The claim: one transaction that judges again, takes the victims, and forgets who has exited.

use std::time::Duration;

use rusqlite::named_params;

use super::ledger::{self, Happened, Outcome, ReapEvent};
use super::observe::Scene;
use super::plan::{Action, Judgement, ReapPlan, Verdict};
use super::signal;
use crate::error::Result;
use crate::process::record::{self, Claimant, Now};
use crate::process::registration;
use crate::process::system::System;
use crate::store::{Settings, Store, TxResult, WriteTx, settings};
use crate::timestamp::Timestamp;

/// Time for what a reaper does beside waiting for its victims and for the write lock.
const SLACK: Duration = Duration::from_secs(1);

/// What a reaper took.
pub(super) struct Claimed {
    pub victims: Vec<Victim>,
    /// What is done already: processes forgotten, judgements put off.
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

/// Judges again by the rows as they are now and by what was seen of them, and claims the victims.
pub(super) fn claim(
    store: &Store,
    system: &dyn System,
    scene: &Scene,
    caller: Option<i64>,
) -> Result<Claimed> {
    store.write(|tx| {
        let settings = settings::read(tx)?;
        let now = Now::read(system);
        let records = record::registered(tx, &now)?;
        let plan = scene.plan(&records, now.monotonic_ms, &settings, caller);
        let until_monotonic_ms = now.monotonic_ms + lease_ms(&settings);
        let claimant = claimant(system);

        let mut victims = Vec::new();
        let mut events = Vec::new();
        for judgement in &plan.judgements {
            let process_id = judgement.process.process_id;
            let outcome = match judgement.action {
                Action::Leave | Action::Release => continue,
                Action::Postpone if !judgement.to_note => continue,
                Action::Postpone => {
                    note_suspicion(tx, process_id, now.monotonic_ms)?;
                    Outcome::Postponed
                }
                Action::Forget => {
                    let exited = judgement.verdict == Verdict::Exited;
                    registration::end(tx, process_id, if exited { "exited" } else { "forgotten" })?;
                    Outcome::Forgotten
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
            events.push(ledger::append(tx, judgement, &Happened::without_signal(outcome), system, caller)?);
        }
        Ok(Claimed { victims, events, plan })
    })
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

fn note_suspicion(tx: &WriteTx<'_>, process_id: i64, now_ms: i64) -> TxResult<()> {
    tx.prepare_cached(
        "UPDATE heartbeats SET suspected_monotonic_ms = :now_ms WHERE process_id = :process_id",
    )?
    .execute(named_params! { ":process_id": process_id, ":now_ms": now_ms })?;
    Ok(())
}
