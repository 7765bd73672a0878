//! The registry and its heartbeats, with real processes.
#![cfg(unix)]

use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use govstore::{Beat, Error, ProcessInfo, ProcessState, Update};
use govstore_testkit::{Database, Server, TestResult, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

fn info() -> ProcessInfo {
    ProcessInfo::new("test", "1.2.3")
}

/// Settings under which a process beats every 50 ms.
const BEATING: [(&str, &str); 1] = [("heartbeat_interval_s", "0.05")];

fn last_beat_ms(database: &Database, process_id: i64) -> TestResult<i64> {
    database.count(&format!("SELECT monotonic_ms FROM heartbeats WHERE process_id = {process_id}"))
}

#[test]
fn a_server_is_registered_with_its_whole_identity_and_a_heartbeat() -> TestResult {
    let database = Database::new(&[])?;
    let server = Server::start(&database, &["--name", "the editor's", "--no-heartbeat"]);
    let processes = database.store()?.processes()?;
    let [process] = &processes[..] else { panic!("{processes:?}") };
    assert_eq!((process.process_id, process.pid), (server.process_id, server.pid()));
    assert_eq!(
        (process.name.as_str(), process.version.as_str()),
        ("the editor's", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(process.parent_pid, Some(std::process::id()));
    assert!(process.parent_start_ticks.is_some());
    assert_eq!(process.uid, Some(rustix::process::getuid().as_raw()));
    assert_eq!(process.state, ProcessState::Running);
    assert!(!process.parent_gone);
    assert!(process.heartbeat_age_s.is_some_and(|age| age < 60.0));
    assert_eq!(
        (process.last_activity_at, process.activity_age_s),
        (None, None),
        "registering is no activity"
    );
    if cfg!(all(target_os = "linux", not(govstore_portable))) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid()))?;
        let start_ticks = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)).unwrap();
        assert_eq!(process.start_ticks.to_string(), start_ticks);
        assert_eq!(process.boot_id, std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim());
        assert!(process.pid_namespace.is_some());
        let time = std::fs::metadata("/proc/self/ns/time").ok().map(|found| found.ino());
        assert_eq!(process.time_namespace, time);
        let host = std::fs::read_to_string("/etc/machine-id").ok().map(|id| id.trim().to_owned());
        assert_eq!(process.host_id, host.filter(|id| !id.is_empty()));
    }
    assert!(process.usage().is_some_and(|usage| usage.memory_bytes > 0 && usage.cpu_percent >= 0.0));
    server.end();
    Ok(())
}

#[test]
fn no_process_is_ever_without_a_heartbeat() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let servers: Vec<_> = (0..6).map(|_| Server::launch(&database, &["--no-reap"])).collect();
    let mut registered = 0;
    while registered < servers.len() {
        let processes = store.processes()?;
        assert!(processes.iter().all(|process| process.beat_at.is_some()), "{processes:?}");
        registered = processes.len();
    }
    for server in servers {
        server.registered().end();
    }
    assert_eq!(database.count("SELECT count(*) FROM heartbeats")?, 0, "an ended process has none");
    Ok(())
}

#[test]
fn a_clean_end_leaves_the_registry() -> TestResult {
    let database = Database::new(&[])?;
    for (signal, reason) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut server = Server::start(&database, &[]);
        server.signal(signal);
        assert!(server.wait().success());
        assert_eq!(server.expect_line("ended:"), reason);
        assert_eq!(database.state_of(server.process_id)?, "ended");
    }
    let server = Server::start(&database, &[]);
    let process_id = server.process_id;
    server.end();
    assert_eq!(database.state_of(process_id)?, "ended");
    assert!(database.store()?.processes()?.is_empty());
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);
    Ok(())
}

#[test]
fn a_dropped_registration_is_gone_and_can_be_made_again() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let first = store.register(info())?;
    let first_id = first.process_id();
    assert!(
        matches!(store.register(info()), Err(Error::AlreadyRegistered { process_id }) if process_id == first_id)
    );
    drop(first);
    assert!(store.processes()?.is_empty());
    let second = store.register(info())?;
    assert!(second.process_id() > first_id, "numbers are never given twice");
    second.deregister()?;
    assert_eq!(database.count("SELECT count(*) FROM processes WHERE state = 'ended'")?, 2);
    Ok(())
}

#[test]
fn the_background_heartbeat_keeps_time_until_the_registration_is_dropped() -> TestResult {
    let database = Database::new(&BEATING)?;
    let store = database.store()?;
    let registration = store.register(info())?;
    registration.start_heartbeat()?;
    registration.start_heartbeat()?; // once is enough, twice no harm
    let id = registration.process_id();
    for _ in 0..3 {
        let before = last_beat_ms(&database, id)?;
        wait_until("the next beat", || last_beat_ms(&database, id).is_ok_and(|beat| beat > before));
    }
    assert_eq!(registration.background_error(), None);
    drop(registration);
    thread::sleep(Duration::from_millis(200)); // four intervals: a beat would register it again
    assert!(store.processes()?.is_empty());
    assert_eq!(database.count("SELECT count(*) FROM heartbeats")?, 0);
    Ok(())
}

#[test]
fn every_update_carries_heartbeat_activity_and_who_made_it() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.process_update("before", &Update::default())?;
    let registration = store.register(info())?;
    let id = registration.process_id();
    database.age_heartbeat(id, 200)?;
    database.age_activity(id, 200)?;
    if database.is_on_a_server() {
        thread::sleep(Duration::from_millis(200)); // there an update beats only if the last beat is older than half an interval
    }
    store.process_update("writer", &Update::default())?;
    let process = &store.processes()?[0];
    assert!(process.heartbeat_age_s.is_some_and(|age| age < 100.0));
    assert!(process.activity_age_s.is_some_and(|age| age < 100.0));
    let by = database.count("SELECT process_id FROM agent_updates WHERE agent_id = 'writer'")?;
    assert_eq!(by, id);
    let events = format!("SELECT count(*) FROM agent_events WHERE agent_id = 'writer' AND process_id = {id}");
    assert_eq!(database.count(&events)?, 2, "created, health_changed");
    let unregistered = "SELECT count(*) FROM agent_updates WHERE agent_id = 'before' AND process_id IS NULL";
    assert_eq!(database.count(unregistered)?, 1);
    Ok(())
}

#[test]
fn a_beat_is_no_activity_and_activity_is_a_beat() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let registration = store.register(info())?;
    let id = registration.process_id();
    let ages = || -> Result<(f64, Option<f64>), Error> {
        let process = store.processes()?.remove(0);
        Ok((process.heartbeat_age_s.unwrap(), process.activity_age_s))
    };
    database.age_heartbeat(id, 200)?;
    assert_eq!(registration.beat()?, Beat::Alive);
    let (heartbeat_age_s, activity_age_s) = ages()?;
    assert!(heartbeat_age_s < 100.0 && activity_age_s.is_none(), "nobody has used it");
    database.age_heartbeat(id, 200)?;
    assert_eq!(registration.record_activity()?, Beat::Alive);
    let (heartbeat_age_s, activity_age_s) = ages()?;
    assert!(heartbeat_age_s < 100.0 && activity_age_s.is_some_and(|age| age < 100.0));
    database.age_activity(id, 200)?;
    assert_eq!(registration.beat()?, Beat::Alive);
    assert!(ages()?.1.is_some_and(|age| age >= 200.0));
    Ok(())
}

/// What a client only reads waits for no lock: its use is recorded with the next beat, and with its time.
#[test]
fn a_use_that_was_noted_is_recorded_with_the_next_beat_and_its_own_time() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let registration = store.register(info())?;
    store.note_activity();
    assert_eq!(store.processes()?[0].last_activity_at, None, "nothing is written yet");
    let noted = govstore::Timestamp::now();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(registration.beat()?, Beat::Alive);
    let recorded = store.processes()?.remove(0);
    let at = recorded.last_activity_at.unwrap();
    let off_ms = (at.to_utc() - noted.to_utc()).num_milliseconds().abs();
    assert!(off_ms < 100, "{at} was recorded, {off_ms} ms off");
    assert!(recorded.activity_age_s.is_some_and(|age| age >= 0.25), "{recorded:?}");
    assert_eq!(registration.beat()?, Beat::Alive);
    assert_eq!(store.processes()?[0].last_activity_at, Some(at), "once");
    Ok(())
}

#[test]
fn a_process_whose_row_has_vanished_says_so_and_registers_again() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let registration = store.register(info())?;
    let first = registration.process_id();

    database.execute("DELETE FROM processes")?;
    assert_eq!(registration.beat()?, Beat::Superseded);
    let second = registration.process_id();
    assert!(second > first);
    assert_eq!(registration.beat()?, Beat::Alive);

    database.execute("UPDATE processes SET state = 'exited', ended_at = registered_at")?;
    assert_eq!(registration.beat()?, Beat::Superseded);
    let third = registration.process_id();
    assert!(third > second);
    let processes = store.processes()?;
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].process_id, processes[0].name.as_str()), (third, "test"));
    assert!(processes[0].beat_at.is_some());
    Ok(())
}

#[test]
fn an_update_does_not_fail_because_the_row_has_vanished() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let registration = store.register(info())?;
    let first = registration.process_id();
    database.execute("DELETE FROM processes")?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| store.process_update("writer", &Update::default()).expect("an update"));
        }
    });
    let again = registration.process_id();
    assert!(again > first);
    assert_eq!(store.processes()?.len(), 1, "four threads found it gone, one registered");
    let by = format!("SELECT count(*) FROM agent_updates WHERE process_id = {again}");
    assert_eq!(database.count(&by)?, 4);

    // One that is refused writes nothing, and the next one registers all the same.
    store.pause("writer", None)?;
    database.execute("DELETE FROM processes")?;
    assert!(matches!(store.process_update("writer", &Update::default()), Err(Error::WrongLifecycle { .. })));
    assert!(store.processes()?.is_empty());
    store.process_update("other", &Update::default())?;
    assert_eq!(store.processes()?[0].process_id, registration.process_id());
    Ok(())
}

#[test]
fn a_process_that_was_claimed_is_told_to_exit() -> TestResult {
    let database = Database::new(&[])?;
    let mut server = Server::start(&database, &["--agent", "writer"]);
    server.expect_line("updated");
    database.execute(
        "UPDATE processes SET state = 'terminating', claim_verdict = 'surplus', claim_evidence = 'too many',
                              claimed_at = registered_at,
                              claim_until_monotonic_ms = 9000000000000",
    )?;
    assert!(server.wait().success());
    assert_eq!(server.expect_line("ended:"), "a reaper claimed it");
    assert_eq!(database.state_of(server.process_id)?, "terminating", "the row is the reaper's to end");
    Ok(())
}

#[test]
fn a_process_whose_client_is_gone_says_so_and_ends() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.05")])?;

    let mut stays = Server::start_under_a_client(&database, &["--outlive-parent"]);
    let parent_gone =
        || database.count("SELECT count(*) FROM process_status WHERE parent_gone").unwrap_or_default();
    assert_eq!(parent_gone(), 0);
    stays.crash(); // the client, not its server
    wait_until("its beat to say that its client is gone", || parent_gone() == 1);
    stays.close_stdin();
    assert_eq!(stays.expect_line("ended:"), "stdin closed");

    let mut ends = Server::start_under_a_client(&database, &[]);
    ends.crash();
    assert_eq!(ends.expect_line("ended:"), "its parent is gone", "though its stdin is open");
    assert_eq!(database.state_of(ends.process_id)?, "ended");
    Ok(())
}

#[test]
fn a_registration_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<govstore::Registration>();
}

#[test]
fn a_forked_child_is_told_that_it_has_no_part_in_the_registration() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.05")])?;
    let mut server = Server::start(&database, &["--fork"]);
    let forked = format!("forked from {}", server.pid());
    for call in ["beat", "heartbeat", "update", "register", "processes"] {
        assert_eq!(server.expect_line(&format!("child {call}:")), forked, "{call}");
    }
    server.expect_line("child dropped it");
    assert_eq!(server.expect_line("parent beat:"), "Some(Alive)", "the child's drop changed nothing");
    assert_eq!(database.state_of(server.process_id)?, "running");
    assert_eq!(database.count("SELECT count(*) FROM processes")?, 1);
    Ok(())
}

#[test]
fn a_process_that_replaces_itself_is_registered_once() -> TestResult {
    let database = Database::new(&[])?;
    let stores = [database.store()?, database.store()?];
    let first = stores[0].register(info())?;
    let second = stores[1].register(ProcessInfo::new("test", "2.0"))?;
    let processes = stores[0].processes()?;
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].process_id, processes[0].version.as_str()), (second.process_id(), "2.0"));
    assert_eq!(first.beat()?, Beat::Superseded);
    assert_eq!(first.process_id(), second.process_id(), "one process, one row");
    Ok(())
}

#[test]
fn the_registry_remembers_a_thousand_ended_processes_and_no_more() -> TestResult {
    let database = Database::new(&[])?;
    database.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
         INSERT INTO processes (name, version, pid, boot_id, start_ticks, registered_at, last_activity_at,
                                last_activity_monotonic_ms, state, ended_at)
         SELECT 'old', '1', i, 'b', i, '2025-11-19T20:41:09.824Z', '2025-11-19T20:41:09.824Z', 0,
                'ended', '2025-11-19T20:41:09.824Z'
         FROM n;
         UPDATE processes SET state = 'running', ended_at = NULL WHERE pid = 7",
    )?;
    let registration = database.store()?.register(info())?;
    assert_eq!(database.count("SELECT count(*) FROM processes WHERE state = 'ended'")?, 999);
    assert_eq!(database.state_of(7)?, "running", "one that runs is not forgotten");
    assert_eq!(database.state_of(registration.process_id())?, "running");
    Ok(())
}

#[test]
fn a_person_sees_the_processes_in_the_shell() -> TestResult {
    let database = Database::new(&[])?;
    let server = Server::start(&database, &["--no-heartbeat"]);
    let mut crashed = Server::start(&database, &["--no-heartbeat"]);
    crashed.crash();
    database.store()?.reap()?;
    database.execute(
        "UPDATE processes SET parent_gone = true, last_activity_at = '2020-01-01T00:00:00.000Z';
         UPDATE heartbeats SET beat_at = '2020-01-01T00:00:00.000Z', suspected_monotonic_ms = 1",
    )?;
    let status = database.rows("SELECT process_id, state, suspected, heartbeat_age_s FROM process_status")?;
    let [running, gone] = &status[..] else { panic!("{status:?}") };
    assert_eq!(running[..3], [json!(server.process_id), json!("running"), json!(1)]);
    assert!(running[3].as_f64() > Some(86_400.0), "{running:?}");
    assert_eq!(gone[..], [json!(crashed.process_id), json!("exited"), json!(0), Value::Null]);
    let silent = database.count("SELECT process_id FROM stale_processes")?;
    assert_eq!(silent, server.process_id, "by the wall clock, which is what a person has");
    assert!(database.store()?.stale_processes()?.is_empty(), "by the clock that is judged by");
    Ok(())
}
