//! The plan: a pure function from rows, what was seen, and the time, to a judgement of every process.
//!
//! No clock, no SQL, no signal. Who cannot be identified is never a victim.

use std::cmp::Reverse;

use serde::Serialize;

use super::observe::{Observation, Seen};
use crate::process::heartbeat;
use crate::process::record::{Claim, Process, ProcessState, Record, age_ms, seconds};
use crate::process::system::{Here, Sighting};
use crate::store::{LimitPolicy, Settings};
use crate::text_enum::text_enum;

/// A process that cannot be judged is forgotten, without a signal, once nothing was heard of it for this long.
/// If it lives after all, its next beat registers it again.
const FORGET_UNJUDGED_AFTER_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many stale processes make a freeze of all of them more likely than the end of each.
const BREAKER_MIN_STALE: usize = 3;

text_enum! {
    /// What a registered process was judged to be.
    pub enum Verdict {
        /// It lives, or nothing speaks against it.
        Alive => "alive",
        /// It is gone: no process has its PID, or one that started at another time, or it is a zombie, or it
        /// belonged to an earlier boot.
        Exited => "exited",
        /// Its heartbeat is older than `stale_after_s`, and nobody has looked twice yet.
        Suspect => "suspect",
        /// It was identified, its heartbeat is older than `stale_after_s`, and has not moved between two looks, while it
        /// could have been written.
        Stale => "stale",
        /// Its client is gone, and it has had no activity for `stale_after_s`.
        Orphaned => "orphaned",
        /// It is one too many, and nobody uses it.
        Surplus => "surplus",
        /// It runs on another machine. Never signalled.
        Remote => "remote",
        /// It belongs to another namespace or another user, or cannot be looked at. Never signalled.
        Unverifiable => "unverifiable",
    }
}

text_enum! {
    /// What the reaper does about a judgement.
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

/// One process, and what the reaper thinks of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Whether it holds one of `max_processes` places.
    #[serde(skip)]
    pub(super) occupies: bool,
    /// Whether it may be evicted: it was identified, and is neither the caller nor otherwise exempt.
    #[serde(skip)]
    evictable: bool,
    /// Whether a postponed judgement has yet to be noted in the database.
    #[serde(skip)]
    pub(super) to_note: bool,
}

/// How every registered process was judged, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReapPlan {
    /// The judgements.
    pub judgements: Vec<Judgement>,
}

impl ReapPlan {
    /// Whether a reaper has anything to write or to signal.
    pub(super) fn calls_for_action(&self) -> bool {
        self.judgements.iter().any(|judgement| match judgement.action {
            Action::Leave => false,
            Action::Postpone => judgement.to_note,
            Action::Forget | Action::Release | Action::End => true,
        })
    }

    /// The processes that hold a place.
    pub(in crate::process) fn into_occupants(self) -> Vec<Process> {
        self.judgements.into_iter().filter(|j| j.occupies).map(|j| j.process).collect()
    }
}

/// Judges every process in `records`, which are in the order of their registration.
pub(super) fn plan(
    records: &[Record],
    seen: &Seen,
    here: &Here,
    now_ms: i64,
    settings: &Settings,
    caller: Option<i64>,
) -> ReapPlan {
    let court = Court { here, now_ms, settings, caller };
    let mut judgements: Vec<Judgement> =
        records.iter().map(|record| court.judge(record, seen.get(&record.process.process_id))).collect();
    court.doubt_stale(records, &mut judgements);
    if settings.limit_policy == LimitPolicy::Evict {
        court.evict(records, seen, &mut judgements);
    }
    ReapPlan { judgements }
}

/// What all judgements of one plan share.
struct Court<'a> {
    here: &'a Here,
    now_ms: i64,
    settings: &'a Settings,
    caller: Option<i64>,
}

impl Court<'_> {
    fn age_ms(&self, then_ms: i64) -> i64 {
        age_ms(self.now_ms, then_ms)
    }

    fn judge(&self, record: &Record, seen: Option<&Observation>) -> Judgement {
        let fresh = record.beat.as_ref().is_some_and(|beat| !beat.is_stale(self.now_ms, self.settings));
        let (verdict, action, evidence) = self.verdict(record, seen, fresh);
        let process = &record.process;
        Judgement {
            verdict,
            action,
            evidence,
            occupies: match verdict {
                Verdict::Alive => true,
                Verdict::Unverifiable => fresh,
                _ => false, // on its way out, or gone
            } && process.state == ProcessState::Running,
            evictable: verdict == Verdict::Alive && seen.is_some() && !self.is_exempt(process),
            to_note: false,
            process: process.clone(),
        }
    }

    fn verdict(&self, record: &Record, seen: Option<&Observation>, fresh: bool) -> (Verdict, Action, String) {
        let process = &record.process;
        let foreign = |evidence| (Verdict::Unverifiable, self.forget_in_time(record), evidence);
        let exited = |evidence: String| match &record.claim {
            None => (Verdict::Exited, Action::Forget, evidence),
            Some(claim) => {
                let claimed = format!("{evidence}; a reaper had claimed it as {}", claim.verdict);
                (Verdict::Exited, Action::Forget, claimed)
            }
        };

        if process.boot_id != self.here.boot_id {
            return exited("it belongs to an earlier boot".to_owned());
        }
        if process.pid_namespace != self.here.pid_namespace {
            return foreign("it runs in another PID namespace, so its PID says nothing here".to_owned());
        }
        if let Some(claim) = &record.claim
            && self.is_claim_live(claim, seen)
        {
            let reaper =
                claim.claimant.as_ref().map_or("a reaper".to_owned(), |by| format!("PID {}", by.pid));
            return (claim.verdict, Action::Leave, format!("{reaper} is ending it"));
        }
        let Some(seen) = seen else {
            return (Verdict::Alive, Action::Leave, "it registered a moment ago".to_owned());
        };
        let present = match &seen.process {
            Sighting::Gone => return exited(format!("there is no PID {}", process.pid)),
            Sighting::Hidden(reason) => {
                return (Verdict::Unverifiable, self.forget_in_time(record), reason.clone());
            }
            Sighting::Present(present) => present,
        };
        if present.start_ticks != process.start_ticks {
            return exited(format!("PID {} has gone to another process, which started later", process.pid));
        }
        if present.exited {
            return exited("it has ended and is a zombie".to_owned());
        }
        if present.uid != self.here.uid || process.uid != self.here.uid {
            return foreign("it belongs to another user".to_owned());
        }

        let (verdict, evidence) = self.judge_identified(record, seen, fresh);
        let stopped = if present.stopped { "; it is stopped" } else { "" };
        let evidence = format!("{evidence}{stopped}");
        match verdict {
            Verdict::Alive => (Verdict::Alive, Action::Leave, evidence),
            _ if Some(process.process_id) == self.caller || process.pid == self.here.pid => {
                (Verdict::Alive, Action::Leave, format!("{evidence}; but it is the one who asks"))
            }
            _ if self.is_exempt(process) => {
                let evidence = format!("{evidence}; but PID {} is never signalled", process.pid);
                (Verdict::Unverifiable, Action::Leave, evidence)
            }
            _ => (verdict, Action::End, evidence),
        }
    }

    /// Judges a process that is certainly the one that registered, by its heartbeat and its client.
    fn judge_identified(&self, record: &Record, seen: &Observation, fresh: bool) -> (Verdict, String) {
        if let Some(claim) = &record.claim {
            return (claim.verdict, format!("the reaper that claimed it at {} is gone", claim.claimed_at));
        }
        let Some(beat) = &record.beat else {
            return (Verdict::Alive, "it has no heartbeat row, which says nothing about it".to_owned());
        };
        let heartbeat_age_s = seconds(self.age_ms(beat.monotonic_ms));
        let idle_ms = self.age_ms(record.activity_monotonic_ms);
        let stale_after_s = self.settings.stale_after_s;
        if !fresh {
            let limit_s = seconds(beat.stale_after_ms(self.settings));
            return (
                Verdict::Stale,
                format!("its heartbeat is {heartbeat_age_s:.1} s old, over {limit_s} s"),
            );
        }
        if is_parent_gone(&record.process, seen) && idle_ms > self.settings.stale_after_ms() {
            let unused_s = seconds(idle_ms);
            let evidence = format!(
                "its client is gone, and it was last used {unused_s:.1} s ago, over {stale_after_s} s"
            );
            return (Verdict::Orphaned, evidence);
        }
        (Verdict::Alive, format!("its heartbeat is {heartbeat_age_s:.1} s old"))
    }

    /// Never signalled, whatever is found: init, this very process, the caller.
    fn is_exempt(&self, process: &Process) -> bool {
        process.pid <= 1 || process.pid == self.here.pid || Some(process.process_id) == self.caller
    }

    /// Whether the reaper that made a claim may still be at work on it.
    fn is_claim_live(&self, claim: &Claim, seen: Option<&Observation>) -> bool {
        if self.now_ms > claim.until_monotonic_ms {
            return false;
        }
        let Some(by) = &claim.claimant else { return true };
        let gone = match seen.and_then(|seen| seen.claimant.as_ref()) {
            Some((pid, sighting)) => {
                *pid == by.pid
                    && by.pid_namespace == self.here.pid_namespace
                    && sighting.rules_out(by.start_ticks)
            }
            None => false,
        };
        !gone
    }

    /// A process that cannot be judged stays until nothing was heard of it for very long.
    fn forget_in_time(&self, record: &Record) -> Action {
        let heard_ms = record.beat.as_ref().map_or(record.activity_monotonic_ms, |beat| beat.monotonic_ms);
        let limit_ms = FORGET_UNJUDGED_AFTER_MS.max(self.settings.stale_after_ms().saturating_mul(10));
        if self.age_ms(heard_ms) > limit_ms { Action::Forget } else { Action::Leave }
    }

    /// The breaker: postpones the end of stale processes where a freeze is likelier than their death.
    ///
    /// A first scan notes the beat that it found stale; it counts once it is an interval old. A beat makes the
    /// note void, and so does a freeze of the reaper itself, which may have frozen the others just as long.
    fn doubt_stale(&self, records: &[Record], judgements: &mut [Judgement]) {
        let running = |j: &&mut Judgement| j.process.state == ProcessState::Running;
        let registered =
            judgements.iter_mut().filter(running).filter(|j| j.verdict != Verdict::Exited).count();
        let stale = judgements.iter_mut().filter(running).filter(|j| j.verdict == Verdict::Stale).count();
        let together = stale >= BREAKER_MIN_STALE && stale * 2 > registered;
        let froze_until_ms = self.own_freeze(records);
        if !together && froze_until_ms.is_none() {
            return;
        }
        let why = match froze_until_ms {
            Some(_) => "but the reaper's own heartbeat was late".to_owned(),
            None => format!("but so are {stale} of {registered} at once"),
        };
        for (judgement, record) in judgements.iter_mut().zip(records) {
            let Some(beat) = &record.beat else { continue };
            if judgement.verdict != Verdict::Stale
                || judgement.action != Action::End
                || record.claim.is_some()
            {
                continue;
            }
            let again_after_ms = self.settings.heartbeat_interval_ms().max(beat.interval_ms);
            let noted_ms = beat
                .suspected_monotonic_ms
                .filter(|noted| *noted >= beat.monotonic_ms && *noted >= froze_until_ms.unwrap_or(*noted));
            if noted_ms.is_some_and(|noted| self.age_ms(noted) >= again_after_ms) {
                continue; // still stale an interval later
            }
            judgement.action = Action::Postpone;
            judgement.to_note = noted_ms.is_none();
            let noted_ago_ms = noted_ms.map_or(0, |noted| self.age_ms(noted));
            let again_in_s = seconds(again_after_ms.saturating_sub(noted_ago_ms));
            judgement.evidence =
                format!("{}, {why}; it is judged again in {again_in_s:.1} s", judgement.evidence);
        }
    }

    /// Until when the caller itself was frozen, if that is less than an interval ago.
    fn own_freeze(&self, records: &[Record]) -> Option<i64> {
        let own = records.iter().find(|record| Some(record.process.process_id) == self.caller)?;
        let beat = own.beat.as_ref()?;
        if self.age_ms(beat.monotonic_ms) > heartbeat::late_after_ms(self.settings) {
            return Some(self.now_ms);
        }
        let again_after_ms = self.settings.heartbeat_interval_ms();
        beat.recovered_monotonic_ms.filter(|recovered| self.age_ms(*recovered) < again_after_ms)
    }

    /// Picks who must go so that no more than `max_processes` remain.
    fn evict(&self, records: &[Record], seen: &Seen, judgements: &mut [Judgement]) {
        let occupants = judgements.iter().filter(|judgement| judgement.occupies).count();
        let limit = self.settings.max_processes;
        let surplus = occupants.saturating_sub(limit as usize);
        let mut candidates: Vec<_> = judgements
            .iter_mut()
            .zip(records)
            .filter(|(judgement, _)| judgement.evictable)
            .map(|(judgement, record)| {
                let observation = seen.get(&record.process.process_id);
                let parent_gone = observation.is_some_and(|seen| is_parent_gone(&record.process, seen));
                (judgement, parent_gone, record.activity_monotonic_ms)
            })
            .collect();
        candidates.sort_by_key(|(judgement, parent_gone, activity_ms)| {
            (Reverse(*parent_gone), *activity_ms, judgement.process.process_id)
        });
        for (judgement, parent_gone, activity_ms) in candidates.into_iter().take(surplus) {
            let reason = if parent_gone { "its client is gone" } else { "it is the one missed least" };
            let idle_s = seconds(self.age_ms(activity_ms));
            judgement.verdict = Verdict::Surplus;
            judgement.action = Action::End;
            judgement.occupies = false;
            judgement.evidence = format!(
                "{occupants} processes are alive, over max_processes {limit}; {reason}, last used \
                 {idle_s:.1} s ago"
            );
        }
    }
}

/// Whether the client of a process is certainly gone: the process has said so, or it can be seen.
fn is_parent_gone(process: &Process, seen: &Observation) -> bool {
    if process.parent_gone {
        return true;
    }
    match (&seen.parent, process.parent_start_ticks) {
        (Some(sighting), Some(start_ticks)) => sighting.rules_out(start_ticks),
        _ => false,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
