//! Many processes at once: storms of newcomers, two reapers, a reaper that dies, updates meanwhile.
#![cfg(target_os = "linux")]

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use govstore::{Outcome, Update};
use govstore_testkit::{Database, Launched, Server, TestResult, reap, wait_until};

#[test]
fn nine_servers_starting_at_once_leave_each_other_alone() -> TestResult {
    for round in 0..20 {
        let database = Database::new(&[])?;
        let launched: Vec<_> =
            (0..9).map(|_| Server::launch(&database, &["--agent", "shared", "--every", "100"])).collect();
        let servers: Vec<_> = launched.into_iter().map(Launched::registered).collect();
        for mut server in servers {
            assert_eq!(server.expect_line("r"), "eady", "round {round}: it reaped nobody");
            server.expect_line("updated");
            server.end(); // which also shows that nobody had ended it
        }
        assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0, "round {round}");
        assert_eq!(database.count("SELECT count(*) FROM processes WHERE state = 'ended'")?, 9);
    }
    Ok(())
}

#[test]
fn of_two_reapers_at_the_same_instant_one_gets_the_victim() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "50")])?;
    let mut reapers = [Server::start(&database, &[]), Server::start(&database, &[])];
    for reaper in &mut reapers {
        reaper.expect_line("ready");
    }
    for round in 0..50 {
        let mut victim = Server::start(&database, &["--no-heartbeat", "--no-reap", "--deaf"]);
        database.age_heartbeat(victim.process_id, 400)?;
        for reaper in &mut reapers {
            reaper.ask_to_reap();
        }
        assert_eq!(victim.wait().signal(), Some(9)); // at a second look, beside a heartbeat of one of them
        for reaper in &mut reapers {
            reaper.expect_line("ready");
        }
        wait_until("the ledger to tell", || !database.ledger_of(victim.process_id).unwrap().is_empty());
        let ledger = database.ledger_of(victim.process_id)?;
        let once = ("stale".to_owned(), "TERM CONT KILL".to_owned(), "killed".to_owned());
        assert_eq!(ledger, [once], "round {round}");
        let terms = victim.rest_until_end().iter().filter(|line| line.contains("SIGTERM")).count();
        assert!(terms <= 1, "round {round}: it got SIGTERM {terms} times");
    }
    for reaper in reapers {
        reaper.end();
    }
    Ok(())
}

#[test]
fn the_work_of_a_reaper_that_was_killed_is_finished_by_the_next() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "600000")])?;
    let mut reaper = Server::start(&database, &[]);
    reaper.expect_line("ready");
    let mut victim = Server::start(&database, &["--no-heartbeat", "--no-reap", "--deaf"]);
    database.age_heartbeat(victim.process_id, 400)?;
    reaper.ask_to_reap();
    victim.expect_line("ignored SIGTERM");
    let store = database.store()?;
    assert_eq!(database.state_of(victim.process_id)?, "terminating");
    assert!(reap(&store)?.events.is_empty(), "its reaper is at work");

    reaper.crash();
    store.set_setting("terminate_grace_ms", "100")?;
    let report = reap(&store)?;
    let ended = report.events.iter().find(|event| event.process_id == victim.process_id).unwrap();
    assert_eq!(ended.outcome, Outcome::Killed);
    assert!(ended.evidence.contains("the reaper that claimed it at"), "{}", ended.evidence);
    assert_eq!(victim.wait().signal(), Some(9));
    assert_eq!(database.ledger_of(victim.process_id)?.len(), 1);
    assert_eq!(database.state_of(victim.process_id)?, "killed");
    assert_eq!(database.state_of(reaper.process_id)?, "exited");
    Ok(())
}

#[test]
fn updates_go_on_while_a_reaper_waits_for_its_victims() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "3000")])?;
    let mut reaper = Server::start(&database, &[]);
    reaper.expect_line("ready");
    let healthy = [Server::start(&database, &["--no-reap"]), Server::start(&database, &["--no-reap"])];
    let mut victims: Vec<_> =
        (0..3).map(|_| Server::start(&database, &["--no-heartbeat", "--no-reap", "--deaf"])).collect();
    for victim in &victims {
        database.age_heartbeat(victim.process_id, 400)?;
    }
    let store = database.store()?;
    let (mut updates, mut worst) = (0, Duration::ZERO);
    let mut seen_waiting = false;
    reaper.ask_to_reap();
    wait_until("all three to be killed", || {
        let began = Instant::now();
        store.process_update("writer", &Update::default()).unwrap();
        worst = worst.max(began.elapsed());
        updates += 1;
        seen_waiting |=
            store.processes().unwrap().iter().any(|process| process.state.as_str() == "terminating");
        database.count("SELECT count(*) FROM reap_events WHERE outcome = 'killed'").unwrap() == 3
    });
    assert!(seen_waiting);
    eprintln!("{updates} updates while three victims were waited for, the worst took {worst:?}");
    // A transaction held over the wait would make it 3 s; benches/staleness.rs has the bar of 100 ms.
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    assert_eq!(store.agent("writer")?.total_updates, updates);
    for victim in &mut victims {
        assert_eq!(victim.wait().signal(), Some(9));
    }
    for server in healthy {
        server.end();
    }
    reaper.end();
    Ok(())
}
