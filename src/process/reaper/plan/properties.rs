//! What holds of every plan, whatever the rows, the sightings, the settings and the time.
//!
//! The values are few and close to each other, so that boots, namespaces, PIDs and start times meet and just miss each
//! other, and clocks come from the whole range of what a column can hold.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::*;
use crate::process::record::{Claimant, LastBeat};
use crate::process::system::Presence;

const NOW_MS: i64 = 1_000_000_000;

/// A court's whole input.
#[derive(Debug, Clone)]
struct Case {
    records: Vec<Record>,
    seen: Seen,
    here: Here,
    now_ms: i64,
    settings: Settings,
    caller: Option<i64>,
}

impl Case {
    fn plan(&self) -> ReapPlan {
        plan(&self.records, &self.seen, &self.here, self.now_ms, &self.settings, self.caller)
    }

    /// Whether the process that was seen is certainly the one that registered, and one that may be signalled at all.
    fn is_identified(&self, record: &Record) -> bool {
        let (process, here) = (&record.process, &self.here);
        let Some(Observation { process: Sighting::Present(present), .. }) =
            self.seen.get(&process.process_id)
        else {
            return false;
        };
        process.boot_id == here.boot_id
            && process.pid_namespace == here.pid_namespace
            && process.start_ticks == present.start_ticks
            && !present.exited
            && process.uid == here.uid
            && present.uid == here.uid
    }

    fn is_caller(&self, record: &Record) -> bool {
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
    let presence = (start_ticks(), uid(), prop::bool::weighted(0.1), any::<bool>()).prop_map(
        |(start_ticks, uid, exited, stopped)| {
            Sighting::Present(Presence { start_ticks, uid, exited, stopped })
        },
    );
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

fn beat() -> impl Strategy<Value = LastBeat> {
    (moment_ms(), interval_ms(), option::weighted(0.2, moment_ms()), option::weighted(0.3, moment_ms()))
        .prop_map(|(monotonic_ms, interval_ms, recovered_monotonic_ms, suspected_monotonic_ms)| LastBeat {
            monotonic_ms,
            interval_ms,
            recovered_monotonic_ms,
            suspected_monotonic_ms,
        })
}

/// A row, but for its number.
fn record() -> impl Strategy<Value = Record> {
    let identity = (boot_id(), pid_namespace(), pid(), start_ticks(), uid());
    let parent = (option::of(pid()), option::of(start_ticks()), prop::bool::weighted(0.2));
    let life = (option::weighted(0.9, beat()), moment_ms(), option::weighted(0.2, claim()));
    (identity, parent, life).prop_map(|(identity, parent, (beat, activity_monotonic_ms, claim))| {
        let (boot_id, pid_namespace, pid, start_ticks, uid) = identity;
        let (parent_pid, parent_start_ticks, parent_gone) = parent;
        let at = "2025-11-19T20:41:09.824Z".parse().expect("a time");
        let process = Process {
            process_id: 0,
            name: "server".to_owned(),
            version: "1".to_owned(),
            pid,
            host_id: None,
            boot_id,
            pid_namespace,
            time_namespace: None,
            start_ticks,
            parent_pid,
            parent_start_ticks,
            parent_gone,
            uid,
            state: if claim.is_some() { ProcessState::Terminating } else { ProcessState::Running },
            registered_at: at,
            last_activity_at: Some(at),
            beat_at: beat.as_ref().map(|_| at),
            heartbeat_age_s: None,
            activity_age_s: None,
        };
        Record { process, beat, activity_monotonic_ms, claim }
    })
}

fn observation() -> impl Strategy<Value = Observation> {
    (sighting(), option::of(sighting()), option::of((pid(), sighting())))
        .prop_map(|(process, parent, claimant)| Observation { process, parent, claimant })
}

fn settings() -> impl Strategy<Value = Settings> {
    let policy = prop::sample::select(vec![LimitPolicy::Evict, LimitPolicy::Evict, LimitPolicy::Refuse]);
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
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let subjects = vec((record(), option::weighted(0.95, observation())), 0..14);
    let here = (boot_id(), pid_namespace(), pid(), uid()).prop_map(|(boot_id, pid_namespace, pid, uid)| {
        Here { host_id: None, boot_id, pid_namespace, time_namespace: None, pid, start_ticks: 50, uid }
    });
    let now_ms = prop_oneof![9 => Just(NOW_MS), 1 => 0..i64::MAX];
    (subjects, here, now_ms, settings(), option::of(0..14_i64)).prop_map(
        |(subjects, here, now_ms, settings, caller)| {
            let mut records = Vec::new();
            let mut seen = Seen::default();
            for (process_id, (mut record, observation)) in (0..).zip(subjects) {
                record.process.process_id = process_id;
                records.push(record);
                seen.extend(observation.map(|observation| (process_id, observation)));
            }
            Case { records, seen, here, now_ms, settings, caller }
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

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_plan_has_a_victim_that_was_not_identified(case in case()) {
        let plan = case.plan();
        prop_assert_eq!(plan.judgements.len(), case.records.len());
        for (judgement, record) in plan.judgements.iter().zip(&case.records) {
            prop_assert_eq!(&judgement.process, &record.process);
            if judgement.action == Action::End {
                prop_assert!(case.is_identified(record), "{judgement:?}");
                prop_assert!(!case.is_caller(record), "{judgement:?}");
                prop_assert!(record.process.pid > 1, "{judgement:?}");
                let guilty = matches!(judgement.verdict, Verdict::Stale | Verdict::Orphaned | Verdict::Surplus);
                prop_assert!(guilty, "{judgement:?}");
            }
            match judgement.verdict {
                Verdict::Alive => prop_assert_eq!(judgement.action, Action::Leave, "{:?}", judgement),
                Verdict::Exited => prop_assert_eq!(judgement.action, Action::Forget, "{:?}", judgement),
                Verdict::Suspect | Verdict::Remote | Verdict::Unverifiable => {
                    prop_assert!(matches!(judgement.action, Action::Leave | Action::Forget), "{judgement:?}");
                }
                Verdict::Stale | Verdict::Orphaned | Verdict::Surplus => {
                    prop_assert_ne!(judgement.action, Action::Forget, "{:?}", judgement);
                }
            }
            prop_assert!(!judgement.evidence.is_empty());
        }
    }

    #[test]
    fn a_process_that_beats_and_has_its_client_only_ever_goes_as_surplus(case in case()) {
        for (judgement, record) in case.plan().judgements.iter().zip(&case.records) {
            let Some(beat) = &record.beat else { continue };
            let stale_after_ms = case.settings.stale_after_ms();
            let beats = i128::from(case.now_ms) - i128::from(beat.monotonic_ms) <= i128::from(stale_after_ms);
            let has_client = !record.process.parent_gone
                && case.seen.get(&record.process.process_id).is_none_or(|seen| seen.parent.is_none());
            if beats && has_client && record.claim.is_none() && judgement.action == Action::End {
                prop_assert_eq!(judgement.verdict, Verdict::Surplus, "{:?}", judgement);
                prop_assert_eq!(case.settings.limit_policy, LimitPolicy::Evict);
            }
        }
    }

    #[test]
    fn as_many_go_as_are_too_many_and_those_missed_least_go_first(case in case()) {
        let plan = case.plan();
        let unlimited = Settings { max_processes: 10_000, ..case.settings.clone() };
        let alive = Case { settings: unlimited, ..case.clone() }.plan();
        let occupants = alive.judgements.iter().filter(|judgement| judgement.occupies).count();
        let evicted: Vec<_> = plan.judgements.iter().filter(|j| j.verdict == Verdict::Surplus && j.action == Action::End).collect();
        let newly: Vec<_> = evicted.iter().filter(|j| j.process.state == ProcessState::Running).collect();
        let surplus = occupants.saturating_sub(case.settings.max_processes as usize);
        prop_assert!(newly.len() <= surplus);
        if case.settings.limit_policy == LimitPolicy::Refuse {
            prop_assert!(newly.is_empty());
            return Ok(());
        }
        // Whoever stays although he might have gone is missed more than all who go.
        let rank = |judgement: &Judgement| {
            let id = judgement.process.process_id;
            let record = &case.records[usize::try_from(id).expect("an index")];
            let gone = case.seen.get(&id).is_some_and(|seen| is_parent_gone(&record.process, seen));
            (Reverse(gone), record.activity_monotonic_ms, id)
        };
        let staying = plan.judgements.iter().filter(|j| j.evictable && j.verdict == Verdict::Alive);
        let stays = staying.clone().count();
        if let (Some(last), Some(first)) = (newly.iter().map(|j| rank(j)).max(), staying.map(rank).min()) {
            prop_assert!(last < first, "{last:?} goes and {first:?} stays");
        }
        prop_assert!(newly.len() == surplus || stays == 0, "{} go of {surplus}", newly.len());
    }

    #[test]
    fn many_that_turn_stale_at_once_are_not_ended_at_first_sight(case in case()) {
        let mut case = case;
        for record in &mut case.records {
            if let Some(beat) = &mut record.beat {
                beat.suspected_monotonic_ms = None;
            }
        }
        let plan = case.plan();
        let running = || plan.judgements.iter().filter(|j| j.process.state == ProcessState::Running);
        let registered = running().filter(|j| j.verdict != Verdict::Exited).count();
        let stale = running().filter(|j| j.verdict == Verdict::Stale).count();
        // Those who go as surplus were alive, so that they count among the registered.
        if stale >= 3 && stale * 2 > registered {
            prop_assert!(running().all(|j| j.verdict != Verdict::Stale || j.action == Action::Postpone));
        }
    }

    #[test]
    fn who_is_judged_twice_is_judged_alike(case in case()) {
        prop_assert_eq!(case.plan(), case.plan());
    }
}
