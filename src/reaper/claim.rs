//! The claim: one transaction that judges again, takes the victims, and forgets who has exited.

use std::time::Duration;

use super::ledger::{self, Happened, RECORD_PATIENCE, claimant};
use super::memory::Memory;
use super::plan;
use super::remains::CONTAINER_PATIENCE;
use super::scene::Scene;
use super::victim::KILL_PATIENCE;
use super::victim::Victim;
use crate::backend::statements::{Transaction, TxResult};
use crate::model::{
    Action, Judgement, Mark, Now, Outcome, ProcessRecord, ProcessState, ReapEvent, ReapPlan, Settings,
    Verdict,
};
use crate::os::System;
use crate::registry;

/// Time for what a reaper does beside waiting for its victims and for the write lock.
const SLACK: Duration = Duration::from_secs(1);

/// What a reaper took.
pub(crate) struct Claimed {
    pub victims: Vec<Victim>,
    /// What is done already: processes forgotten, locks released, judgements put off.
    pub events: Vec<ReapEvent>,
    /// The judgement that all this rests on.
    pub plan: ReapPlan,
    /// What is to be remembered once this is committed.
    pub noted: Vec<Noted>,
}

/// A mark that was noted in a transaction, for the memory to keep once that is committed.
pub(crate) struct Noted {
    process_id: i64,
    mark: Mark,
    longest_gap_ms: i64,
}

/// Judges again by the rows as they are now and by what was seen of them, and claims the victims. What is put off is
/// noted.
pub(crate) fn claim(
    tx: &dyn Transaction,
    scene: &Scene,
    memory: &Memory,
    system: &dyn System,
) -> TxResult<Claimed> {
    let settings = tx.settings()?;
    let now = Now::read(system);
    let records = tx.registered_processes(&now)?;
    let plan = scene.plan(&records, now.monotonic_ms, &settings, memory, 0);
    let claimant = claimant(system);

    let (mut victims, mut events, mut noted) = (Vec::new(), Vec::new(), Vec::new());
    for (judgement, record) in plan.judgements.iter().zip(&records) {
        let process_id = judgement.process.process_id;
        let outcome = match judgement.action {
            Action::Leave => continue,
            Action::Postpone => {
                noted.extend(remembered(judgement, record, &settings));
                if !tx.note_suspicion(process_id, now.monotonic_ms)? {
                    continue;
                }
                Outcome::Postponed
            }
            Action::Forget => {
                let has_exited = judgement.verdict == Verdict::Exited;
                let state = if has_exited { ProcessState::Exited } else { ProcessState::Forgotten };
                registry::end(tx, process_id, state)?;
                Outcome::Forgotten
            }
            Action::Release => {
                tx.release_locks_of(process_id)?;
                Outcome::Released
            }
            Action::End => {
                let Judgement { verdict, evidence, process, .. } = judgement;
                let for_container =
                    if process.container.is_some() { CONTAINER_PATIENCE } else { Duration::ZERO };
                let until_monotonic_ms = now.monotonic_ms + lease_ms(&settings, for_container);
                tx.claim_process(process_id, *verdict, evidence, &claimant, until_monotonic_ms)?;
                victims.push(Victim {
                    judgement: judgement.clone(),
                    claimed_at: tx.at(),
                    until_monotonic_ms,
                    grace_ms: settings.terminate_grace_ms,
                });
                continue;
            }
        };
        let happened = Happened::without_signal(outcome);
        events.push(ledger::append(tx, judgement, &happened, system)?);
    }
    Ok(Claimed { victims, events, plan, noted })
}

/// Releases the locks on agents whose holders can't be expected to come back, and does nothing else: for those who
/// wait for such a lock, and have no time to end anybody.
pub(crate) fn release_lapsed(
    tx: &dyn Transaction,
    scene: &Scene,
    memory: &Memory,
    system: &dyn System,
) -> TxResult<(ReapPlan, Vec<Noted>)> {
    let settings = tx.settings()?;
    let now = Now::read(system);
    let records = tx.registered_processes(&now)?;
    let plan = scene.plan(&records, now.monotonic_ms, &settings, memory, 0);
    let mut noted = Vec::new();
    for (judgement, record) in plan.judgements.iter().zip(&records).filter(|(_, r)| r.holds_locks) {
        let process_id = judgement.process.process_id;
        match judgement.action {
            Action::Postpone => {
                noted.extend(remembered(judgement, record, &settings));
                tx.note_suspicion(process_id, now.monotonic_ms)?;
            }
            Action::Forget | Action::Release | Action::End => {
                tx.release_locks_of(process_id)?;
                ledger::append(tx, judgement, &Happened::without_signal(Outcome::Released), system)?;
            }
            Action::Leave => {}
        }
    }
    Ok((plan, noted))
}

/// What is to be remembered of a judgement that is put off.
fn remembered(judgement: &Judgement, record: &ProcessRecord, settings: &Settings) -> Option<Noted> {
    let again_after_ms = plan::again_after_ms(record, settings);
    // Twice where the breaker is on; and a moment more, since a busy machine is not a frozen one.
    let longest_gap_ms = again_after_ms.saturating_add((again_after_ms / 2).max(1_000));
    let process_id = judgement.process.process_id;
    judgement.mark.map(|mark| Noted { process_id, mark, longest_gap_ms })
}

/// The transaction that noted these is committed.
pub(crate) fn remember(memory: &mut Memory, noted: Vec<Noted>, plan: &ReapPlan, now_ms: i64) {
    for Noted { process_id, mark, longest_gap_ms } in noted {
        memory.note(process_id, mark, now_ms, longest_gap_ms);
    }
    memory.keep(|process_id| plan.judgements.iter().any(|j| j.process.process_id == process_id));
}

/// How long a claim holds at most: the waits of its reaper, and some more.
fn lease_ms(settings: &Settings, for_container: Duration) -> i64 {
    let grace = Duration::from_millis(settings.terminate_grace_ms);
    let lease = grace + KILL_PATIENCE + for_container + RECORD_PATIENCE + SLACK;
    i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 2)
}
