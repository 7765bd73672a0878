//! The reaper ends those that must go: the right ones, and in good order.
#![cfg(target_os = "linux")]

mod server;

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use govstore::{Error, Outcome, ProcessInfo, ReapAction, ReapEvent, Update, Verdict};
use server::{Database, Launched, Server, TestResult, wait_until};

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

    let report = store.reap()?;
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
    assert_eq!(store.reap_events(10)?, report.events);
    assert!(store.reap()?.events.is_empty(), "nothing is left to do");
    Ok(())
}

#[test]
fn a_stale_process_that_is_deaf_is_killed_after_the_grace() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "400")])?;
    let mut server = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    database.age_heartbeat(server.process_id, 400)?;
    let report = database.store()?.reap()?;
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
    let report = database.store()?.reap()?;
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
    let mut healthy: Vec<_> = (0..3).map(|_| Server::start(&database, &[])).collect(); // no more than half are stale
    for server in victims.iter_mut().chain(&mut healthy) {
        server.expect_line("ready"); // it has reaped, as it does at its start
    }
    for victim in &victims {
        database.age_heartbeat(victim.process_id, 400)?;
    }
    let began = Instant::now();
    let report = database.store()?.reap()?;
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
    assert!(store.reap()?.events.is_empty(), "its client is gone, but it was used a moment ago");

    database.age_activity(server.process_id, 400)?;
    let report = store.reap()?;
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
    let mut crashed = Server::start(&database, &[]);
    let mut healthy = Server::start(&database, &[]);
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
            (stale.process_id, Verdict::Stale, ReapAction::End),
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
fn nine(database: &Database) -> Result<Vec<Server>, Box<dyn std::error::Error>> {
    let servers: Vec<_> = (0..9).map(|_| Server::start(database, &[])).collect();
    for (server, idle_s) in servers.iter().zip((0..9).rev()) {
        database.age_activity(server.process_id, 10 + idle_s)?;
    }
    Ok(servers)
}

#[test]
fn the_tenth_ends_the_one_that_was_idle_longest() -> TestResult {
    let database = Database::new(&[])?;
    let mut servers = nine(&database)?;
    database.age_activity(servers[4].process_id, 200)?;
    let mut newcomer = Server::start(&database, &[]);
    let mut evicted = servers.remove(4);
    assert_eq!(newcomer.expect_line("reaped"), format!("{} surplus terminated", evicted.pid()));
    newcomer.expect_line("ready");
    assert!(evicted.wait().success());
    assert_eq!(evicted.expect_line("ended:"), "SIGTERM");
    assert_eq!(ledger_entry(&database, evicted.process_id), entry("surplus", "TERM CONT", "terminated"));
    assert_eq!(database.store()?.processes()?.len(), 9);
    for server in servers {
        server.end();
    }
    newcomer.end();
    Ok(())
}

#[test]
fn the_tenth_ends_an_abandoned_one_before_an_idle_one() -> TestResult {
    let database = Database::new(&[])?;
    let mut abandoned = Server::start_under_a_client(&database, &["--outlive-parent"]);
    let servers: Vec<_> = (0..8).map(|_| Server::start(&database, &[])).collect();
    for server in &servers {
        database.age_activity(server.process_id, 200)?; // all of them idle for longer than the abandoned one
    }
    abandoned.crash(); // its client
    let mut newcomer = Server::start(&database, &[]);
    newcomer.expect_line("ready");
    assert_eq!(abandoned.expect_line("ended:"), "SIGTERM");
    assert_eq!(ledger_entry(&database, abandoned.process_id), entry("surplus", "TERM CONT", "terminated"));
    for server in servers {
        server.end();
    }
    newcomer.end();
    Ok(())
}

#[test]
fn with_the_policy_refuse_the_tenth_is_told_who_the_nine_are() -> TestResult {
    let database = Database::new(&[("limit_policy", "refuse")])?;
    let mut servers = nine(&database)?;
    let store = database.store()?;
    let refused = store.register(info()).unwrap_err();
    let sentence = refused.to_string();
    let Error::TooManyProcesses { limit: 9, occupants } = refused else { panic!("{refused:?}") };
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    assert_eq!(occupants.iter().map(|process| process.pid).collect::<Vec<_>>(), pids);
    for pid in pids {
        assert!(sentence.contains(&format!("PID {pid} (example-server {})", env!("CARGO_PKG_VERSION"))));
    }
    assert_eq!(database.count("SELECT count(*) FROM processes")?, 9, "nothing was written");
    assert!(store.reap()?.events.is_empty());

    servers.pop().unwrap().crash();
    let registration = store.register(info())?; // the place of one who died is free at once
    assert!(matches!(registration.beat()?, govstore::Beat::Alive));
    for server in servers {
        server.end();
    }
    Ok(())
}

#[test]
fn ten_starting_at_once_leave_exactly_nine() -> TestResult {
    for round in 0..5 {
        let database = Database::new(&[])?;
        let launched: Vec<_> = (0..10).map(|_| Server::launch(&database, &[])).collect();
        let mut servers: Vec<_> = launched.into_iter().map(Launched::registered).collect();
        wait_until("one to be ended", || database.count("SELECT count(*) FROM reap_events").unwrap() > 0);
        let mut survivors = Vec::new();
        let mut ended = 0;
        let evicted =
            database.sql()?.query_row("SELECT process_id FROM reap_events", [], |row| row.get(0))?;
        for mut server in servers.drain(..) {
            if server.process_id == evicted {
                assert!(server.wait().success());
                ended += 1;
            } else {
                server.expect_line("ready");
                survivors.push(server);
            }
        }
        assert_eq!((ended, survivors.len()), (1, 9), "round {round}");
        assert_eq!(ledger_entry(&database, evicted), entry("surplus", "TERM CONT", "terminated"));
        assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 1, "round {round}");
        assert_eq!(database.count("SELECT count(*) FROM processes WHERE state = 'running'")?, 9);
        for server in survivors {
            server.end(); // which also shows that nobody had ended it
        }
    }
    Ok(())
}

#[test]
fn with_the_policy_refuse_ten_starting_at_once_leave_exactly_nine() -> TestResult {
    for round in 0..5 {
        let database = Database::new(&[("limit_policy", "refuse")])?;
        let launched: Vec<_> = (0..10).map(|_| Server::launch(&database, &[])).collect();
        let (registered, refused): (Vec<_>, Vec<_>) =
            launched.into_iter().map(Launched::registered_or_ended).partition(Result::is_ok);
        assert_eq!((registered.len(), refused.len()), (9, 1), "round {round}");
        for mut server in registered.into_iter().flatten() {
            server.expect_line("ready");
            server.end();
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
    let sql = database.sql()?;
    for (agent, holder) in [("a", &zombie), ("b", &vanished), ("c", &of_earlier_boot), ("d", &alive)] {
        store.process_update(agent, &Update::default())?;
        sql.execute(
            "INSERT INTO agent_locks (agent_id, token, process_id, acquired_at, renewed_at, reason)
             VALUES (?1, 7, ?2, '2025-11-19T20:41:09.824Z', '2025-11-19T20:41:09.824Z', 'thinking')",
            (agent, holder.process_id),
        )?;
    }
    zombie.crash_and_leave_a_zombie();
    vanished.crash();
    for table in ["processes", "heartbeats"] {
        let earlier = format!("UPDATE {table} SET boot_id = 'of-yesterday' WHERE process_id = ?1");
        sql.execute(&earlier, [of_earlier_boot.process_id])?;
    }
    if cfg!(govstore_portable) {
        sql.execute(
            "UPDATE processes SET start_ticks = start_ticks - 86400 WHERE process_id = ?1",
            [of_earlier_boot.process_id],
        )?;
    }

    let report = store.reap()?;
    let said: Vec<_> =
        report.events.iter().map(|event| (event.process_id, event.verdict, event.outcome)).collect();
    let dead = [&zombie, &vanished, &of_earlier_boot].map(|server| server.process_id);
    assert_eq!(said, dead.map(|id| (id, Verdict::Exited, Outcome::Forgotten)));
    for id in dead {
        assert_eq!(database.state_of(id)?, "exited");
        assert_eq!(ledger_entry(&database, id), entry("exited", "", "forgotten"));
    }
    let locks: Vec<(String, Option<i64>, i64)> = sql
        .prepare("SELECT agent_id, process_id, token FROM agent_locks ORDER BY agent_id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let free = |agent: &str| (agent.to_owned(), None, 7);
    assert_eq!(
        locks,
        [free("a"), free("b"), free("c"), ("d".to_owned(), Some(alive.process_id), 7)],
        "and the tokens stay, so that none comes twice"
    );
    let holders: String = sql.query_row("SELECT agent_id FROM lock_holders", [], |row| row.get(0))?;
    assert_eq!(holders, "d");
    assert!(sql.execute("UPDATE agent_locks SET token = 6", ()).is_err());
    assert!(sql.execute("DELETE FROM agent_locks", ()).is_err());
    assert!(sql.execute("UPDATE reap_events SET outcome = 'killed'", ()).is_err(), "append only");
    alive.end();
    of_earlier_boot.end(); // it was not signalled: it would have said so
    Ok(())
}

#[test]
fn a_server_that_updates_clears_away_the_dead_in_passing() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "0.1"), ("terminate_grace_ms", "200")])?;
    let mut server = Server::start(&database, &["--agent", "writer"]);
    let mut victim = Server::start(&database, &["--no-heartbeat", "--deaf"]);
    let mut crashed = Server::start(&database, &["--no-heartbeat"]);
    crashed.crash();
    for process_id in [victim.process_id, crashed.process_id] {
        database.age_heartbeat(process_id, 400)?;
    }
    wait_until("the server to clear away both", || {
        database.count("SELECT count(*) FROM reap_events").unwrap() == 2
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
    let mut server = Server::start(&database, &[]);
    database.age_heartbeat(server.process_id, 400)?;
    database.store()?.reap()?;
    server.expect_line("ended: SIGTERM"); // it deregistered in good order, while it was claimed
    assert_eq!(database.state_of(server.process_id)?, "terminated");
    Ok(())
}
