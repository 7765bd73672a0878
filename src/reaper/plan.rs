//! The plan: a pure function from rows, what was seen, what is remembered, and the time, to a judgement of every
//! process.
//!
//! No clock, no SQL, no signal. A process that can't be identified is never a victim, and none is ended at first
//! sight: whatever speaks against it has to be found unmoved a second time, by the rules of `memory`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::memory::Memory;
use crate::liveness::{self, Client, Identified, Kernel, Observation};
use crate::model::{
    Action, Claim, HolderState, Judgement, LimitPolicy, Mark, Process, ProcessRecord, ProcessState, ReapPlan,
    RunId, Settings, Verdict, age_ms, seconds,
};
use crate::os::Here;
use crate::registry;

/// A process that cannot be judged is forgotten, without a signal, once nothing was heard of it for this long.
/// If it lives after all, its next beat registers it again.
const FORGET_UNJUDGED_AFTER_MS: i64 = 24 * 60 * 60 * 1_000;

/// How many silent processes make a freeze of all of them more likely than the end of each.
const BREAKER_MIN_SUSPECTS: usize = 3;

/// What was seen, by `process_id`. Not by PID: a PID may come round to a process that registers just then.
pub(super) type Seen = HashMap<i64, Observation>;

/// The process that judges: its clock, its settings, and what it remembers.
pub(super) struct Judge<'a> {
    pub here: &'a Here,
    pub now_ms: i64,
    pub settings: &'a Settings,
    /// The registered process that judges, if it is one.
    pub caller: Option<i64>,
    pub memory: &'a Memory,
    /// Processes that are about to register.
    pub newcomers: usize,
}

/// What is left of a wrapped server whose front is gone.
enum Left {
    Nothing,
    /// It is being ended.
    ToItsKeeper,
    /// Nobody else ends it. What it is, for a sentence.
    ToBeEnded(String),
}

/// What speaks against a process at first sight.
enum Finding {
    /// Nothing, or nothing that a second look could change.
    Settled(Verdict, Action),
    /// Nothing was heard of it for too long.
    Silent,
    /// The same, but there is nobody who could have expected it to beat, or to judge it: it is left alone, and only its
    /// locks are not.
    SilentAndSpared(Verdict),
    /// Its client is gone, and it was not used for long.
    Orphaned,
}

/// A judgement in the making.
struct Draft<'r> {
    record: &'r ProcessRecord,
    identified: Option<Identified>,
    finding: Finding,
    evidence: String,
}

/// Judges every process in `records`, which are in the order of their registration.
pub(super) fn plan(records: &[ProcessRecord], seen: &Seen, judge: &Judge<'_>) -> ReapPlan {
    let living = living_runs(records, seen, judge.here);
    let drafts =
        records.iter().map(|record| judge.draft(record, seen.get(&record.process.process_id), &living));
    let drafts: Vec<Draft<'_>> = drafts.collect();
    let silent = drafts.iter().filter(|draft| matches!(draft.finding, Finding::Silent)).count();
    let running = drafts.iter().filter(|draft| draft.is_running()).count();
    let breaker = Breaker {
        together: (silent >= BREAKER_MIN_SUSPECTS && silent * 2 > running).then_some((silent, running)),
        frozen_until_ms: judge.own_freeze(records),
    };
    let mut judgements: Vec<Judgement> =
        drafts.iter().map(|draft| judge.decide(draft, seen, &breaker)).collect();
    judge.limit(&drafts, &mut judgements, &breaker);
    ReapPlan { judgements }
}

/// What makes a freeze of all likelier than the end of each.
struct Breaker {
    /// How many are silent at once, and of how many.
    together: Option<(usize, usize)>,
    /// Until when the judge himself was frozen, if that is less than an interval ago.
    frozen_until_ms: Option<i64>,
}

impl Draft<'_> {
    fn is_running(&self) -> bool {
        // Whoever is judged orphaned at first sight is gone, and has left others.
        let gone = matches!(self.finding, Finding::Settled(Verdict::Exited | Verdict::Orphaned, _));
        self.record.process.state == ProcessState::Running && !gone
    }
}

impl Judge<'_> {
    /// `living`: the runs whose fronts are not certainly gone.
    fn draft<'r>(
        &self,
        record: &'r ProcessRecord,
        seen: Option<&Observation>,
        living: &HashSet<RunId>,
    ) -> Draft<'r> {
        let process = &record.process;
        let settled = |identified, verdict, action, evidence: String| Draft {
            record,
            identified,
            finding: Finding::Settled(verdict, action),
            evidence,
        };
        // First, also where the victim is gone by now: whoever ended it comes to say so.
        if let Some(claim) = &record.claim
            && process.boot_id == self.here.boot_id
            && self.is_claim_live(claim, seen)
        {
            let reaper =
                claim.claimant.as_ref().map_or("a reaper".to_owned(), |by| format!("PID {}", by.pid));
            return settled(None, claim.verdict, Action::Leave, format!("{reaper} is ending it"));
        }
        let kernel = liveness::kernel(process, seen, self.here);
        match kernel {
            Kernel::Unseen => {
                settled(None, Verdict::Alive, Action::Leave, "it registered a moment ago".to_owned())
            }
            Kernel::Identified(identified) => self.draft_identified(record, identified),
            Kernel::Remote(evidence) => self.draft_elsewhere(record, Verdict::Remote, evidence),
            Kernel::Unjudgeable(evidence) => self.draft_elsewhere(record, Verdict::Unverifiable, evidence),
            Kernel::Gone(evidence) => {
                let evidence = match left(process, seen, living, self.here) {
                    Left::Nothing => evidence,
                    Left::ToItsKeeper => {
                        let evidence = format!("{evidence}; its keeper is ending what it has started");
                        return settled(None, Verdict::Orphaned, Action::Leave, evidence);
                    }
                    Left::ToBeEnded(what) => {
                        let evidence = format!("{evidence}, and so is its keeper; {what} left");
                        return settled(None, Verdict::Orphaned, Action::End, evidence);
                    }
                };
                let evidence = match &record.claim {
                    None => evidence,
                    Some(claim) => format!("{evidence}; a reaper had claimed it as {}", claim.verdict),
                };
                settled(None, Verdict::Exited, Action::Forget, evidence)
            }
        }
    }

    /// A process that is never signalled. It stays until nothing was heard of it for very long; if it lives after all,
    /// its next beat registers it again.
    fn draft_elsewhere<'r>(
        &self,
        record: &'r ProcessRecord,
        verdict: Verdict,
        evidence: String,
    ) -> Draft<'r> {
        let silent_ms = record.silent_ms(self.here, self.now_ms).unwrap_or_default();
        let forget_ms = FORGET_UNJUDGED_AFTER_MS.max(self.settings.stale_after_ms().saturating_mul(10));
        let finding = if silent_ms > forget_ms {
            Finding::Settled(verdict, Action::Forget)
        } else if record.is_silent(self.here, self.now_ms, self.settings) {
            Finding::SilentAndSpared(verdict)
        } else {
            Finding::Settled(verdict, Action::Leave)
        };
        Draft { record, identified: None, finding, evidence }
    }

    /// A process that is certainly the one that registered: by its heartbeat, its use and its client.
    fn draft_identified<'r>(&self, record: &'r ProcessRecord, identified: Identified) -> Draft<'r> {
        let process = &record.process;
        let (finding, mut evidence) = self.finding(record, identified);
        let accused = !matches!(finding, Finding::Settled(Verdict::Alive, _) | Finding::SilentAndSpared(_));
        let finding = if accused && self.is_caller(process) {
            evidence.push_str("; but it is the one who asks");
            Finding::Settled(Verdict::Alive, Action::Leave)
        } else if accused && process.pid <= 1 {
            evidence = format!("{evidence}; but PID {} is never signalled", process.pid);
            Finding::Settled(Verdict::Unverifiable, Action::Leave)
        } else if accused && identified.traced {
            evidence.push_str("; but a debugger has it, so it is left alone");
            Finding::Settled(Verdict::Alive, Action::Leave)
        } else {
            finding
        };
        if identified.stopped {
            evidence.push_str("; it is stopped");
        }
        Draft { record, identified: Some(identified), finding, evidence }
    }

    fn finding(&self, record: &ProcessRecord, identified: Identified) -> (Finding, String) {
        if let Some(claim) = &record.claim {
            let evidence = format!("the reaper that claimed it at {} is gone", claim.claimed_at);
            return (Finding::Settled(claim.verdict, Action::End), evidence);
        }
        let Some(beat) = &record.beat else {
            let evidence = "it has no heartbeat row, which says nothing about it".to_owned();
            return (Finding::Settled(Verdict::Alive, Action::Leave), evidence);
        };
        let beat_age_s = seconds(age_ms(self.now_ms, beat.monotonic_ms));
        if record.is_silent(self.here, self.now_ms, self.settings) {
            let limit_s = seconds(beat.limit_ms(self.settings));
            let evidence = format!("its heartbeat is {beat_age_s:.1} s old, over {limit_s} s");
            // As by Ctrl-Z in a terminal, or `docker pause`: it will go on as it was stopped.
            let spared = |why| (Finding::SilentAndSpared(Verdict::Alive), format!("{evidence}, and {why}"));
            return if identified.frozen {
                spared("its cgroup is frozen")
            } else if identified.stopped && identified.client == Client::Stopped {
                spared("its client is stopped too")
            } else {
                (Finding::Silent, evidence)
            };
        }
        let unused_ms = record.unused_ms(self.now_ms);
        if identified.client == Client::Gone && unused_ms > self.settings.stale_after_ms() {
            let evidence = format!(
                "its client is gone, and it {}, over {} s",
                last_used(record, unused_ms),
                self.settings.stale_after_s
            );
            return (Finding::Orphaned, evidence);
        }
        (Finding::Settled(Verdict::Alive, Action::Leave), format!("its heartbeat is {beat_age_s:.1} s old"))
    }

    /// Turns what speaks against a process into a judgement, which needs a second look.
    fn decide(&self, draft: &Draft<'_>, seen: &Seen, breaker: &Breaker) -> Judgement {
        let process = &draft.record.process;
        let observed = seen.get(&process.process_id);
        let mut judgement = Judgement {
            process: process.clone(),
            verdict: Verdict::Alive,
            action: Action::Leave,
            evidence: draft.evidence.clone(),
            stopped: liveness::state(process, observed.map(|seen| &seen.process), self.here)
                == HolderState::Stopped,
            occupies: false,
            again_in_ms: 0,
            mark: None,
            run_left: None,
        };
        let beat_ms = draft.record.beat.as_ref().map(|beat| beat.monotonic_ms);
        match draft.finding {
            Finding::Settled(verdict, action) => {
                (judgement.verdict, judgement.action) = (verdict, action);
                judgement.run_left =
                    process.run_id.filter(|_| action == Action::End && draft.identified.is_none());
            }
            Finding::Silent => {
                judgement.verdict = Verdict::Stale;
                self.look_twice(&mut judgement, draft, beat_ms.map(Mark::Beat), breaker, Action::End);
                if judgement.action == Action::Postpone {
                    judgement.verdict = Verdict::Suspect;
                }
            }
            Finding::SilentAndSpared(verdict) => {
                judgement.verdict = verdict;
                // Its row goes with its locks where a machine can't be looked at but through it.
                let action = if verdict == Verdict::Remote { Action::Forget } else { Action::Release };
                if draft.record.holds_locks || action == Action::Forget {
                    self.look_twice(&mut judgement, draft, beat_ms.map(Mark::SparedBeat), breaker, action);
                }
            }
            Finding::Orphaned => {
                judgement.verdict = Verdict::Orphaned;
                self.look_twice(&mut judgement, draft, Some(unused_mark(draft.record)), breaker, Action::End);
            }
        }
        judgement.occupies = process.state == ProcessState::Running
            && self.could_end(draft)
            && matches!(judgement.verdict, Verdict::Alive | Verdict::Suspect);
        judgement
    }

    /// Has `action` taken if the mark was found unmoved by a second look, and puts it off otherwise.
    fn look_twice(
        &self,
        judgement: &mut Judgement,
        draft: &Draft<'_>,
        mark: Option<Mark>,
        breaker: &Breaker,
        action: Action,
    ) {
        let Some(mark) = mark else { return };
        let mut again_after_ms = again_after_ms(draft.record, self.settings);
        let together = breaker.together.filter(|_| !matches!(mark, Mark::Unused(_)));
        if together.is_some() {
            again_after_ms = again_after_ms.saturating_mul(2);
        }
        let why = match together {
            _ if breaker.frozen_until_ms.is_some() => "; but the reaper's own heartbeat was late".to_owned(),
            Some((silent, running)) => format!("; but so are {silent} of {running} at once"),
            None => String::new(),
        };
        let looks = self.memory.unmoved(draft.record.process.process_id, mark);
        let looks = looks.filter(|(first_ms, _)| *first_ms >= breaker.frozen_until_ms.unwrap_or(*first_ms));
        judgement.mark = Some(mark);
        if looks.is_some_and(|(first_ms, last_ms)| last_ms.saturating_sub(first_ms) >= again_after_ms) {
            judgement.action = action;
            return;
        }
        let since_ms = looks.map_or(self.now_ms, |(first_ms, _)| first_ms);
        judgement.action = Action::Postpone;
        judgement.again_in_ms =
            again_after_ms.saturating_sub(age_ms(self.now_ms, since_ms)).clamp(0, again_after_ms);
        let again_in_s = seconds(judgement.again_in_ms);
        judgement.evidence =
            format!("{}{why}; it is judged after a second look in {again_in_s:.1} s", judgement.evidence);
    }

    /// The limit: who goes so that no more than `max_processes` remain, if anybody may.
    fn limit(&self, drafts: &[Draft<'_>], judgements: &mut [Judgement], breaker: &Breaker) {
        let occupants = judgements.iter().filter(|judgement| judgement.occupies).count() + self.newcomers;
        let limit = self.settings.max_processes;
        let surplus = occupants.saturating_sub(limit as usize);
        let mut candidates: Vec<_> = drafts
            .iter()
            .zip(judgements)
            .filter(|(draft, judgement)| judgement.occupies && self.is_expendable(draft))
            .collect();
        candidates.sort_by_key(|(draft, _)| rank(draft));
        // Where it is the caller's own turn, another reaper ends it: nobody goes in its place.
        let their_turn = candidates.into_iter().take(surplus);
        for (draft, judgement) in their_turn.filter(|(draft, _)| !self.is_caller(&draft.record.process)) {
            let unused = last_used(draft.record, draft.record.unused_ms(self.now_ms));
            let client = if is_client_gone(draft) { "its client is gone, and " } else { "" };
            judgement.verdict = Verdict::Surplus;
            judgement.occupies = false;
            judgement.evidence =
                format!("{occupants} processes live, over max_processes {limit}; {client}it {unused}");
            self.look_twice(judgement, draft, Some(unused_mark(draft.record)), breaker, Action::End);
        }
    }

    /// Whether a process may go so that others have room. Under `spare` nobody whose client may live, and nobody who was
    /// used within `stale_after_s`, whatever became of its client.
    fn is_expendable(&self, draft: &Draft<'_>) -> bool {
        let record = draft.record;
        let is_alive = matches!(draft.finding, Finding::Settled(Verdict::Alive, _));
        // One that registered after the look is not identified.
        if draft.identified.is_none() || !is_alive {
            return false;
        }
        let unused_ms = record.unused_ms(self.now_ms);
        let never_used = record.process.last_activity_at.is_none();
        let abandoned =
            is_client_gone(draft) && never_used && unused_ms > again_after_ms(record, self.settings);
        match self.settings.limit_policy {
            LimitPolicy::Spare => abandoned,
            LimitPolicy::Evict => abandoned || unused_ms > self.settings.stale_after_ms(),
            LimitPolicy::Refuse => false,
        }
    }

    /// Whether this reaper could end the process if it had to; or will, once it has looked at it.
    fn could_end(&self, draft: &Draft<'_>) -> bool {
        let process = &draft.record.process;
        let is_ours = match draft.identified {
            Some(identified) => !identified.traced,
            None => process.uid == self.here.uid, // it registered after the look
        };
        is_ours && process.pid > 1
    }

    fn is_caller(&self, process: &Process) -> bool {
        process.pid == self.here.pid || Some(process.process_id) == self.caller
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

    /// Until when the caller itself was frozen, if that is less than an interval ago.
    fn own_freeze(&self, records: &[ProcessRecord]) -> Option<i64> {
        let own = records.iter().find(|record| Some(record.process.process_id) == self.caller)?;
        let beat = own.beat.as_ref()?;
        if age_ms(self.now_ms, beat.monotonic_ms) > registry::late_after_ms(self.settings) {
            return Some(self.now_ms);
        }
        let again_after_ms = self.settings.heartbeat_interval_ms();
        beat.recovered_monotonic_ms.filter(|recovered| age_ms(self.now_ms, *recovered) < again_after_ms)
    }
}

/// The runs whose fronts are not certainly gone.
fn living_runs(records: &[ProcessRecord], seen: &Seen, here: &Here) -> HashSet<RunId> {
    let of_runs = records.iter().filter_map(|record| Some((record.process.run_id?, &record.process)));
    let living = of_runs.filter(|(_, process)| {
        !matches!(liveness::kernel(process, seen.get(&process.process_id), here), Kernel::Gone(_))
    });
    living.map(|(run_id, _)| run_id).collect()
}

/// What is left of the tree of processes that one stood in front of that is gone.
fn left(process: &Process, seen: Option<&Observation>, living: &HashSet<RunId>, here: &Here) -> Left {
    if !liveness::is_near(process, here) || process.uid != here.uid {
        return Left::Nothing; // nothing was looked for
    }
    let remains = seen.and_then(|seen| seen.remains.as_ref());
    let (Some(run_id), Some(remains)) = (process.run_id, remains) else { return Left::Nothing };
    if living.contains(&run_id) {
        return Left::Nothing; // two rows can't have the same run: this one is forged
    }
    if remains.has_keeper {
        return Left::ToItsKeeper;
    }
    let pids: Vec<_> = remains.processes.iter().map(|left| format!("PID {}", left.pid)).collect();
    match (pids.as_slice(), &process.container) {
        ([], None) => Left::Nothing,
        ([], Some(container)) => Left::ToBeEnded(format!("a {} container may be", container.runtime)),
        ([one], _) => Left::ToBeEnded(format!("{one} is")),
        (several, _) => Left::ToBeEnded(format!("{} are", several.join(", "))),
    }
}

/// How long lies between two looks at a process: within that time it has promised to beat.
pub(super) fn again_after_ms(record: &ProcessRecord, settings: &Settings) -> i64 {
    let promised_ms = record.beat.as_ref().map_or(0, |beat| beat.interval_ms);
    settings.heartbeat_interval_ms().max(promised_ms)
}

fn is_client_gone(draft: &Draft<'_>) -> bool {
    draft.identified.is_some_and(|identified| identified.client == Client::Gone)
}

fn unused_mark(record: &ProcessRecord) -> Mark {
    Mark::Unused(record.activity_monotonic_ms)
}

/// Who goes first: those without a client, then those that were not used for longest.
fn rank(draft: &Draft<'_>) -> (Reverse<bool>, i64, i64) {
    let record = draft.record;
    (Reverse(is_client_gone(draft)), record.activity_monotonic_ms, record.process.process_id)
}

/// `was last used 301.5 s ago`.
fn last_used(record: &ProcessRecord, ago_ms: i64) -> String {
    let unused_s = seconds(ago_ms);
    match record.process.last_activity_at {
        Some(_) => format!("was last used {unused_s:.1} s ago"),
        None => format!("was never used since it registered {unused_s:.1} s ago"),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
