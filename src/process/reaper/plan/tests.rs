//! Every rule of the plan, from made-up rows and sightings.

use super::*;
use crate::process::record::Claimant;
use crate::process::record::LastBeat;
use crate::process::system::Presence;
use crate::timestamp::Timestamp;

/// The moment at which everything here is judged.
const NOW_MS: i64 = 1_000_000_000;
const START: u64 = 4_242;
const CALLER: i64 = 99;
const REAPER_PID: u32 = 7_777;

fn here() -> Here {
    Here {
        host_id: Some("this-host".to_owned()),
        boot_id: "this-boot".to_owned(),
        pid_namespace: Some(1),
        time_namespace: Some(2),
        pid: REAPER_PID,
        start_ticks: 1,
        uid: Some(1_000),
    }
}

fn settings() -> Settings {
    Settings {
        risk_healthy_max: 0.15,
        risk_degraded_max: 0.30,
        coherence_healthy_min: 0.85,
        coherence_degraded_min: 0.60,
        coherence_overrides_risk: false,
        heartbeat_interval_s: 30.0,
        stale_after_s: 300.0,
        max_processes: 9,
        limit_policy: LimitPolicy::Evict,
        terminate_grace_ms: 2_000,
        lock_timeout_ms: 5_000,
        history_limit: None,
    }
}

/// A process in good health: identified, fresh, its client there.
fn record(process_id: i64) -> Record {
    let at: Timestamp = "2025-11-19T20:41:09.824Z".parse().unwrap();
    Record {
        process: Process {
            process_id,
            name: "server".to_owned(),
            version: "1".to_owned(),
            pid: 1_000 + u32::try_from(process_id).unwrap(),
            host_id: Some("this-host".to_owned()),
            boot_id: "this-boot".to_owned(),
            pid_namespace: Some(1),
            time_namespace: Some(2),
            start_ticks: START,
            parent_pid: Some(500),
            parent_start_ticks: Some(50),
            parent_gone: false,
            uid: Some(1_000),
            state: ProcessState::Running,
            registered_at: at,
            last_activity_at: Some(at),
            beat_at: Some(at),
            heartbeat_age_s: None,
            activity_age_s: None,
        },
        beat: Some(LastBeat {
            monotonic_ms: NOW_MS - 1_000,
            interval_ms: 30_000,
            recovered_monotonic_ms: None,
            suspected_monotonic_ms: None,
        }),
        activity_monotonic_ms: NOW_MS - 1_000,
        claim: None,
    }
}

fn present() -> Presence {
    Presence { start_ticks: START, uid: Some(1_000), exited: false, stopped: false }
}

fn parent() -> Sighting {
    Sighting::Present(Presence { start_ticks: 50, ..present() })
}

fn observation() -> Observation {
    Observation { process: Sighting::Present(present()), parent: Some(parent()), claimant: None }
}

/// A process to be judged.
struct Subject {
    record: Record,
    /// `None` for one that registered after the look.
    seen: Option<Observation>,
}

/// A record and what is seen of it, changed from good health by `change`.
fn subject(process_id: i64, change: impl FnOnce(&mut Record, &mut Observation)) -> Subject {
    let (mut record, mut seen) = (record(process_id), observation());
    change(&mut record, &mut seen);
    Subject { record, seen: Some(seen) }
}

fn age_of_beat(record: &mut Record, age_ms: i64) -> &mut LastBeat {
    let beat = record.beat.as_mut().unwrap();
    beat.monotonic_ms = NOW_MS - age_ms;
    beat
}

fn stale(process_id: i64) -> Subject {
    subject(process_id, |record, _| {
        age_of_beat(record, 300_001);
    })
}

fn judge(subjects: Vec<Subject>, settings: &Settings) -> Vec<Judgement> {
    let seen = subjects
        .iter()
        .filter_map(|subject| Some((subject.record.process.process_id, subject.seen.clone()?)))
        .collect();
    let records: Vec<Record> = subjects.into_iter().map(|subject| subject.record).collect();
    plan(&records, &seen, &here(), NOW_MS, settings, Some(CALLER)).judgements
}

fn words(judgements: &[Judgement]) -> Vec<(&'static str, &'static str)> {
    judgements.iter().map(|j| (j.verdict.as_str(), j.action.as_str())).collect()
}

fn claim(until_ms: i64, by: Option<Claimant>) -> Claim {
    Claim {
        verdict: Verdict::Stale,
        claimed_at: "2025-11-19T20:41:09.824Z".parse().unwrap(),
        claimant: by,
        until_monotonic_ms: until_ms,
    }
}

fn another_reaper() -> Claimant {
    Claimant { pid: 8_888, pid_namespace: Some(1), start_ticks: 88 }
}

type Change = fn(&mut Record, &mut Observation);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_process_is_judged_by_what_is_known_of_it() {
    #[rustfmt::skip]
    let cases: Vec<(&str, Change, &str, &str, &str)> = vec![
        ("fresh", |_, _| (), "alive", "leave", "heartbeat is 1.0 s old"),
        ("idle for a day, its client there", |r, _| r.activity_monotonic_ms -= 86_400_000, "alive", "leave", "heartbeat"),
        ("a heartbeat just inside the limit", |r, _| { age_of_beat(r, 300_000); }, "alive", "leave", "300.0 s old"),
        ("a heartbeat from the future", |r, _| { age_of_beat(r, -5_000); }, "alive", "leave", "0.0 s old"),
        ("without a heartbeat row", |r, _| r.beat = None, "alive", "leave", "no heartbeat row"),
        ("an old heartbeat, but it promised a beat within a longer interval",
            |r, _| age_of_beat(r, 590_000).interval_ms = 300_000, "alive", "leave", "590.0 s old"),

        ("stale", |r, _| { age_of_beat(r, 300_001); }, "stale", "end", "300.0 s old, over 300 s"),
        ("stale by the longer interval that it promised",
            |r, _| age_of_beat(r, 601_000).interval_ms = 300_000, "stale", "end", "over 600 s"),
        ("it promised a beat within longer than anything, which must not wrap around",
            |r, _| age_of_beat(r, 400_000).interval_ms = i64::MAX, "alive", "leave", "400.0 s old"),
        ("a heartbeat from before all time", |r, _| age_of_beat(r, 0).monotonic_ms = i64::MIN, "stale", "end", "over 300 s"),
        ("stale and stopped", |r, s| {
            age_of_beat(r, 400_000);
            s.process = Sighting::Present(Presence { stopped: true, ..present() });
        }, "stale", "end", "it is stopped"),

        ("no such PID", |_, s| s.process = Sighting::Gone, "exited", "forget", "there is no PID 1001"),
        ("the PID has gone to another, however old the heartbeat", |r, s| {
            age_of_beat(r, 400_000);
            s.process = Sighting::Present(Presence { start_ticks: START + 1, ..present() });
        }, "exited", "forget", "gone to another process"),
        ("the PID has gone to another user's process", |_, s| {
            s.process = Sighting::Present(Presence { start_ticks: START + 1, uid: Some(0), ..present() });
        }, "exited", "forget", "gone to another process"),
        ("a zombie", |_, s| s.process = Sighting::Present(Presence { exited: true, ..present() }),
            "exited", "forget", "zombie"),
        ("of an earlier boot, though PID and start match", |r, _| r.process.boot_id = "other".to_owned(),
            "exited", "forget", "earlier boot"),

        ("orphaned", |r, s| { s.parent = Some(Sighting::Gone); r.activity_monotonic_ms -= 300_000; },
            "orphaned", "end", "its client is gone"),
        ("its client's PID has gone to another", |r, s| {
            s.parent = Some(Sighting::Present(Presence { start_ticks: 51, ..present() }));
            r.activity_monotonic_ms -= 300_000;
        }, "orphaned", "end", "its client is gone"),
        ("it has said itself that its client is gone", |r, _| {
            r.process.parent_gone = true;
            r.activity_monotonic_ms -= 300_000;
        }, "orphaned", "end", "its client is gone"),
        ("its client is gone, but it was used a moment ago", |_, s| s.parent = Some(Sighting::Gone),
            "alive", "leave", "heartbeat"),
        ("its client can't be seen", |r, s| {
            s.parent = Some(Sighting::Hidden("hidden".to_owned()));
            r.activity_monotonic_ms -= 300_000;
        }, "alive", "leave", "heartbeat"),
        ("its client was never seen", |r, s| {
            (r.process.parent_pid, r.process.parent_start_ticks, s.parent) = (None, None, None);
            r.activity_monotonic_ms -= 300_000;
        }, "alive", "leave", "heartbeat"),

        ("another PID namespace, stale", |r, _| { r.process.pid_namespace = Some(2); age_of_beat(r, 400_000); },
            "foreign", "leave", "another PID namespace"),
        ("another PID namespace, silent for a day and more",
            |r, _| { r.process.pid_namespace = Some(2); age_of_beat(r, 90_000_000); },
            "foreign", "forget", "another PID namespace"),
        ("another user's by its row, stale", |r, _| { r.process.uid = Some(0); age_of_beat(r, 400_000); },
            "foreign", "leave", "another user"),
        ("another user's by what is seen, stale", |r, s| {
            s.process = Sighting::Present(Presence { uid: Some(0), ..present() });
            age_of_beat(r, 400_000);
        }, "foreign", "leave", "another user"),
        ("hidden, stale", |r, s| {
            s.process = Sighting::Hidden("procfs hides it".to_owned());
            age_of_beat(r, 400_000);
        }, "unverifiable", "leave", "procfs hides it"),
        ("PID 1, stale", |r, _| { r.process.pid = 1; age_of_beat(r, 400_000); },
            "unverifiable", "leave", "PID 1 is never signalled"),
        ("this very process under another row, stale",
            |r, _| { r.process.pid = REAPER_PID; age_of_beat(r, 400_000); },
            "alive", "leave", "the one who asks"),

        ("claimed by a reaper at work", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Present(Presence { start_ticks: 88, ..present() })));
        }, "stale", "leave", "PID 8888 is ending it"),
        ("claimed by a reaper that can't be seen", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Hidden("hidden".to_owned())));
        }, "stale", "leave", "PID 8888 is ending it"),
        ("claimed by a reaper that died", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Gone));
        }, "stale", "end", "the reaper that claimed it"),
        ("claimed by a reaper whose PID has gone to another", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Present(present())));
        }, "stale", "end", "the reaper that claimed it"),
        ("claimed in another PID namespace, whose PIDs say nothing here", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(Claimant { pid_namespace: Some(2), ..another_reaper() })));
            s.claimant = Some((8_888, Sighting::Gone));
        }, "stale", "leave", "PID 8888 is ending it"),
        ("claimed by another reaper since the look", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_889, Sighting::Gone));
        }, "stale", "leave", "PID 8888 is ending it"),
        ("a claim that ran out", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS - 1, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Present(Presence { start_ticks: 88, ..present() })));
        }, "stale", "end", "the reaper that claimed it"),
        ("a claim that nobody pursues for now", |r, _| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, None));
        }, "stale", "leave", "a reaper is ending it"),
        ("claimed, its reaper died, and it is gone", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Gone));
            s.process = Sighting::Gone;
        }, "exited", "forget", "there is no PID 1001; a reaper had claimed it as stale"),
        ("claimed, its reaper died, and its PID has gone to another", |r, s| {
            r.process.state = ProcessState::Terminating;
            r.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
            s.claimant = Some((8_888, Sighting::Gone));
            s.process = Sighting::Present(Presence { start_ticks: START + 1, ..present() });
        }, "exited", "forget", "gone to another process"),
    ];
    for (name, change, verdict, action, evidence) in cases {
        let judgement = judge(vec![subject(1, change)], &settings()).remove(0);
        assert_eq!((judgement.verdict.as_str(), judgement.action.as_str()), (verdict, action), "{name}");
        assert!(judgement.evidence.contains(evidence), "{name}: {:?}", judgement.evidence);
    }
}

#[test]
fn whoever_registered_after_the_look_is_left_alone() {
    let mut newborn = record(1);
    age_of_beat(&mut newborn, 400_000);
    newborn.process.parent_gone = true;
    let judgements =
        judge(vec![Subject { record: newborn, seen: None }], &Settings { max_processes: 1, ..settings() });
    assert_eq!(words(&judgements), [("alive", "leave")]);
}

#[test]
fn the_caller_is_never_a_victim() {
    let caller = subject(CALLER, |record, seen| {
        age_of_beat(record, 400_000);
        record.process.parent_gone = true;
        seen.parent = Some(Sighting::Gone);
        record.activity_monotonic_ms = 0;
    });
    let judgements = judge(vec![subject(1, |_, _| ()), caller], &Settings { max_processes: 1, ..settings() });
    assert_eq!(words(&judgements), [("surplus", "end"), ("alive", "leave")]);
}

#[test]
fn the_one_too_many_is_orphaned_else_idle_longest_else_oldest() {
    let limit = Settings { max_processes: 2, ..settings() };
    let idle = |id, ms: i64| subject(id, move |record, _| record.activity_monotonic_ms = NOW_MS - ms);
    let abandoned = |id, ms: i64| {
        subject(id, move |record, seen| {
            record.activity_monotonic_ms = NOW_MS - ms;
            seen.parent = Some(Sighting::Gone);
        })
    };
    let evicted = |subjects| -> Vec<i64> {
        let judgements = judge(subjects, &limit);
        let ended = judgements.iter().filter(|j| j.action == Action::End);
        ended.map(|j| j.process.process_id).collect()
    };
    assert_eq!(evicted(vec![idle(1, 10), idle(2, 10)]), [0_i64; 0], "within the limit");
    assert_eq!(evicted(vec![idle(1, 10), idle(2, 10), idle(3, 10)]), [1], "oldest");
    assert_eq!(evicted(vec![idle(1, 10), idle(2, 50), idle(3, 10)]), [2], "idle longest");
    assert_eq!(evicted(vec![idle(1, 10), idle(2, 50), abandoned(3, 5)]), [3], "client gone");
    assert_eq!(evicted(vec![idle(1, 30), idle(2, 50), abandoned(3, 5), idle(4, 1)]), [2, 3]);
    assert_eq!(evicted(vec![idle(1, 10), idle(2, 20), idle(CALLER, 50)]), [2], "never the caller");
}

#[test]
fn only_the_living_hold_a_place() {
    let limit = Settings { max_processes: 2, ..settings() };
    let others: Vec<(&str, Change)> = vec![
        ("exited", |_, seen| seen.process = Sighting::Gone),
        ("stale", |record, _| {
            age_of_beat(record, 400_000);
        }),
        ("claimed", |record, _| {
            record.process.state = ProcessState::Terminating;
            record.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
        }),
        ("in another PID namespace, not heard of for long", |record, _| {
            record.process.pid_namespace = Some(2);
            age_of_beat(record, 400_000);
        }),
    ];
    for (name, change) in others {
        let judgements =
            judge(vec![subject(1, |_, _| ()), subject(2, change), subject(3, |_, _| ())], &limit);
        assert!(judgements.iter().all(|j| j.verdict != Verdict::Surplus), "{name}: {judgements:?}");
        let occupants = ReapPlan { judgements }.into_occupants();
        assert_eq!(occupants.iter().map(|p| p.process_id).collect::<Vec<_>>(), [1, 3], "{name}");
    }
}

#[test]
fn the_living_of_others_count_and_cannot_be_evicted() {
    let elsewhere = subject(1, |record, _| {
        record.process.pid_namespace = Some(2);
        record.activity_monotonic_ms = 0;
    });
    let another_users = subject(2, |record, _| {
        record.process.uid = Some(0);
        record.activity_monotonic_ms = 0;
    });
    let init = subject(3, |record, _| {
        record.process.pid = 1;
        record.activity_monotonic_ms = 0;
    });
    let subjects = vec![elsewhere, another_users, init, subject(4, |_, _| ()), subject(5, |_, _| ())];
    let judgements = judge(subjects, &Settings { max_processes: 4, ..settings() });
    assert_eq!(
        words(&judgements),
        [
            ("foreign", "leave"),
            ("foreign", "leave"),
            ("alive", "leave"),
            ("surplus", "end"),
            ("alive", "leave")
        ],
    );
}

#[test]
fn with_the_policy_refuse_nobody_is_evicted() {
    let refuse = Settings { max_processes: 1, limit_policy: LimitPolicy::Refuse, ..settings() };
    let judgements = judge(vec![subject(1, |_, _| ()), subject(2, |_, _| ())], &refuse);
    assert_eq!(words(&judgements), [("alive", "leave"); 2]);
}

#[test]
fn three_and_more_than_half_turning_stale_at_once_are_doubted() {
    let fleet = |stale_ones: i64, fresh_ones: i64| {
        let fresh = (0..fresh_ones).map(|n| subject(50 + n, |_, _| ()));
        judge((1..=stale_ones).map(stale).chain(fresh).collect(), &settings())
    };
    for (stale_ones, fresh_ones, action) in [
        (1, 0, "end"),
        (2, 0, "end"),
        (3, 0, "postpone"),
        (3, 2, "postpone"),
        (3, 3, "end"),
        (4, 3, "postpone"),
    ] {
        let judgements = fleet(stale_ones, fresh_ones);
        let expected: Vec<_> = (0..stale_ones)
            .map(|_| ("stale", action))
            .chain((0..fresh_ones).map(|_| ("alive", "leave")))
            .collect();
        assert_eq!(words(&judgements), expected, "{stale_ones} stale, {fresh_ones} fresh");
        assert!(judgements[0].to_note == (action == "postpone"));
    }
    let evidence = &fleet(3, 0)[0].evidence;
    assert!(evidence.contains("so are 3 of 3 at once; it is judged again in 30.0 s"), "{evidence}");
}

#[test]
fn a_doubt_ends_an_interval_after_it_was_noted() {
    let noted = |ago_ms: i64| {
        let subjects = (1..=3).map(|id| {
            subject(id, move |record, _| {
                age_of_beat(record, 400_000).suspected_monotonic_ms = Some(NOW_MS - ago_ms);
            })
        });
        judge(subjects.collect(), &settings())
    };
    assert_eq!(words(&noted(29_999)), [("stale", "postpone"); 3]);
    assert!(noted(29_999).iter().all(|judgement| !judgement.to_note), "noted once");
    assert_eq!(words(&noted(30_000)), [("stale", "end"); 3]);
    assert_eq!(words(&noted(400_001)), [("stale", "postpone"); 3], "a note on an earlier beat is void");
    assert!(noted(400_001).iter().all(|judgement| judgement.to_note));
}

#[test]
fn a_reaper_that_was_frozen_itself_doubts_every_stale_process() {
    let with_caller = |change: fn(&mut LastBeat), noted_ago_ms: Option<i64>| {
        let suspect = subject(1, |record, _| {
            age_of_beat(record, 400_000).suspected_monotonic_ms = noted_ago_ms.map(|ago| NOW_MS - ago);
        });
        let caller = subject(CALLER, |record, _| change(record.beat.as_mut().unwrap()));
        words(&judge(vec![suspect, caller], &settings()))[0]
    };
    assert_eq!(with_caller(|_| (), None), ("stale", "end"), "a reaper in good health");
    let late: fn(&mut LastBeat) = |beat| beat.monotonic_ms = NOW_MS - 150_001;
    assert_eq!(with_caller(late, None), ("stale", "postpone"));
    assert_eq!(with_caller(late, Some(60_000)), ("stale", "postpone"), "noted before the freeze, perhaps");
    let recovered: fn(&mut LastBeat) = |beat| beat.recovered_monotonic_ms = Some(NOW_MS - 29_999);
    assert_eq!(with_caller(recovered, None), ("stale", "postpone"));
    let long_since: fn(&mut LastBeat) = |beat| beat.recovered_monotonic_ms = Some(NOW_MS - 30_000);
    assert_eq!(with_caller(long_since, None), ("stale", "end"));
}
