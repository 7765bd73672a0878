//! What holds of every plan, whatever the rows, the sightings, the settings and the time.
//!
//! The values are few and close to each other, so that boots, namespaces, PIDs and start times meet and just miss each
//! other, and clocks come from the whole range of what a column can hold.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::*;
use crate::model::{Claimant, Heartbeat};
use crate::os::{Presence, Remains, Remnant, Sighting};

const NOW_MS: i64 = 1_000_000_000;

/// A judge's whole input.
#[derive(Debug, Clone)]
struct Case {
    records: Vec<ProcessRecord>,
    seen: Seen,
    here: Here,
    now_ms: i64,
    settings: Settings,
    caller: Option<i64>,
    /// What is remembered: of which process, whether its mark is the present one, and between which commits.
    looks: Vec<(i64, bool, i64, i64)>,
}

impl Case {
    fn plan(&self) -> ReapPlan {
        self.plan_with(&self.memory())
    }

    fn plan_with(&self, memory: &Memory) -> ReapPlan {
        let judge = Judge {
            here: &self.here,
            now_ms: self.now_ms,
            settings: &self.settings,
            caller: self.caller,
            memory,
            newcomers: 0,
        };
        plan(&self.records, &self.seen, &judge)
    }

    /// Each mark as the first look finds it, noted at the made-up moments.
    fn memory(&self) -> Memory {
        let first = self.plan_with(&Memory::default());
        let mut memory = Memory::default();
        for (process_id, same, first_ms, last_ms) in &self.looks {
            let judgement = first.judgements.iter().find(|j| j.process.process_id == *process_id);
            let Some(mark) = judgement.and_then(|judgement| judgement.mark) else { continue };
            let mark = if *same { mark } else { Mark::Beat(-1) };
            memory.note(*process_id, mark, *first_ms, i64::MAX);
            memory.note(*process_id, mark, *last_ms, i64::MAX);
        }
        memory
    }

    fn record_of(&self, judgement: &Judgement) -> &ProcessRecord {
        &self.records[usize::try_from(judgement.process.process_id).expect("an index")]
    }

    /// Whether the process that was seen is certainly the one that registered, and one that may be signalled at all.
    fn is_identified(&self, record: &ProcessRecord) -> bool {
        let (process, here) = (&record.process, &self.here);
        let Some(Observation { process: Sighting::Present(present), has_database_open, .. }) =
            self.seen.get(&process.process_id)
        else {
            return false;
        };
        process.boot_id == here.boot_id
            && process.pid_namespace == here.pid_namespace
            && (process.time_namespace.is_none() || process.time_namespace == here.time_namespace)
            && (*has_database_open == Some(true) || (has_database_open.is_none() && !here.sees_open_files))
            && process.start_ticks == present.start_ticks
            && !present.exited
            && process.uid == here.uid
            && present.uid == here.uid
    }

    fn is_caller(&self, record: &ProcessRecord) -> bool {
        Some(record.process.process_id) == self.caller || record.process.pid == self.here.pid
    }
}

fn boot_id() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just("this-boot".to_owned()), 1 => Just("another-boot".to_owned())]
}

fn pid_namespace() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![9 => Just(Some(1)), 1 => Just(Some(2)), 1 => Just(None)]
}

fn pid() -> impl Strategy<Value = u32> {
    prop_oneof![1 => 0..3_u32, 9 => 100..110_u32]
}

fn start_ticks() -> impl Strategy<Value = u64> {
    prop_oneof![9 => Just(50), 1 => 49..52_u64]
}

fn uid() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![9 => Just(Some(1_000)), 1 => Just(Some(0)), 1 => Just(None)]
}

/// A moment: around now, or anything that a column can hold.
fn moment_ms() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => (NOW_MS - 700_000)..(NOW_MS + 10_000),
        2 => Just(NOW_MS - 300_000),
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, 0]),
    ]
}

fn interval_ms() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1..400_000_i64, 1 => 1..i64::MAX, 1 => Just(i64::MAX)]
}

fn sighting() -> impl Strategy<Value = Sighting> {
    let state = (prop::bool::weighted(0.1), any::<bool>(), prop::bool::weighted(0.1));
    let presence = (start_ticks(), uid(), state).prop_map(|(start_ticks, uid, (exited, stopped, traced))| {
        Sighting::Present(Presence { start_ticks, uid, exited, stopped, traced })
    });
    prop_oneof![8 => presence, 1 => Just(Sighting::Gone), 1 => Just(Sighting::Hidden("not allowed".to_owned()))]
}

fn claim() -> impl Strategy<Value = Claim> {
    let claimant = (pid(), pid_namespace(), start_ticks())
        .prop_map(|(pid, pid_namespace, start_ticks)| Claimant { pid, pid_namespace, start_ticks });
    let verdict = prop::sample::select(vec![Verdict::Stale, Verdict::Orphaned, Verdict::Surplus]);
    (verdict, option::of(claimant), moment_ms()).prop_map(|(verdict, claimant, until_monotonic_ms)| Claim {
        verdict,
        claimed_at: "2025-11-19T20:41:09.824Z".parse().expect("a time"),
        claimant,
        until_monotonic_ms,
    })
}

fn beat() -> impl Strategy<Value = Heartbeat> {
    (moment_ms(), any::<i64>(), interval_ms(), option::weighted(0.2, moment_ms())).prop_map(
        |(monotonic_ms, wall_age_ms, interval_ms, recovered_monotonic_ms)| Heartbeat {
            monotonic_ms,
            wall_age_ms,
            interval_ms,
            recovered_monotonic_ms,
        },
    )
}

fn time_namespace() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![9 => Just(Some(5)), 1 => Just(Some(6)), 1 => Just(None)]
}

fn host_id() -> impl Strategy<Value = Option<String>> {
    prop_oneof![4 => Just(Some("a".to_owned())), 1 => Just(Some("b".to_owned())), 1 => Just(None)]
}

/// A row, but for its number.
fn record() -> impl Strategy<Value = ProcessRecord> {
    let identity = (boot_id(), pid_namespace(), pid(), start_ticks(), uid(), (host_id(), time_namespace()));
    let parent = (option::of(pid()), option::of(start_ticks()), prop::bool::weighted(0.2));
    let activity = (moment_ms(), any::<bool>(), any::<bool>());
    let life = (option::weighted(0.9, beat()), activity, option::weighted(0.2, claim()));
    (identity, parent, life, run_id()).prop_map(|(identity, parent, (beat, activity, claim), run_id)| {
        let (activity_monotonic_ms, was_used, holds_locks) = activity;
        let (boot_id, pid_namespace, pid, start_ticks, uid, (host_id, time_namespace)) = identity;
        let (parent_pid, parent_start_ticks, parent_gone) = parent;
        let at = "2025-11-19T20:41:09.824Z".parse().expect("a time");
        let process = Process {
            process_id: 0,
            name: "server".to_owned(),
            version: "1".to_owned(),
            client_name: None,
            client_version: None,
            protocol_version: None,
            pid,
            host_id,
            boot_id,
            pid_namespace,
            time_namespace,
            start_ticks,
            parent_pid,
            parent_start_ticks,
            parent_gone,
            uid,
            state: if claim.is_some() { ProcessState::Terminating } else { ProcessState::Running },
            registered_at: at,
            last_activity_at: was_used.then_some(at),
            beat_at: beat.as_ref().map(|_| at),
            heartbeat_age_s: None,
            run_id,
            container: None,
            activity_age_s: None,
        };
        ProcessRecord { process, beat, activity_monotonic_ms, holds_locks, claim }
    })
}

fn observation() -> impl Strategy<Value = Observation> {
    let open = prop_oneof![9 => Just(Some(true)), 1 => Just(Some(false)), 1 => Just(None)];
    let state = (open, prop::bool::weighted(0.1), option::weighted(0.5, remains()));
    (sighting(), state, option::of(sighting()), option::of((pid(), sighting()))).prop_map(
        |(process, (has_database_open, frozen, remains), parent, claimant)| Observation {
            process,
            has_database_open,
            frozen,
            parent,
            remains,
            claimant,
        },
    )
}

fn remains() -> impl Strategy<Value = Remains> {
    let remnant = (pid(), 0..3_u64).prop_map(|(pid, start_ticks)| Remnant { pid, start_ticks });
    (any::<bool>(), vec(remnant, 0..3)).prop_map(|(has_keeper, processes)| Remains { has_keeper, processes })
}

/// Few enough that two rows have the same one now and then.
fn run_id() -> impl Strategy<Value = Option<RunId>> {
    let ids = ["1", "2", "3"].map(|digit| digit.repeat(32).parse().expect("a run id")).to_vec();
    option::weighted(0.4, prop::sample::select(ids))
}

fn settings() -> impl Strategy<Value = Settings> {
    let policy = prop::sample::select(vec![LimitPolicy::Spare, LimitPolicy::Evict, LimitPolicy::Refuse]);
    (0.05..86_400.0, 0.0..31_449_600.0, prop_oneof![1..12_u32, Just(10_000)], policy, any::<bool>()).prop_map(
        |(interval_s, more_s, max_processes, limit_policy, usual)| Settings {
            risk_healthy_max: 0.15,
            risk_degraded_max: 0.30,
            coherence_healthy_min: 0.85,
            coherence_degraded_min: 0.60,
            coherence_overrides_risk: false,
            heartbeat_interval_s: if usual { 30.0 } else { interval_s },
            stale_after_s: if usual { 300.0 } else { interval_s + more_s },
            max_processes,
            limit_policy,
            terminate_grace_ms: 2_000,
            lock_timeout_ms: 5_000,
            history_limit: None,
            history_max_age_days: None,
            prune_automatically: false,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let subjects = vec((record(), option::weighted(0.95, observation())), 0..14);
    let here =
        (boot_id(), pid_namespace(), pid(), uid(), host_id(), time_namespace(), prop::bool::weighted(0.9))
            .prop_map(|(boot_id, pid_namespace, pid, uid, host_id, time_namespace, sees_open_files)| Here {
                host_id,
                boot_id,
                pid_namespace,
                time_namespace,
                pid,
                start_ticks: 50,
                uid,
                sees_open_files,
            });
    let now_ms = prop_oneof![9 => Just(NOW_MS), 1 => 0..i64::MAX];
    let looks = vec((0..14_i64, prop::bool::weighted(0.9), moment_ms(), moment_ms()), 0..14);
    (subjects, here, now_ms, settings(), option::of(0..14_i64), looks).prop_map(
        |(subjects, here, now_ms, settings, caller, looks)| {
            let mut records = Vec::new();
            let mut seen = Seen::default();
            for (process_id, (mut record, observation)) in (0..).zip(subjects) {
                record.process.process_id = process_id;
                records.push(record);
                seen.extend(observation.map(|observation| (process_id, observation)));
            }
            Case { records, seen, here, now_ms, settings, caller, looks }
        },
    )
}

fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 500 },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..asked
    }
}

/// Whether a process is to be ended, and not what is left of one that is gone.
fn is_ended(judgement: &Judgement) -> bool {
    judgement.action == Action::End && judgement.run_left.is_none()
}

proptest! {
    #![proptest_config(config())]

    /// What is left of a run is ended only if its front is certainly gone, no keeper was seen, and no other row has the same
    /// run with a front that may live.
    #[test]
    fn only_what_is_left_of_a_run_without_guardians_is_ended(case in case()) {
        for judgement in &case.plan().judgements {
            let Some(run_id) = judgement.run_left else { continue };
            let process = &case.record_of(judgement).process;
            let seen = &case.seen[&process.process_id];
            prop_assert_eq!(judgement.action, Action::End);
            prop_assert_eq!(Some(run_id), process.run_id);
            prop_assert!(seen.process.rules_out(process.start_ticks));
            prop_assert!(liveness::is_near(process, &case.here) && process.uid == case.here.uid);
            let remains = seen.remains.as_ref().expect("looked for");
            prop_assert!(!remains.has_keeper && !remains.processes.is_empty());
            let others = case.records.iter().map(|record| &record.process).filter(|p| p.run_id == Some(run_id));
            for other in others.filter(|other| liveness::is_near(other, &case.here)) {
                let sighting = &case.seen[&other.process_id].process;
                prop_assert!(sighting.rules_out(other.start_ticks), "{other:?} may live");
            }
        }
    }

    #[test]
    fn no_plan_has_a_victim_that_was_not_identified(case in case()) {
        let plan = case.plan();
        prop_assert_eq!(plan.judgements.len(), case.records.len());
        for (judgement, record) in plan.judgements.iter().zip(&case.records) {
            prop_assert_eq!(&judgement.process, &record.process);
            if is_ended(judgement) {
                prop_assert!(case.is_identified(record), "{judgement:?}");
                prop_assert!(!case.is_caller(record), "{judgement:?}");
                prop_assert!(record.process.pid > 1, "{judgement:?}");
                let guilty = matches!(judgement.verdict, Verdict::Stale | Verdict::Orphaned | Verdict::Surplus);
                prop_assert!(guilty, "{judgement:?}");
            }
            let allowed: &[Action] = match judgement.verdict {
                Verdict::Alive => &[Action::Leave, Action::Postpone, Action::Release],
                Verdict::Exited => &[Action::Forget],
                Verdict::Suspect => &[Action::Postpone],
                Verdict::Remote | Verdict::Unverifiable => {
                    &[Action::Leave, Action::Postpone, Action::Release, Action::Forget]
                }
                Verdict::Stale | Verdict::Orphaned | Verdict::Surplus => {
                    &[Action::Leave, Action::Postpone, Action::End]
                }
            };
            prop_assert!(allowed.contains(&judgement.action), "{judgement:?}");
            prop_assert!(!judgement.evidence.is_empty());
        }
    }

    /// Under `spare`: nobody whose heartbeat moved within the last interval and whose client is not certainly gone; and
    /// nobody who was used within `stale_after_s`, whatever became of its client.
    #[test]
    fn nobody_who_beats_for_a_client_and_nobody_in_use_is_ended(case in case()) {
        let interval_ms = i128::from(case.settings.heartbeat_interval_ms());
        let stale_after_ms = i128::from(case.settings.stale_after_ms());
        let age_ms = |then_ms: i64| i128::from(case.now_ms) - i128::from(then_ms);
        for judgement in case.plan().judgements.iter().filter(|j| is_ended(j)) {
            let record = case.record_of(judgement);
            if record.claim.is_some() {
                continue; // judged before, by a reaper that died
            }
            let in_use = record.process.last_activity_at.is_some()
                && age_ms(record.activity_monotonic_ms) <= stale_after_ms;
            prop_assert!(!in_use, "{judgement:?}");
            let seen = &case.seen[&judgement.process.process_id];
            let client_gone = liveness::client(&record.process, seen) == Client::Gone;
            let beats = record.beat.as_ref().is_some_and(|beat| age_ms(beat.monotonic_ms) <= interval_ms);
            if case.settings.limit_policy == LimitPolicy::Spare {
                prop_assert!(client_gone || !beats, "{judgement:?}");
            } else if beats && !client_gone {
                prop_assert_eq!(judgement.verdict, Verdict::Surplus, "{:?}", judgement);
                prop_assert_eq!(case.settings.limit_policy, LimitPolicy::Evict);
            }
        }
    }

    /// Whatever speaks against a process is found unmoved by two commits of the judge that lie an interval apart.
    #[test]
    fn nobody_is_ended_at_first_sight(case in case()) {
        let memory = case.memory();
        let first = case.plan_with(&Memory::default());
        let ended_at_once = first.judgements.iter().any(|judgement| {
            is_ended(judgement) && case.record_of(judgement).claim.is_none()
        });
        prop_assert!(!ended_at_once, "{first:?}");
        for judgement in case.plan().judgements.iter().filter(|j| is_ended(j)) {
            let record = case.record_of(judgement);
            if record.claim.is_some() {
                continue;
            }
            let mark = judgement.mark.expect("a mark");
            let (first_ms, last_ms) = memory.unmoved(judgement.process.process_id, mark).expect("two looks");
            prop_assert!(last_ms.saturating_sub(first_ms) >= again_after_ms(record, &case.settings));
            if let Mark::Beat(beat_ms) = mark {
                prop_assert_eq!(Some(beat_ms), record.beat.as_ref().map(|beat| beat.monotonic_ms));
            }
        }
    }

    #[test]
    fn no_more_go_than_are_too_many_and_those_missed_least_go_first(case in case()) {
        let plan = case.plan();
        let unlimited = Settings { max_processes: 10_000, ..case.settings.clone() };
        let unlimited = Case { settings: unlimited, ..case.clone() }.plan();
        let occupants = unlimited.occupants().count();
        let surplus: Vec<_> = plan.judgements.iter()
            .filter(|j| j.verdict == Verdict::Surplus && j.process.state == ProcessState::Running)
            .collect();
        prop_assert!(surplus.len() <= occupants.saturating_sub(case.settings.max_processes as usize));
        if case.settings.limit_policy == LimitPolicy::Refuse {
            prop_assert!(surplus.is_empty());
        }
        for judgement in &surplus {
            prop_assert!(unlimited.judgements.iter().any(|j| j.process == judgement.process && j.occupies));
        }
    }

    #[test]
    fn who_is_judged_twice_is_judged_alike(case in case()) {
        prop_assert_eq!(case.plan(), case.plan());
    }
}
