//! The ledger: what a reaper did, or put off, and to whom. Append only.

use std::time::Duration;

use super::victim::{Ending, Victim};
use crate::backend::statements::{Transaction, TxResult};
use crate::model::{Claimant, Judgement, Outcome, Process, ReapEvent, Timestamp, Verdict};
use crate::os::{Signal, System, clock};
use crate::registry;

/// How long a reaper waits for the write lock to record what it did. Longer than others wait: it has been done,
/// and should not go untold.
pub(crate) const RECORD_PATIENCE: Duration = Duration::from_secs(10);

/// How many entries are kept.
const KEPT: i64 = 10_000;

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

/// This process as a claimant.
pub(super) fn claimant(system: &dyn System) -> Claimant {
    let here = system.here();
    Claimant { pid: here.pid, pid_namespace: here.pid_namespace, start_ticks: here.start_ticks }
}

/// Records what became of the victims: their rows, their locks, and the ledger. A victim whose claim was taken over
/// meanwhile is left to whoever has it. One that was forgotten meanwhile, since it was gone, is told of all the same:
/// a signal that was sent must not go untold.
pub(crate) fn record(
    tx: &dyn Transaction,
    system: &dyn System,
    victims: &[Victim],
    endings: &[Ending],
) -> TxResult<Vec<ReapEvent>> {
    let by = claimant(system);
    let mut events = Vec::new();
    for (victim, ending) in victims.iter().zip(endings) {
        let process_id = victim.judgement.process.process_id;
        let ended_as = ending.outcome.ended_as();
        if tx.release_claim(process_id, &by, victim.until_monotonic_ms)? {
            match ended_as {
                Some(state) => registry::end(tx, process_id, state)?,
                None => defer_claim(tx, process_id)?, // somebody tries again, though not at once
            }
        } else {
            // Another reaper may have found it gone, and forgotten it, before this one could record its end.
            let is_corrected = match ended_as {
                Some(state) if !ending.signals.is_empty() => tx.correct_end(process_id, state)?,
                _ => false,
            };
            if !is_corrected {
                continue;
            }
        }
        events.push(append(tx, &victim.judgement, &Happened::to_victim(victim, ending), system)?);
    }
    Ok(events)
}

/// Records what became of a process that held the write lock and could not be claimed.
pub(crate) fn record_unblocking(
    tx: &dyn Transaction,
    system: &dyn System,
    process: &Process,
    verdict: Verdict,
    evidence: &str,
    ending: &Ending,
) -> TxResult<ReapEvent> {
    if let Some(state) = ending.outcome.ended_as() {
        registry::end(tx, process.process_id, state)?;
    }
    append_of(tx, process, verdict, evidence, &Happened::without_claim(ending), system)
}

/// Leaves a claim that nobody pursues for now.
fn defer_claim(tx: &dyn Transaction, process_id: i64) -> TxResult<()> {
    let again_ms = clock::monotonic_ms().saturating_add(tx.settings()?.stale_after_ms());
    tx.defer_claim(process_id, again_ms)
}

/// Appends an entry about a judgement.
pub(super) fn append(
    tx: &dyn Transaction,
    judgement: &Judgement,
    happened: &Happened,
    system: &dyn System,
) -> TxResult<ReapEvent> {
    append_of(tx, &judgement.process, judgement.verdict, &judgement.evidence, happened, system)
}

fn append_of(
    tx: &dyn Transaction,
    process: &Process,
    verdict: Verdict,
    evidence: &str,
    happened: &Happened,
    system: &dyn System,
) -> TxResult<ReapEvent> {
    let evidence = match &happened.refusal {
        Some(refusal) => format!("{evidence}; refused: {refusal}"),
        None => evidence.to_owned(),
    };
    let mut event = ReapEvent {
        reap_event_id: 0,
        recorded_at: tx.at(),
        process_id: process.process_id,
        name: process.name.clone(),
        version: process.version.clone(),
        client_name: process.client_name.clone(),
        client_version: process.client_version.clone(),
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
        reaper_process_id: tx.process_id(),
    };
    event.reap_event_id = tx.append_reap_event(&event, process, KEPT)?;
    Ok(event)
}

#[expect(clippy::cast_possible_truncation, reason = "ages of processes")]
fn milliseconds(age_s: f64) -> i64 {
    (age_s * 1_000.0).round() as i64
}
