//! The reaper ends those that must go: the right ones, and in good order.
#![cfg(target_os = "linux")]

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use govstore::{Error, Outcome, ProcessInfo, ReapAction, ReapEvent, Update, Verdict};
use govstore_testkit::{Database, Launched, Server, TestResult, reap, wait_until};
use serde_json::json;

fn info() -> ProcessInfo {
    ProcessInfo::new("test", "1.2.3")
}

/// The ledger's entry about one process, which must be the only one.
fn ledger_entry(database: &Database, process_id: i64) -> (String, String, String) {
    let entries = database.ledger_of(process_id).unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    let (verdict, signals, outcome) = entries.into_iter().next().unwrap();
    // One that obeys may be gone before the SIGCONT is sent.
    let signals = if signals == "TERM" { "TERM CONT".to_owned() } else { signals };
    (verdict, signals, outcome)
}

fn entry(verdict: &str, signals: &str, outcome: &str) -> (String, String, String) {
    (verdict.to_owned(), signals.to_owned(), outcome.to_owned())
}

#[test]
fn a_stale_process_that_obeys_is_asked_to_end() -> TestResult {
    let database = Database::new(&[])?;
    let mut server = Server::start(&database, &["--no-heartbeat"]);
    database.age_heartbeat(server.process_id, 400)?;
    let store = database.store()?;
    assert_eq!(store.stale_processes()?[0].process_id, server.process_id);

    let report = reap(&store)?;
    let [event] = &report.events[..] else { panic!("{report:?}") };
    assert_eq!(
        (event.pid, event.verdict, event.outcome),
        (server.pid(), Verdict::Stale, Outcome::Terminated)
    );
    assert!(event.evidence.contains("over 300 s"), "{}", event.evidence);
    assert!(event.heartbeat_age_ms.is_some_and(|age| age >= 400_000));
    assert!(event.claimed_at.is_some() && event.took_ms.is_some());
    assert_eq!((event.reaper_pid, event.reaper_process_id), (std::process::id(), None));
    assert!(server.wait().success());
    assert_eq!(server.expect_line("ended:"), "SIGTERM");
    assert_eq!(database.state_of(server.process_id)?, "terminated");
    assert_eq!(ledger_entry(&database, server.process_id), entry("stale", "TERM CONT", "terminated"));
    let ledger = store.reap_events(10)?;
    let noted: Vec<_> = ledger.iter().map(|event| (event.verdict, event.outcome)).collect();
    assert_eq!(
        noted,
        [(Verdict::Suspect, Outcome::Postponed), (Verdict::Stale, Outcome::Terminated)],
        "nobody is ended at first sight"
    );
    assert_eq!(ledger[1..], report.events);
    assert!(reap(&store)?.events.is_empty(), "nothing is left to do");
    Ok(())
}

#[test]
fn a_stale_process_that_is_deaf_is_killed_after_the_grace() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "400")])?;
    let mut server = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    database.age_heartbeat(server.process_id, 400)?;
    let report = reap(&database.store()?)?;
    assert_eq!(report.events[0].outcome, Outcome::Killed);
    assert!(report.events[0].took_ms.is_some_and(|took| took >= 400), "{report:?}");
    assert_eq!(server.wait().signal(), Some(9));
    server.expect_line("ignored SIGTERM");
    assert_eq!(database.state_of(server.process_id)?, "killed");
    assert_eq!(ledger_entry(&database, server.process_id), entry("stale", "TERM CONT KILL", "killed"));
    Ok(())
}

#[test]
fn a_stopped_process_can_obey() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "60000")])?;
    let mut server = Server::start(&database, &[]);
    server.stop();
    database.age_heartbeat(server.process_id, 400)?;
    let report = reap(&database.store()?)?;
    assert!(report.events[0].evidence.contains("it is stopped"), "{report:?}");
    assert!(server.wait().success());
    assert_eq!(server.expect_line("ended:"), "SIGTERM");
    assert_eq!(ledger_entry(&database, server.process_id), entry("stale", "TERM CONT", "terminated"));
    Ok(())
}

#[test]
fn three_victims_take_one_grace() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "3000")])?;
    let mut victims: Vec<_> =
        (0..3).map(|_| Server::start(&database, &["--no-heartbeat", "--deaf"])).collect();
    let mut healthy: Vec<_> = (0..3).map(|_| Server::start(&database, &["--no-heartbeat"])).collect(); // no more than half are stale
    for server in victims.iter_mut().chain(&mut healthy) {
        server.expect_line("ready"); // it has reaped, as it does at its start
    }
    for victim in &victims {
        database.age_heartbeat(victim.process_id, 400)?;
    }
    let began = Instant::now();
    let report = reap(&database.store()?)?;
    let took = began.elapsed();
    assert!(report.events.iter().all(|event| event.outcome == Outcome::Killed), "{report:?}");
    assert_eq!(report.events.len(), 3);
    assert!(took >= Duration::from_secs(3), "the grace was cut short: {took:?}");
    assert!(took < Duration::from_secs(6), "one after the other would take 9 s: {took:?}");
    for victim in &mut victims {
        assert_eq!(victim.wait().signal(), Some(9));
    }
    for server in healthy {
        server.end();
    }
    Ok(())
}

#[test]
fn an_orphan_that_nobody_uses_is_ended() -> TestResult {
    let database = Database::new(&[])?;
    let mut server = Server::start_under_a_client(&database, &["--outlive-parent"]);
    let store = database.store()?;
    server.crash(); // its client
    assert!(reap(&store)?.events.is_empty(), "its client is gone, but it was used a moment ago");

    database.age_activity(server.process_id, 400)?;
    let report = reap(&store)?;
    assert_eq!(
        (report.events[0].verdict, report.events[0].outcome),
        (Verdict::Orphaned, Outcome::Terminated)
    );
    assert_eq!(server.expect_line("ended:"), "SIGTERM");
    assert_eq!(ledger_entry(&database, server.process_id), entry("orphaned", "TERM CONT", "terminated"));
    Ok(())
}

#[test]
fn the_plan_says_what_would_be_done_and_does_nothing() -> TestResult {
    let database = Database::new(&[])?;
    let mut stale = Server::start(&database, &["--no-heartbeat"]);
    let mut crashed = Server::start(&database, &["--no-heartbeat"]);
    let mut healthy = Server::start(&database, &["--no-heartbeat"]);
    for server in [&mut stale, &mut crashed, &mut healthy] {
        server.expect_line("ready"); // it has reaped, as it does at its start
    }
    database.age_heartbeat(stale.process_id, 400)?;
    crashed.crash();
    let plan = database.store()?.reap_plan()?;
    let judged: Vec<_> =
        plan.judgements.iter().map(|j| (j.process.process_id, j.verdict, j.action)).collect();
    assert_eq!(
        judged,
        [
            (stale.process_id, Verdict::Suspect, ReapAction::Postpone),
            (crashed.process_id, Verdict::Exited, ReapAction::Forget),
            (healthy.process_id, Verdict::Alive, ReapAction::Leave),
        ]
    );
    assert_eq!(database.count("SELECT count(*) FROM processes WHERE state = 'running'")?, 3);
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);
    stale.end();
    healthy.end();
    Ok(())
}

/// Nine servers, each idle for a while longer than the one after it.
fn nine(database: &Database) -> TestResult<Vec<Server>> {
    let servers: Vec<_> = (0..9).map(|_| Server::start(database, &[])).collect();
    for (server, idle_s) in servers.iter().zip((0..9).rev()) {
        database.age_activity(server.process_id, 10 + idle_s)?;
    }
    Ok(servers)
}

#[test]
fn by_default_the_tenth_is_let_in_and_nobody_is_ended_for_it() -> TestResult {
    let database = Database::new(&[])?;
    let mut servers = nine(&database)?;
    for server in &servers {
        database.age_activity(server.process_id, 86_400)?; // idle for a day, with their clients there
    }
    servers.push(Server::start(&database, &["--agent", "writer"]));
    servers[9].expect_line("updated");
    let store = database.store()?;
    let report = reap(&store)?;
    assert!(report.events.is_empty(), "{report:?}");
    assert_eq!(report.plan.occupants().count(), 10, "more than max_processes, and it can be seen");
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);
    for server in servers {
        server.end(); // which also shows that nobody had ended it
    }
    Ok(())
}

#[test]
fn by_default_one_too_many_goes_that_was_never_used_and_has_lost_its_client() -> TestResult {
    let database = Database::new(&[])?;
    let mut abandoned = Server::start_under_a_client(&database, &["--outlive-parent"]);
    let mut servers = nine(&database)?;
    let store = database.store()?;
    assert!(reap(&store)?.events.is_empty(), "its client lives");
    abandoned.crash(); // its client
    assert_eq!(abandoned.expect_line("ended:"), "SIGTERM");
    wait_until("the ledger to tell", || !database.ledger_of(abandoned.process_id).unwrap().is_empty());
    assert_eq!(ledger_entry(&database, abandoned.process_id), entry("surplus", "TERM CONT", "terminated"));
    assert!(servers.iter_mut().all(|server| !server.has_ended()));
    for server in servers {
        server.end();
    }
    Ok(())
}

#[test]
fn with_the_policy_evict_the_one_that_was_unused_for_longest_goes() -> TestResult {
    let database = Database::new(&[("limit_policy", "evict")])?;
    let mut servers = nine(&database)?;
    database.age_activity(servers[4].process_id, 400)?;
    database.age_activity(servers[6].process_id, 350)?;
    let newcomer = Server::start(&database, &[]);
    let mut evicted = servers.remove(4);
    assert!(evicted.wait().success());
    assert_eq!(evicted.expect_line("ended:"), "SIGTERM");
    wait_until("the ledger to tell", || !database.ledger_of(evicted.process_id).unwrap().is_empty());
    assert_eq!(ledger_entry(&database, evicted.process_id), entry("surplus", "TERM CONT", "terminated"));
    assert_eq!(database.store()?.processes()?.len(), 9);
    for server in servers {
        server.end();
    }
    newcomer.end();
    Ok(())
}

/// Whoever would be refused.
fn assert_refused(database: &Database, servers: &[Server]) -> TestResult {
    let refused = database.store()?.register(info()).unwrap_err();
    let sentence = refused.to_string();
    let Error::TooManyProcesses { limit: 9, occupants } = refused else { panic!("{refused:?}") };
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    assert_eq!(occupants.iter().map(|process| process.pid).collect::<Vec<_>>(), pids);
    for pid in pids {
        assert!(sentence.contains(&format!("PID {pid} (example-server {})", env!("CARGO_PKG_VERSION"))));
    }
    assert_eq!(database.count("SELECT count(*) FROM processes")?, 9, "nothing was written");
    Ok(())
}

#[test]
fn with_the_policy_evict_and_all_nine_in_use_the_tenth_is_refused_with_a_list() -> TestResult {
    let database = Database::new(&[("limit_policy", "evict")])?;
    let servers = nine(&database)?;
    assert_refused(&database, &servers)?;
    assert!(reap(&database.store()?)?.events.is_empty());
    for server in servers {
        server.end();
    }
    Ok(())
}

#[test]
fn with_the_policy_refuse_the_tenth_is_told_who_the_nine_are() -> TestResult {
    let database = Database::new(&[("limit_policy", "refuse")])?;
    let mut servers = nine(&database)?;
    let store = database.store()?;
    assert_refused(&database, &servers)?;
    assert!(reap(&store)?.events.is_empty());

    servers.pop().unwrap().crash();
    let registration = store.register(info())?; // the place of one who died is free at once
    assert!(matches!(registration.beat()?, govstore::Beat::Alive));
    for server in servers {
        server.end();
    }
    Ok(())
}

#[test]
fn with_the_policies_evict_and_refuse_ten_starting_at_once_leave_exactly_nine() -> TestResult {
    for policy in ["evict", "refuse", "evict", "refuse"] {
        let database = Database::new(&[("limit_policy", policy)])?;
        let launched: Vec<_> = (0..10).map(|_| Server::launch(&database, &[])).collect();
        let (registered, refused): (Vec<_>, Vec<_>) =
            launched.into_iter().map(Launched::registered_or_ended).partition(Result::is_ok);
        assert_eq!((registered.len(), refused.len()), (9, 1), "{policy}");
        for mut server in registered.into_iter().flatten() {
            server.expect_line("ready");
            server.end(); // which also shows that nobody had ended it
        }
        assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);
    }
    Ok(())
}

#[test]
fn the_dead_are_forgotten_without_a_signal_and_their_locks_are_free_at_once() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let mut zombie = Server::start(&database, &["--no-heartbeat"]);
    let mut vanished = Server::start(&database, &["--no-heartbeat"]);
    let of_earlier_boot = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    let alive = Server::start(&database, &["--no-heartbeat"]);
    for (agent, holder) in [("a", &zombie), ("b", &vanished), ("c", &of_earlier_boot), ("d", &alive)] {
        store.process_update(agent, &Update::default())?;
        database.execute(&format!(
            "INSERT INTO agent_locks (agent_id, token, process_id, acquired_at, renewed_at, reason)
             VALUES ('{agent}', 7, {}, '2025-11-19T20:41:09.824Z', '2025-11-19T20:41:09.824Z', 'thinking')",
            holder.process_id
        ))?;
    }
    zombie.crash_and_leave_a_zombie();
    vanished.crash();
    let its_row = format!("WHERE process_id = {}", of_earlier_boot.process_id);
    for table in ["processes", "heartbeats"] {
        database.execute(&format!("UPDATE {table} SET boot_id = 'of-yesterday' {its_row}"))?;
    }
    if cfg!(govstore_portable) {
        database.execute(&format!("UPDATE processes SET start_ticks = start_ticks - 86400 {its_row}"))?;
    }

    let report = reap(&store)?;
    let said: Vec<_> =
        report.events.iter().map(|event| (event.process_id, event.verdict, event.outcome)).collect();
    let dead = [&zombie, &vanished, &of_earlier_boot].map(|server| server.process_id);
    assert_eq!(said, dead.map(|id| (id, Verdict::Exited, Outcome::Forgotten)));
    for id in dead {
        assert_eq!(database.state_of(id)?, "exited");
        assert_eq!(ledger_entry(&database, id), entry("exited", "", "forgotten"));
    }
    let locks = database.rows("SELECT agent_id, process_id, token FROM agent_locks ORDER BY agent_id")?;
    let lock = |agent: &str, holder: Option<i64>| [json!(agent), json!(holder), json!(7)];
    assert_eq!(
        locks,
        [lock("a", None), lock("b", None), lock("c", None), lock("d", Some(alive.process_id))],
        "and the tokens stay, so that none comes twice"
    );
    assert_eq!(database.rows("SELECT agent_id FROM lock_holders")?, [[json!("d")]]);
    assert!(database.execute("UPDATE agent_locks SET token = 6").is_err());
    assert!(database.execute("DELETE FROM agent_locks").is_err());
    assert!(database.execute("UPDATE reap_events SET outcome = 'killed'").is_err(), "append only");
    alive.end();
    of_earlier_boot.end(); // it was not signalled: it would have said so
    Ok(())
}

#[test]
fn a_server_that_updates_clears_away_the_dead_in_passing() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.1"), ("terminate_grace_ms", "200")])?;
    let mut server = Server::start(&database, &["--agent", "writer"]);
    // The others reap nobody, not even as they start: whatever is done, that one has done.
    let mut victim = Server::start(&database, &["--no-heartbeat", "--no-reap", "--deaf"]);
    let mut crashed = Server::start(&database, &["--no-heartbeat", "--no-reap"]);
    for process_id in [victim.process_id, crashed.process_id] {
        database.age_heartbeat(process_id, 400)?;
    }
    crashed.crash();
    wait_until("the server to clear away both", || {
        database.count("SELECT count(*) FROM reap_events WHERE outcome <> 'postponed'").unwrap() == 2
    });
    assert_eq!(victim.wait().signal(), Some(9));
    assert_eq!(ledger_entry(&database, victim.process_id), entry("stale", "TERM CONT KILL", "killed"));
    assert_eq!(ledger_entry(&database, crashed.process_id), entry("exited", "", "forgotten"));
    let by: Vec<ReapEvent> = database.store()?.reap_events(10)?;
    assert!(by.iter().all(|event| event.reaper_process_id == Some(server.process_id)), "{by:?}");
    server.expect_line("updated");
    server.end();
    Ok(())
}

#[test]
fn an_update_does_not_wait_for_a_victim() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.1"), ("terminate_grace_ms", "3000")])?;
    let store = database.store()?;
    let registration = store.register(info())?;
    registration.start_heartbeat()?;
    let mut victim = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    database.age_heartbeat(victim.process_id, 400)?;
    let mut worst = Duration::ZERO;
    wait_until("the victim to be killed", || {
        let began = Instant::now();
        store.process_update("writer", &Update::default()).unwrap();
        worst = worst.max(began.elapsed());
        !database.ledger_of(victim.process_id).unwrap().is_empty()
    });
    assert_eq!(victim.wait().signal(), Some(9));
    assert!(worst < Duration::from_secs(2), "an update took {worst:?}, and the grace is 3 s");
    Ok(())
}

#[test]
fn a_process_that_is_not_registered_reaps_only_when_asked() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.05")])?;
    let store = database.store()?; // not registered: a command that runs for a moment
    let mut crashed = Server::start(&database, &["--no-heartbeat"]);
    crashed.crash();
    database.age_heartbeat(crashed.process_id, 400)?;
    for _ in 0..10 {
        store.process_update("writer", &Update::default())?;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);
    Ok(())
}

#[test]
fn a_claimed_server_that_ends_by_itself_is_the_reapers_to_record() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "60000")])?;
    let mut server = Server::start(&database, &["--no-heartbeat"]);
    database.age_heartbeat(server.process_id, 400)?;
    reap(&database.store()?)?;
    server.expect_line("ended: SIGTERM"); // it deregistered in good order, while it was claimed
    assert_eq!(database.state_of(server.process_id)?, "terminated");
    Ok(())
}
