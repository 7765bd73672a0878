//! The decision about a holder of the write lock, case by case.

use super::*;
use crate::model::{Heartbeat, ProcessState};
use crate::os::Presence;

const START: u64 = 500;
const NOW_MS: i64 = 1_000_000;
const INTERVAL_MS: i64 = 30_000;

fn here() -> Here {
    Here {
        host_id: Some("machine".to_owned()),
        boot_id: "boot".to_owned(),
        pid_namespace: Some(1),
        time_namespace: Some(2),
        pid: 10,
        start_ticks: 1,
        uid: Some(1_000),
        sees_open_files: true,
    }
}

fn record() -> ProcessRecord {
    let at = "2025-11-19T20:41:09.824Z".parse().expect("a time");
    ProcessRecord {
        process: Process {
            process_id: 7,
            name: "victim".to_owned(),
            version: "1".to_owned(),
            client_name: None,
            client_version: None,
            protocol_version: None,
            pid: 4_711,
            host_id: Some("machine".to_owned()),
            boot_id: "boot".to_owned(),
            pid_namespace: Some(1),
            time_namespace: Some(2),
            start_ticks: START,
            parent_pid: None,
            parent_start_ticks: None,
            parent_gone: false,
            run_id: None,
            container: None,
            uid: Some(1_000),
            state: ProcessState::Running,
            registered_at: at,
            last_activity_at: None,
            beat_at: Some(at),
            heartbeat_age_s: Some(40.0),
            activity_age_s: None,
        },
        beat: Some(Heartbeat {
            monotonic_ms: NOW_MS - 40_000,
            interval_ms: INTERVAL_MS,
            recovered_monotonic_ms: None,
            wall_age_ms: 40_000,
        }),
        activity_monotonic_ms: NOW_MS - 40_000,
        claim: None,
        holds_locks: false,
    }
}

fn stopped() -> Presence {
    Presence { start_ticks: START, uid: Some(1_000), exited: false, stopped: true, traced: false }
}

fn seen(presence: Presence) -> Observation {
    let process = Sighting::Present(presence);
    Observation {
        process,
        has_database_open: Some(true),
        frozen: false,
        parent: None,
        remains: None,
        claimant: None,
    }
}

/// A registered process that is stopped with the lock in its hand.
fn look() -> Look {
    Look { registered: Some((record(), seen(stopped()))), at_ms: NOW_MS }
}

/// It was seen so for the first time this long ago, and an instant ago for the last time.
fn seen_for(ms: i64) -> Noted {
    let first_seen_ms = NOW_MS - ms;
    let due_ms = first_seen_ms + INTERVAL_MS;
    Noted { holder: Identity::of(&record()), first_seen_ms, last_seen_ms: NOW_MS - 5_000, due_ms }
}

fn decided(look: &Look, noted: Option<Noted>) -> Decision {
    decide(look, noted, &here(), Some(1), INTERVAL_MS)
}

#[test]
fn a_stopped_holder_is_helped_at_a_look_an_interval_after_the_first() {
    let since = |ms| Noted { last_seen_ms: NOW_MS, ..seen_for(ms) };
    let first = since(0);
    assert_eq!(first.due_ms, NOW_MS + INTERVAL_MS);
    let mut other_beat = seen_for(INTERVAL_MS);
    other_beat.holder.beat_ms = Some(NOW_MS - 90_000);
    let mut other_process = seen_for(INTERVAL_MS);
    other_process.holder.process_id = 6;
    let mut other_start = seen_for(INTERVAL_MS);
    other_start.holder.start_ticks = START - 1;
    let long_ago = Noted { last_seen_ms: NOW_MS - 3 * INTERVAL_MS - 1, ..seen_for(4 * INTERVAL_MS) };
    let lately = Noted { last_seen_ms: NOW_MS - 3 * INTERVAL_MS, ..seen_for(4 * INTERVAL_MS) };
    for (case, noted, expected) in [
        ("seen for the first time", None, Decision::LookAgain(first)),
        ("seen a moment ago", Some(seen_for(1)), Decision::LookAgain(since(1))),
        ("nearly", Some(seen_for(INTERVAL_MS - 1)), Decision::LookAgain(since(INTERVAL_MS - 1))),
        ("an interval ago", Some(seen_for(INTERVAL_MS)), Decision::Help(since(INTERVAL_MS))),
        ("it has beaten since", Some(other_beat), Decision::LookAgain(first)),
        ("another row", Some(other_process), Decision::LookAgain(first)),
        ("another process", Some(other_start), Decision::LookAgain(first)),
        ("nobody has looked for long", Some(long_ago), Decision::LookAgain(first)),
        ("somebody has", Some(lately), Decision::Help(since(4 * INTERVAL_MS))),
    ] {
        assert_eq!(decided(&look(), noted), expected, "{case}");
    }
    assert!(matches!(decided(&look(), Some(seen_for(i64::MAX / 2))), Decision::Help(_)));
}

#[test]
fn whoever_runs_or_is_not_ours_to_judge_is_left_alone() {
    type Change = fn(&mut Process, &mut Presence);
    let cases: [(&str, Change); 14] = [
        ("it runs", |_, seen| seen.stopped = false),
        ("a debugger holds it", |_, seen| seen.traced = true),
        ("it is a zombie", |_, seen| seen.exited = true),
        ("its PID is another process's", |_, seen| seen.start_ticks = START + 1),
        ("it runs as another user", |_, seen| seen.uid = Some(0)),
        ("its user is not known", |_, seen| seen.uid = None),
        ("it registered as another user", |process, _| process.uid = Some(0)),
        ("both", |process, seen| (process.uid, seen.uid) = (Some(0), Some(0))),
        ("it is of another boot", |process, _| process.boot_id = "other".to_owned()),
        ("it is of another PID namespace", |process, _| process.pid_namespace = Some(9)),
        ("it is of another time namespace", |process, _| process.time_namespace = Some(9)),
        ("it is init", |process, _| process.pid = 1),
        ("it is this process", |process, _| process.pid = 10),
        ("it is the caller", |process, _| process.process_id = 1),
    ];
    for (case, change) in cases {
        let (mut record, mut presence) = (record(), stopped());
        change(&mut record.process, &mut presence);
        assert_left(case, &Look { registered: Some((record, seen(presence))), ..look() });
    }
    for (case, process, has_database_open) in [
        ("it is gone", Sighting::Gone, Some(true)),
        ("it is hidden", Sighting::Hidden("not allowed".to_owned()), Some(true)),
        ("it does not have the database open", Sighting::Present(stopped()), Some(false)),
        ("that can't be seen", Sighting::Present(stopped()), None),
    ] {
        let seen = Observation { process, has_database_open, ..seen(stopped()) };
        assert_left(case, &Look { registered: Some((record(), seen)), ..look() });
    }
    assert_left(
        "it is frozen by its cgroup",
        &Look { registered: Some((record(), Observation { frozen: true, ..seen(stopped()) })), ..look() },
    );
    assert_left("it is not registered", &Look { registered: None, ..look() });
}

/// Whatever was noted of it.
fn assert_left(case: &str, look: &Look) {
    let holder = look.registered.as_ref().map_or(Identity::of(&record()), |(record, _)| Identity::of(record));
    let noted = Noted { holder, ..seen_for(INTERVAL_MS) };
    assert_eq!(decided(look, Some(noted)), Decision::Leave, "{case}");
}

#[test]
fn a_server_of_0_1_that_did_not_tell_its_time_namespace_is_helped_too() {
    let mut record = record();
    record.process.time_namespace = None;
    let look = Look { registered: Some((record, seen(stopped()))), ..look() };
    assert!(matches!(decided(&look, Some(seen_for(INTERVAL_MS))), Decision::Help(_)));
}
