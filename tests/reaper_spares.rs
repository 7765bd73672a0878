//! Whom the reaper never signals. Every server here is deaf: it says so when a SIGTERM reaches it, and a
//! SIGKILL would end it.
#![cfg(target_os = "linux")]

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use govstore::{Outcome, ProcessInfo, ReapAction, Store, Timestamp, Verdict};
use govstore_testkit::{
    Database, Server, TestResult, can, go, in_pid_namespace, reap, share_with_everybody, test_server,
    wait_until,
};

const DEAF: [&str; 2] = ["--no-heartbeat", "--deaf"];

/// How one process is judged, and why.
fn judgement(store: &Store, process_id: i64) -> govstore::Result<(Verdict, ReapAction, String)> {
    let plan = store.reap_plan()?;
    let judgement = plan.judgements.into_iter().find(|j| j.process.process_id == process_id).unwrap();
    Ok((judgement.verdict, judgement.action, judgement.evidence))
}

/// No signal was sent to anybody, and the server lives and goes on in good order.
fn assert_spared(database: &Database, mut server: Server) -> TestResult {
    assert_eq!(database.count("SELECT count(*) FROM reap_events WHERE signals <> ''")?, 0);
    assert!(!server.has_ended());
    let said = server.rest();
    assert!(!said.iter().any(|line| line.contains("SIGTERM")), "{said:?}");
    server.end();
    Ok(())
}

#[test]
fn an_idle_server_is_not_a_zombie() -> TestResult {
    let database = Database::new(&[])?;
    let server = Server::start(&database, &["--deaf"]);
    database.age_activity(server.process_id, 30 * 86_400)?;
    let store = database.store()?;
    assert_eq!(judgement(&store, server.process_id)?.0, Verdict::Alive);
    assert!(reap(&store)?.events.is_empty());
    assert_spared(&database, server)
}

#[test]
fn a_newborn_is_not_a_zombie() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let server = Server::start(&database, &DEAF); // it has just registered, and has never beaten since
    assert!(reap(&store)?.events.is_empty());
    assert_spared(&database, server)
}

#[test]
fn whoever_inherited_the_pid_of_a_dead_row_is_spared() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let mut heir = Server::start(&database, &DEAF);
    heir.expect_line("ready"); // it has reaped, as it does at its start
    database.age_heartbeat(heir.process_id, 400)?;
    // The row is now that of an earlier process, which had the same PID.
    database.execute("UPDATE processes SET start_ticks = start_ticks - 1")?;
    let (verdict, action, evidence) = judgement(&store, heir.process_id)?;
    assert_eq!((verdict, action), (Verdict::Exited, ReapAction::Forget));
    assert!(evidence.contains("has gone to another process"), "{evidence}");
    let report = reap(&store)?;
    assert_eq!(report.events[0].outcome, Outcome::Forgotten);
    assert_spared(&database, heir)
}

#[test]
fn the_reaper_never_ends_itself() -> TestResult {
    let database = Database::new(&[("max_processes", "1")])?;
    let store = database.store()?;
    let registration = store.register(ProcessInfo::new("reaper", "1"))?;
    database.age_heartbeat(registration.process_id(), 400)?;
    database.age_activity(registration.process_id(), 400)?;
    database.execute("UPDATE processes SET parent_gone = true")?;
    assert!(reap(&store)?.events.is_empty());
    // Nor when it is somebody else to its own row, as a command that is not registered.
    assert!(reap(&database.store()?)?.events.is_empty());
    assert_eq!(judgement(&store, registration.process_id())?.0, Verdict::Alive);
    Ok(())
}

#[test]
fn pid_1_is_never_signalled() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let server = Server::start(&database, &DEAF);
    let stat = fs::read_to_string("/proc/1/stat")?;
    let start_ticks: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse()?;
    let uid = fs::metadata("/proc/1")?.uid();
    database.execute(&format!("UPDATE processes SET pid = 1, start_ticks = {start_ticks}, uid = {uid}"))?;
    database.age_heartbeat(server.process_id, 400)?;
    let (verdict, action, evidence) = judgement(&store, server.process_id)?;
    assert!(matches!(verdict, Verdict::Unverifiable | Verdict::Exited), "{verdict}: {evidence}");
    assert_ne!(action, ReapAction::End); // before anything else is tried
    if rustix::process::getuid().is_root() && cfg!(not(govstore_portable)) && !database.is_on_a_server() {
        // Nor would it be if it had the database open: see the table of the plan's own tests.
        assert!(evidence.contains("does not have this database open"), "{evidence}");
    }
    reap(&store)?;
    assert_spared(&database, server)
}

#[test]
fn an_unrelated_process_that_mentions_govstore_is_spared() -> TestResult {
    let database = Database::new(&[])?;
    let mut editor = Command::new("sh")
        .args(["-c", "read line", "govstore", "serve", "server.py", "mcp_server_std.py"])
        .arg(database.address())
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stale = Server::start(&database, &["--no-heartbeat"]);
    database.age_heartbeat(stale.process_id, 400)?;
    let report = reap(&database.store()?)?;
    assert_eq!(report.events.iter().map(|event| event.pid).collect::<Vec<_>>(), [stale.pid()]);
    stale.wait();
    assert!(editor.try_wait()?.is_none(), "it lives");
    drop(editor.stdin.take());
    editor.wait()?;
    Ok(())
}

#[test]
fn a_wall_clock_that_steps_by_a_day_changes_nothing() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let healthy = Server::start(&database, &DEAF);
    let mut stale = Server::start(&database, &["--no-heartbeat"]);
    database.age_heartbeat(stale.process_id, 400)?;
    let (now, day) = (SystemTime::now(), Duration::from_hours(24));
    for written in [now - day, now + day] {
        let written = Timestamp::from(written);
        database.execute(&format!(
            "UPDATE heartbeats SET beat_at = '{written}';
             UPDATE processes SET registered_at = '{written}';
             UPDATE processes SET last_activity_at = '{written}' WHERE last_activity_at IS NOT NULL"
        ))?;
        let plan = store.reap_plan()?;
        let judged: Vec<_> = plan.judgements.iter().map(|j| j.verdict).collect();
        assert_eq!(judged, [Verdict::Alive, Verdict::Suspect], "written {written}");
    }
    let report = reap(&store)?;
    assert_eq!(report.events.iter().map(|event| event.pid).collect::<Vec<_>>(), [stale.pid()]);
    stale.wait();
    healthy.end();
    Ok(())
}

#[test]
fn a_server_that_follows_longer_settings_until_its_next_beat_is_spared() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "30")])?;
    let store = database.store()?;
    let server = Server::start(&database, &["--deaf"]);
    store.set_setting("heartbeat_interval_s", "0.1")?;
    store.set_setting("stale_after_s", "0.3")?;
    wait_until("its heartbeat to be older than the new settings allow", || {
        store.processes().unwrap()[0].heartbeat_age_s.unwrap() > 0.5
    });
    assert!(store.stale_processes()?.is_empty());
    assert_eq!(judgement(&store, server.process_id)?.0, Verdict::Alive);
    assert!(reap(&store)?.events.is_empty());
    assert_spared(&database, server)
}

/// Stops all these servers, none of them inside a transaction: it would hold the write lock for as long.
fn freeze(database: &Database, servers: &[Server]) -> TestResult {
    let impatient = database.store()?.with_lock_timeout(Duration::from_millis(50));
    loop {
        for server in servers {
            server.stop();
        }
        if impatient.set_setting("limit_policy", "spare").is_ok() {
            return Ok(());
        }
        for server in servers {
            server.signal(rustix::process::Signal::CONT);
        }
    }
}

/// Freezes every server for so long that all heartbeats are stale, thaws them, and sees that all survive,
/// whoever wakes first and scans for the dead.
fn survive_a_freeze(count: usize, options: &[&str]) -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "1"), ("stale_after_s", "3")])?;
    let store = database.store()?;
    let servers: Vec<_> = (0..count).map(|_| Server::start(&database, options)).collect();
    freeze(&database, &servers)?;
    wait_until("all heartbeats to be stale", || store.stale_processes().unwrap().len() == count);
    let report = store.reap()?;
    assert!(report.events.iter().all(|event| event.outcome == Outcome::Postponed), "{report:?}");
    assert_eq!(report.events.len(), count);
    for server in &servers {
        server.signal(rustix::process::Signal::CONT);
    }
    wait_until("all to beat again", || store.stale_processes().unwrap().is_empty());
    thread::sleep(Duration::from_millis(1_500)); // more than an interval: any that scan do it now
    let report = reap(&store)?;
    assert!(report.events.is_empty(), "{report:?}");
    assert_eq!(report.plan.judgements.len(), count);
    assert!(report.plan.judgements.iter().all(|j| j.verdict == Verdict::Alive), "{report:?}");
    assert_eq!(database.count("SELECT count(*) FROM reap_events WHERE outcome <> 'postponed'")?, 0);
    for server in servers {
        assert_spared(&database, server)?;
    }
    Ok(())
}

#[test]
fn nobody_dies_of_a_long_freeze_of_all() -> TestResult {
    survive_a_freeze(5, &["--deaf"])
}

#[test]
fn nobody_dies_of_a_long_freeze_when_all_scan_for_the_dead_as_they_wake() -> TestResult {
    survive_a_freeze(5, &["--deaf", "--agent", "writer", "--every", "10"])
}

#[test]
fn the_first_of_two_to_wake_spares_the_other() -> TestResult {
    // Two are too few to speak of "all at once", but the first one notices that its own heartbeat was late.
    let database = Database::new(&[("heartbeat_interval_s", "4")])?;
    let servers =
        [Server::start(&database, &["--deaf", "--agent", "writer"]), Server::start(&database, &["--deaf"])];
    freeze(&database, &servers)?;
    let [first, second] = servers;
    for server in [&first, &second] {
        database.age_heartbeat(server.process_id, 400)?;
    }
    thread::sleep(Duration::from_secs(4)); // until the first one's next update is to scan for the dead
    first.signal(rustix::process::Signal::CONT);
    wait_until("the first one to scan", || database.count("SELECT count(*) FROM reap_events").unwrap() > 0);
    second.signal(rustix::process::Signal::CONT);
    let store = database.store()?;
    wait_until("the second one to beat", || store.stale_processes().unwrap().is_empty());
    thread::sleep(Duration::from_secs(5)); // and until its next scan
    assert_eq!(database.count("SELECT count(*) FROM reap_events WHERE outcome <> 'postponed'")?, 0);
    let evidence = store.reap_events(u32::MAX)?.remove(0).evidence;
    assert!(evidence.contains("but the reaper's own heartbeat was late"), "{evidence}");
    assert_spared(&database, first)?;
    assert_spared(&database, second)
}

#[test]
fn those_who_stay_frozen_are_ended_an_interval_later() -> TestResult {
    let database = Database::new(&[("heartbeat_interval_s", "1"), ("stale_after_s", "3")])?;
    let store = database.store()?;
    let mut servers: Vec<_> = (0..3).map(|_| Server::start(&database, &["--no-heartbeat"])).collect();
    for server in &servers {
        server.stop();
        database.age_heartbeat(server.process_id, 400)?;
    }
    for _ in 0..3 {
        // Whichever reaper looks, and however often: the first look is noted once, and the wait is from there.
        database.store()?.reap()?;
    }
    assert_eq!(database.count("SELECT count(*) FROM reap_events WHERE outcome = 'postponed'")?, 3);
    wait_until("another reaper to end them", || {
        store.reap().unwrap();
        database.count("SELECT count(*) FROM reap_events WHERE outcome = 'terminated'").unwrap() == 3
    });
    let ledger = store.reap_events(u32::MAX)?;
    let seen = ledger.iter().map(|event| event.recorded_at).min().ok_or("they were seen")?;
    let claimed = ledger.iter().filter_map(|event| event.claimed_at).max().ok_or("they were claimed")?;
    let took_ms = (claimed.to_utc() - seen.to_utc()).num_milliseconds();
    assert!(took_ms >= 990, "they were ended {took_ms} ms after they were first seen");
    for server in &mut servers {
        assert!(server.wait().success());
    }
    Ok(())
}

// What follows needs namespaces or another user, and says so where it can't have them.

#[test]
fn a_process_in_another_pid_namespace_is_spared() -> TestResult {
    if !can("a PID namespace", &["unshare", "--pid", "--fork", "--mount-proc", "true"]) {
        return Ok(());
    }
    let database = Database::new(&[])?;
    let store = database.store()?;
    let elsewhere = Server::launch_command(in_pid_namespace(
        &database,
        true,
        "$SERVER $DB --no-heartbeat --deaf <&3 & wait",
    ))
    .registered();
    database.age_heartbeat(elsewhere.process_id, 400)?;
    let plan = store.reap_plan()?;
    assert!(plan.judgements[0].process.pid < 100, "a PID that means somebody else to us");
    assert_eq!(plan.judgements[0].verdict, Verdict::Unverifiable);
    reap(&store)?;

    // Nor does a reaper over there touch a process over here.
    let here = Server::start(&database, &DEAF);
    database.age_heartbeat(here.process_id, 400)?;
    let mut reaper_elsewhere =
        Server::launch_command(in_pid_namespace(&database, true, "$SERVER $DB <&3 & wait")).registered();
    assert_eq!(reaper_elsewhere.expect_line("r"), "eady", "and nothing was reaped before that");
    reaper_elsewhere.end();
    assert_spared(&database, here)?;
    assert_spared(&database, elsewhere)
}

#[test]
fn where_proc_shows_another_pid_namespace_nobody_is_signalled() -> TestResult {
    if !can("a PID namespace", &["unshare", "--pid", "--fork", "true"]) {
        return Ok(());
    }
    let database = Database::new(&[])?;
    // Without --mount-proc, /proc goes on to show our PIDs, which are wrong over there.
    let script = "$SERVER $DB --no-heartbeat --deaf <&3 &
                  await_go
                  $SERVER $DB --name reaper <&3 & wait";
    let mut both = Server::launch_command(in_pid_namespace(&database, false, script)).registered();
    database.age_heartbeat(both.process_id, 400)?;
    let stale = both.process_id;
    go(&database)?; // the script starts the reaper
    both.expect_line("registered");
    both.expect_line("ready");
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);
    assert_eq!(database.state_of(stale)?, "running");
    both.close_stdin();
    both.wait();
    Ok(())
}

#[test]
fn the_heir_of_a_pid_in_a_fresh_namespace_is_spared() -> TestResult {
    let try_it = "echo 100 > /proc/sys/kernel/ns_last_pid";
    if !can(
        "a PID namespace where PIDs can be chosen",
        &["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", try_it],
    ) {
        return Ok(());
    }
    let database = Database::new(&[("heartbeat_interval_s", "0.05"), ("stale_after_s", "0.3")])?;
    // A server dies by SIGKILL, and its PID comes round to a `sleep`, which a reaper over there must not touch.
    let script = r#"
        echo 499 > /proc/sys/kernel/ns_last_pid
        $SERVER $DB --no-heartbeat <&3 &
        await_go
        kill -9 500; wait 500
        echo 499 > /proc/sys/kernel/ns_last_pid
        sleep 600 &
        [ $! = 500 ] || echo "the heir has PID $!"
        echo "heir $!"
        $SERVER $DB --name reaper <&3
        kill -0 500 && echo "the heir lives"
        kill 500"#;
    let mut shell = Server::launch_command(in_pid_namespace(&database, true, script)).registered();
    let dead = shell.process_id;
    assert_eq!(database.store()?.processes()?[0].pid, 500);
    go(&database)?;
    assert_eq!(shell.expect_line("heir"), "500");
    shell.expect_line("registered");
    let reaped = shell.expect_line("reaped");
    assert_eq!(reaped, "500 exited forgotten");
    shell.expect_line("ready");
    shell.close_stdin();
    shell.expect_line("the heir lives");
    assert_eq!(database.ledger_of(dead)?, [("exited".into(), String::new(), "forgotten".into())]);
    Ok(())
}

#[test]
fn a_process_of_another_user_is_spared() -> TestResult {
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !can("root, to be another user", &[&as_nobody[..], &["true"]].concat()) {
        return Ok(());
    }
    let database = Database::new(&[])?;
    let store = database.store()?;
    let program = share_with_everybody(&database, test_server())?;
    let nobodys = |options: &[&str]| {
        let mut command = Command::new(as_nobody[0]);
        command.args(&as_nobody[1..]).arg(&program).arg(database.address()).args(options);
        Server::launch_command(command).registered()
    };

    let theirs = nobodys(&DEAF);
    database.age_heartbeat(theirs.process_id, 400)?;
    let (verdict, action, evidence) = judgement(&store, theirs.process_id)?;
    assert_eq!((verdict, action), (Verdict::Unverifiable, ReapAction::Leave), "{evidence}");
    assert!(reap(&store)?.events.is_empty(), "not even by root, who could");

    assert_spared(&database, theirs)?;

    let ours = Server::start(&database, &DEAF);
    database.age_heartbeat(ours.process_id, 400)?;
    let mut their_reaper = nobodys(&[]);
    assert_eq!(their_reaper.expect_line("r"), "eady", "and nothing was reaped before that");
    their_reaper.end();
    assert_spared(&database, ours)
}

#[test]
fn a_process_that_procfs_hides_is_not_taken_for_dead() -> TestResult {
    let hidden =
        "mount -t proc -o hidepid=2 proc /proc && setpriv --reuid=65534 --regid=65534 --clear-groups true";
    if !can("root, to mount a /proc that hides", &["unshare", "--mount", "sh", "-c", hidden])
        || cfg!(govstore_portable)
    {
        return Ok(());
    }
    let database = Database::new(&[])?;
    let store = database.store()?;
    let program = share_with_everybody(&database, test_server())?;
    let ours = Server::start(&database, &DEAF);
    database.age_heartbeat(ours.process_id, 400)?;
    let mut blind = Command::new("unshare");
    blind.args(["--mount", "sh", "-c"]);
    blind.arg(format!(
        "{} && exec setpriv --reuid=65534 --regid=65534 --clear-groups {} {}",
        "mount -t proc -o hidepid=2 proc /proc",
        program.display(),
        database.address()
    ));
    let mut blind = Server::launch_command(blind).registered();
    assert_eq!(blind.expect_line("r"), "eady", "and nothing was reaped before that");
    blind.end();
    assert_eq!(database.state_of(ours.process_id)?, "running");
    drop(store);
    assert_spared(&database, ours)
}
