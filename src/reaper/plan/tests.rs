//! Every rule of the plan, from made-up rows and sightings.

use super::*;
use crate::model::Timestamp;
use crate::model::{Claimant, Heartbeat};
use crate::os::{Presence, Sighting};

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
        sees_open_files: true,
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
        limit_policy: LimitPolicy::Spare,
        terminate_grace_ms: 2_000,
        lock_timeout_ms: 5_000,
        history_limit: None,
        history_max_age_days: None,
        prune_automatically: false,
    }
}

/// A process in good health: identified, fresh, its client there.
fn record(process_id: i64) -> ProcessRecord {
    let at: Timestamp = "2025-11-19T20:41:09.824Z".parse().unwrap();
    ProcessRecord {
        process: Process {
            process_id,
            name: "server".to_owned(),
            version: "1".to_owned(),
            client_name: None,
            client_version: None,
            protocol_version: None,
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
            run_id: None,
            container: None,
            activity_age_s: None,
        },
        beat: Some(Heartbeat {
            monotonic_ms: NOW_MS - 1_000,
            wall_age_ms: 1_000,
            interval_ms: 30_000,
            recovered_monotonic_ms: None,
        }),
        activity_monotonic_ms: NOW_MS - 1_000,
        holds_locks: false,
        claim: None,
    }
}

fn present() -> Presence {
    Presence { start_ticks: START, uid: Some(1_000), exited: false, stopped: false, traced: false }
}

fn parent() -> Sighting {
    Sighting::Present(Presence { start_ticks: 50, ..present() })
}

fn observation() -> Observation {
    Observation {
        process: Sighting::Present(present()),
        has_database_open: Some(true),
        frozen: false,
        parent: Some(parent()),
        remains: None,
        claimant: None,
    }
}

/// A process to be judged.
struct Subject {
    record: ProcessRecord,
    /// `None` for one that registered after the look.
    seen: Option<Observation>,
}

/// A record and what is seen of it, changed from good health by `change`.
fn subject(process_id: i64, change: impl FnOnce(&mut ProcessRecord, &mut Observation)) -> Subject {
    let (mut record, mut seen) = (record(process_id), observation());
    change(&mut record, &mut seen);
    Subject { record, seen: Some(seen) }
}

/// Ages the last beat. Nothing is used without beating, so the last use is no newer.
fn age_of_beat(record: &mut ProcessRecord, age_ms: i64) -> &mut Heartbeat {
    record.activity_monotonic_ms = record.activity_monotonic_ms.min(NOW_MS - age_ms);
    let beat = record.beat.as_mut().unwrap();
    beat.monotonic_ms = NOW_MS - age_ms;
    beat.wall_age_ms = age_ms;
    beat
}

fn stale(process_id: i64) -> Subject {
    subject(process_id, |record, _| {
        age_of_beat(record, 300_001);
    })
}

/// A first look, with nothing remembered.
fn judge(subjects: &[Subject], settings: &Settings) -> Vec<Judgement> {
    judge_with(subjects, settings, &Memory::default())
}

/// A second look, an interval (30 s) after the first and with every mark unmoved.
fn judge_again(subjects: &[Subject], settings: &Settings) -> Vec<Judgement> {
    judge_later(subjects, settings, 30_000)
}

/// A second look, so many milliseconds after the first.
fn judge_later(subjects: &[Subject], settings: &Settings, later_ms: i64) -> Vec<Judgement> {
    let mut memory = Memory::default();
    for judgement in judge(subjects, settings) {
        for at_ms in [NOW_MS - later_ms, NOW_MS] {
            if let Some(mark) = judgement.mark {
                memory.note(judgement.process.process_id, mark, at_ms, i64::MAX);
            }
        }
    }
    judge_with(subjects, settings, &memory)
}

fn judge_with(subjects: &[Subject], settings: &Settings, memory: &Memory) -> Vec<Judgement> {
    let seen = subjects
        .iter()
        .filter_map(|subject| Some((subject.record.process.process_id, subject.seen.clone()?)))
        .collect();
    let records: Vec<ProcessRecord> = subjects.iter().map(|subject| subject.record.clone()).collect();
    let judge = Judge { here: &here(), now_ms: NOW_MS, settings, caller: Some(CALLER), memory, newcomers: 0 };
    plan(&records, &seen, &judge).judgements
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

type Change = fn(&mut ProcessRecord, &mut Observation);

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
        ("suspect by the longer interval that it promised",
            |r, _| age_of_beat(r, 601_000).interval_ms = 300_000, "suspect", "postpone", "over 600 s"),
        ("it promised a beat within longer than anything, which must not wrap around",
            |r, _| age_of_beat(r, 400_000).interval_ms = i64::MAX, "alive", "leave", "400.0 s old"),
        ("a heartbeat from before all time", |r, _| age_of_beat(r, 400_000).monotonic_ms = i64::MIN, "stale", "end", "over 300 s"),
        ("stale and stopped", |r, s| {
            age_of_beat(r, 400_000);
            s.process = Sighting::Present(Presence { stopped: true, ..present() });
        }, "stale", "end", "it is stopped"),
        ("stale and stopped, and so is its client", |r, s| {
            stopped_with_its_client(r, s);
            age_of_beat(r, 400_000);
        }, "alive", "leave", "its client is stopped too"),
        ("stale, its cgroup frozen", |r, s| {
            age_of_beat(r, 400_000);
            s.frozen = true;
        }, "alive", "leave", "its cgroup is frozen"),
        ("stale and traced", |r, s| {
            age_of_beat(r, 400_000);
            s.process = Sighting::Present(Presence { stopped: true, traced: true, ..present() });
        }, "alive", "leave", "a debugger has it"),
        ("an old heartbeat, but used since", |r, _| {
            age_of_beat(r, 400_000);
            r.activity_monotonic_ms = NOW_MS - 1_000;
        }, "alive", "leave", "its heartbeat is 400.0 s old"),
        ("an old heartbeat, registered since and never used", |r, _| {
            age_of_beat(r, 400_000);
            r.activity_monotonic_ms = NOW_MS - 1_000;
            r.process.last_activity_at = None;
        }, "stale", "end", "over 300 s"),
        ("stale, without this database open", |r, s| {
            age_of_beat(r, 400_000);
            s.has_database_open = Some(false);
        }, "unverifiable", "leave", "does not have this database open"),
        ("stale, its open files hidden", |r, s| {
            age_of_beat(r, 400_000);
            s.has_database_open = None;
        }, "unverifiable", "leave", "can't be looked at"),

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
        ("of an earlier boot of a machine without an id", |r, _| {
            (r.process.boot_id, r.process.host_id) = ("other".to_owned(), None);
        }, "exited", "forget", "earlier boot"),
        ("of another boot of another machine", |r, _| {
            (r.process.boot_id, r.process.host_id) = ("other".to_owned(), Some("other".to_owned()));
        }, "remote", "leave", "another machine"),
        ("of another machine, silent", |r, _| {
            (r.process.boot_id, r.process.host_id) = ("other".to_owned(), Some("other".to_owned()));
            age_of_beat(r, 400_000);
        }, "remote", "forget", "another machine"),
        ("of this boot, whatever its machine id says", |r, _| r.process.host_id = Some("a container".to_owned()),
            "alive", "leave", "heartbeat"),
        ("another time namespace, stale and gone by our clock", |r, s| {
            r.process.time_namespace = Some(3);
            age_of_beat(r, 400_000);
            s.process = Sighting::Present(Presence { start_ticks: START + 1, ..present() });
        }, "unverifiable", "leave", "another time namespace"),
        ("registered by govstore 0.1, which noted no time namespace", |r, _| {
            r.process.time_namespace = None;
            age_of_beat(r, 400_000);
        }, "stale", "end", "over 300 s"),

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
            "unverifiable", "leave", "another PID namespace"),
        ("another PID namespace, silent for a day and more",
            |r, _| { r.process.pid_namespace = Some(2); age_of_beat(r, 90_000_000); },
            "unverifiable", "forget", "another PID namespace"),
        ("another user's by its row, stale", |r, _| { r.process.uid = Some(0); age_of_beat(r, 400_000); },
            "unverifiable", "leave", "another user"),
        ("another user's by what is seen, stale", |r, s| {
            s.process = Sighting::Present(Presence { uid: Some(0), ..present() });
            age_of_beat(r, 400_000);
        }, "unverifiable", "leave", "another user"),
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
        let subjects = [subject(1, change)];
        let judgement = judge_again(&subjects, &settings()).remove(0);
        assert_eq!((judgement.verdict.as_str(), judgement.action.as_str()), (verdict, action), "{name}");
        assert!(judgement.evidence.contains(evidence), "{name}: {:?}", judgement.evidence);

        // Whatever a reaper knows from what others have claimed, it ends nobody at first sight.
        let first = judge(&subjects, &settings()).remove(0);
        let claimed = subjects[0].record.claim.is_some();
        assert!(first.action != Action::End || claimed, "{name}: {first:?}");
        if action == "end" && !claimed {
            let suspected = if verdict == "stale" { "suspect" } else { verdict };
            assert_eq!((first.verdict.as_str(), first.action), (suspected, Action::Postpone), "{name}");
        }
    }
}

#[test]
fn whoever_registered_after_the_look_is_left_alone() {
    let mut newborn = record(1);
    age_of_beat(&mut newborn, 400_000);
    newborn.process.parent_gone = true;
    let subjects = [Subject { record: newborn, seen: None }];
    let judgements = judge_again(&subjects, &Settings { max_processes: 1, ..settings() });
    assert_eq!(words(&judgements), [("alive", "leave")]);
}

#[test]
fn nobody_goes_for_the_limit_unless_this_look_has_identified_him() {
    let limit = Settings { max_processes: 1, limit_policy: LimitPolicy::Evict, ..settings() };
    let mut memory = Memory::default();
    let unused = idle(1, 400_000);
    let mark = unused_mark(&unused.record);
    memory.note(1, mark, NOW_MS - 30_000, i64::MAX);
    memory.note(1, mark, NOW_MS, i64::MAX);
    let subjects = [unused, idle(2, 10)];
    let judged = words(&judge_with(&subjects, &limit, &memory));
    assert_eq!(judged, [("surplus", "end"), ("alive", "leave")], "seen twice");
    let [unused, in_use] = subjects;
    let subjects = [Subject { seen: None, ..unused }, in_use];
    let judged = words(&judge_with(&subjects, &limit, &memory));
    assert_eq!(judged, [("alive", "leave"), ("alive", "leave")], "not seen this time");
}

#[test]
fn the_caller_is_never_a_victim() {
    let caller = subject(CALLER, |record, seen| {
        age_of_beat(record, 400_000);
        record.process.parent_gone = true;
        seen.parent = Some(Sighting::Gone);
        record.activity_monotonic_ms = 0;
    });
    let unused = subject(1, |record, _| record.activity_monotonic_ms = NOW_MS - 400_000);
    let limit = Settings { max_processes: 1, limit_policy: LimitPolicy::Evict, ..settings() };
    // Another reaper would end it; nobody goes in its place.
    assert_eq!(words(&judge_again(&[unused, caller], &limit)), [("alive", "leave"), ("alive", "leave")]);
}

fn idle(id: i64, ms: i64) -> Subject {
    subject(id, move |record, _| record.activity_monotonic_ms = NOW_MS - ms)
}

/// One whose client is gone, and which no client ever used.
fn abandoned(id: i64, ms: i64) -> Subject {
    subject(id, move |record, seen| {
        record.activity_monotonic_ms = NOW_MS - ms;
        record.process.last_activity_at = None;
        seen.parent = Some(Sighting::Gone);
    })
}

/// Who goes, at the second look, of those who share two places.
fn ended(subjects: &[Subject], limit_policy: LimitPolicy) -> Vec<i64> {
    let judgements = judge_again(subjects, &Settings { max_processes: 2, limit_policy, ..settings() });
    let ended = judgements.iter().filter(|j| j.action == Action::End);
    ended.map(|j| j.process.process_id).collect()
}

#[test]
fn under_evict_the_longest_unused_goes_and_nobody_in_use() {
    let evicted = |subjects: &[Subject]| ended(subjects, LimitPolicy::Evict);
    let nobody = [0_i64; 0];
    assert_eq!(evicted(&[idle(1, 400_000), idle(2, 400_000)]), nobody, "within the limit");
    assert_eq!(evicted(&[idle(1, 10), idle(2, 10), idle(3, 10)]), nobody, "all are in use");
    assert_eq!(evicted(&[idle(1, 10), idle(2, 300_000), idle(3, 10)]), nobody, "used within stale_after_s");
    assert_eq!(evicted(&[idle(1, 10), idle(2, 300_001), idle(3, 10)]), [2], "unused");
    assert_eq!(evicted(&[idle(1, 300_001), idle(2, 300_002), idle(3, 10)]), [2], "unused longest");
    assert_eq!(evicted(&[idle(1, 301_000), idle(2, 301_000), idle(3, 10)]), [1], "oldest");
    assert_eq!(evicted(&[idle(1, 10), idle(2, 500_000), abandoned(3, 30_001)]), [3], "client gone");
    assert_eq!(evicted(&[idle(1, 310_000), idle(2, 500_000), abandoned(3, 40_000), idle(4, 1)]), [2, 3]);
    let with_caller = [idle(1, 10), idle(2, 400_000), idle(CALLER, 500_000)];
    assert_eq!(evicted(&with_caller), nobody, "not the caller, and nobody in its place");
    assert_eq!(evicted(&[idle(1, 10), idle(2, 500_000), idle(CALLER, 400_000)]), [2], "before the caller");
}

#[test]
fn under_spare_only_those_go_that_never_had_more_than_a_client_that_is_gone() {
    let spared = |subjects: &[Subject]| ended(subjects, LimitPolicy::Spare);
    let nobody = [0_i64; 0];
    assert_eq!(
        spared(&[idle(1, 9_000_000), idle(2, 9_000_000), idle(3, 9_000_000)]),
        nobody,
        "idle, with clients"
    );
    assert_eq!(spared(&[idle(1, 1), idle(2, 1), abandoned(3, 30_000)]), nobody, "less than an interval ago");
    assert_eq!(spared(&[idle(1, 1), idle(2, 1), abandoned(3, 30_001)]), [3]);
    assert_eq!(spared(&[idle(1, 1), abandoned(3, 30_001)]), nobody, "within the limit");
    let used = subject(3, |record, seen| {
        record.activity_monotonic_ms = NOW_MS - 299_000;
        seen.parent = Some(Sighting::Gone);
    });
    assert_eq!(spared(&[idle(1, 1), idle(2, 1), used]), nobody, "used within stale_after_s");
    let refused = ended(&[idle(1, 9_000_000), idle(2, 1), abandoned(3, 60_000)], LimitPolicy::Refuse);
    assert_eq!(refused, nobody);
}

#[test]
fn only_those_hold_a_place_that_live_and_could_be_ended() {
    let limit = Settings { max_processes: 2, limit_policy: LimitPolicy::Evict, ..settings() };
    let others: Vec<(&str, Change)> = vec![
        ("exited", |_, seen| seen.process = Sighting::Gone),
        ("stale", |record, _| {
            age_of_beat(record, 400_000);
        }),
        ("claimed", |record, _| {
            record.process.state = ProcessState::Terminating;
            record.claim = Some(claim(NOW_MS + 5_000, Some(another_reaper())));
        }),
        ("in another PID namespace", |record, _| record.process.pid_namespace = Some(2)),
        ("in another time namespace", |record, _| record.process.time_namespace = Some(3)),
        ("on another machine", |record, _| {
            record.process.host_id = Some("another".to_owned());
            record.process.boot_id = "another".to_owned();
        }),
        ("another user's", |record, _| record.process.uid = Some(0)),
        ("without the database", |_, seen| seen.has_database_open = Some(false)),
        ("with files that can't be looked at", |_, seen| seen.has_database_open = None),
        ("init", |record, _| record.process.pid = 1),
        ("traced", |_, seen| seen.process = Sighting::Present(Presence { traced: true, ..present() })),
    ];
    for (name, change) in others {
        let subjects = [idle(1, 400_000), subject(2, change), idle(3, 400_000)];
        let judgements = judge_again(&subjects, &limit);
        assert!(judgements.iter().all(|j| j.verdict != Verdict::Surplus), "{name}: {judgements:?}");
        let plan = ReapPlan { judgements };
        let occupants: Vec<_> = plan.occupants().map(|process| process.process_id).collect();
        assert_eq!(occupants, [1, 3], "{name}");
    }
    let judgements = judge(&[stale(2)], &limit);
    assert!(judgements[0].occupies, "a suspect holds its place");
}

#[test]
fn three_and_more_than_half_that_are_silent_at_once_get_one_more_interval() {
    let fleet = |stale_ones: i64, fresh_ones: i64| -> Vec<Subject> {
        let fresh = (0..fresh_ones).map(|n| subject(50 + n, |_, _| ()));
        (1..=stale_ones).map(stale).chain(fresh).collect()
    };
    for (stale_ones, fresh_ones, judged) in [
        (1, 0, ("stale", "end")),
        (2, 0, ("stale", "end")),
        (3, 0, ("suspect", "postpone")),
        (3, 2, ("suspect", "postpone")),
        (3, 3, ("stale", "end")),
        (4, 3, ("suspect", "postpone")),
    ] {
        let subjects = fleet(stale_ones, fresh_ones);
        let expected: Vec<_> =
            (0..stale_ones).map(|_| judged).chain((0..fresh_ones).map(|_| ("alive", "leave"))).collect();
        let words_after = |later_ms| words(&judge_later(&subjects, &settings(), later_ms));
        assert_eq!(words_after(30_000), expected, "{stale_ones} silent, {fresh_ones} fresh");
        assert_eq!(words_after(60_000)[0], ("stale", "end"), "{stale_ones} silent, {fresh_ones} fresh");
    }
    let evidence = &judge(&fleet(3, 0), &settings())[0].evidence;
    let expected = "so are 3 of 3 at once; it is judged after a second look in 60.0 s";
    assert!(evidence.contains(expected), "{evidence}");
}

#[test]
fn a_second_look_comes_an_interval_after_the_first_and_finds_the_same_mark() {
    let subjects = [stale(1)];
    assert_eq!(words(&judge_later(&subjects, &settings(), 29_999)), [("suspect", "postpone")]);
    assert_eq!(words(&judge_later(&subjects, &settings(), 30_000)), [("stale", "end")]);
    let again = judge_later(&subjects, &settings(), 10_000).remove(0);
    assert_eq!(again.again_in_ms, 20_000, "{}", again.evidence);

    let mut memory = Memory::default();
    for at_ms in [NOW_MS - 400_000, NOW_MS] {
        memory.note(1, Mark::Beat(7), at_ms, i64::MAX);
    }
    assert_eq!(
        words(&judge_with(&subjects, &settings(), &memory)),
        [("suspect", "postpone")],
        "it has moved"
    );
    let promised = subject(1, |record, _| age_of_beat(record, 900_000).interval_ms = 100_000);
    let words_after = |later_ms| words(&judge_later(std::slice::from_ref(&promised), &settings(), later_ms));
    assert_eq!(
        words_after(99_999),
        [("suspect", "postpone")],
        "it has promised to beat within a longer interval"
    );
    assert_eq!(words_after(100_000), [("stale", "end")]);
}

#[test]
fn a_reaper_that_was_frozen_itself_looks_twice_after_that() {
    let with_caller = |change: fn(&mut Heartbeat), later_ms: i64| {
        let caller = subject(CALLER, |record, _| change(record.beat.as_mut().unwrap()));
        words(&judge_later(&[stale(1), caller], &settings(), later_ms))[0]
    };
    assert_eq!(with_caller(|_| (), 30_000), ("stale", "end"), "a reaper in good health");
    let late: fn(&mut Heartbeat) = |beat| beat.monotonic_ms = NOW_MS - 150_001;
    assert_eq!(with_caller(late, 60_000), ("suspect", "postpone"));
    let recovered: fn(&mut Heartbeat) = |beat| beat.recovered_monotonic_ms = Some(NOW_MS - 29_999);
    assert_eq!(
        with_caller(recovered, 60_000),
        ("suspect", "postpone"),
        "the first look was before it, perhaps"
    );
    let long_since: fn(&mut Heartbeat) = |beat| beat.recovered_monotonic_ms = Some(NOW_MS - 30_000);
    assert_eq!(with_caller(long_since, 30_000), ("stale", "end"));
}

#[test]
fn the_locks_of_those_that_are_left_alone_are_released_after_a_second_look() {
    let cases: Vec<(&str, Change, &str)> = vec![
        ("stopped with its client", stopped_with_its_client, "alive"),
        ("in another PID namespace", |record, _| record.process.pid_namespace = Some(2), "unverifiable"),
        ("another user's", |record, _| record.process.uid = Some(0), "unverifiable"),
    ];
    for (name, change, verdict) in cases {
        let held_by = |holds_locks: bool| {
            [subject(1, |record, seen| {
                change(record, seen);
                age_of_beat(record, 400_000);
                record.holds_locks = holds_locks;
            })]
        };
        assert_eq!(words(&judge(&held_by(true), &settings())), [(verdict, "postpone")], "{name}");
        assert_eq!(words(&judge_again(&held_by(true), &settings())), [(verdict, "release")], "{name}");
        assert_eq!(words(&judge_again(&held_by(false), &settings())), [(verdict, "leave")], "{name}");
    }
}

fn stopped_with_its_client(_record: &mut ProcessRecord, seen: &mut Observation) {
    let stopped = Presence { stopped: true, ..present() };
    seen.process = Sighting::Present(stopped.clone());
    seen.parent = Some(Sighting::Present(Presence { start_ticks: 50, ..stopped }));
}

/// Between SIGCONT and its first beat it looks like one that hangs.
#[test]
fn one_that_was_stopped_with_its_client_and_goes_on_is_looked_at_anew() {
    let suspended = subject(1, |record, seen| {
        stopped_with_its_client(record, seen);
        age_of_beat(record, 400_000);
        record.holds_locks = true;
    });
    let mut memory = Memory::default();
    let mark = judge(std::slice::from_ref(&suspended), &settings())[0].mark.unwrap();
    memory.note(1, mark, NOW_MS - 30_000, i64::MAX);
    memory.note(1, mark, NOW_MS, i64::MAX);
    let Subject { record, .. } = suspended;
    let continued = [Subject { record, seen: Some(observation()) }];
    assert_eq!(words(&judge_with(&continued, &settings(), &memory)), [("suspect", "postpone")]);
}
