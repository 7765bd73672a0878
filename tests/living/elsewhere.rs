//! Others that can't be judged from here, and reapers that can't judge us: in other PID and time namespaces, of another
//! user; and rows of processes that never were servers.

use std::process::Command;
use std::{fs, thread};

use govstore::Verdict;

use crate::{SETTINGS, assert_no_signal, done, govstore};
use govstore_testkit::{
    Database, PID_NAMESPACE, Server, TestResult, can, in_pid_namespace, share_with_everybody, test_server,
    wait_until,
};

const MANY: usize = 9;

/// A script that starts as many servers as there may be, with the test's stdin (3).
const START_NINE: &str =
    "for n in 1 2 3 4 5 6 7 8 9; do \"$SERVER\" \"$DB\" --no-reap --name elsewhere <&3 & done; wait";

/// Starts those nine, and waits until all are registered.
fn nine(database: &Database, command: Command) -> govstore::Result<Server> {
    let store = database.store()?;
    let nine = Server::launch_command(command).unannounced();
    wait_until("nine to register", || store.processes().unwrap().len() == MANY);
    Ok(nine)
}

/// Beside nine that can't be ended from here, nobody here is: neither for a newcomer nor by `govstore reap`.
fn the_one_here_lives(database: &Database) -> TestResult {
    let store = database.store()?;
    for policy in ["spare", "evict"] {
        store.set_setting("limit_policy", policy)?;
        let mut in_use = Server::start(database, &["--agent", "writer", "--every", "50"]);
        in_use.expect_line("updated");
        // One that would have to go, were those elsewhere counted.
        let idle = Server::start(database, &[]);
        database.age_activity(idle.process_id, 400)?;
        for _ in 0..3 {
            let mut newcomer = Server::start(database, &[]);
            newcomer.expect_line("ready");
            done(govstore(database, &["reap"]));
            newcomer.ask_to_reap();
            newcomer.expect_line("ready");
            newcomer.end();
        }
        let plan = store.reap_plan()?;
        assert_eq!(plan.occupants().count(), 2, "{policy}: those elsewhere hold no place: {plan:?}");
        let elsewhere = plan.judgements.iter().filter(|judgement| judgement.process.name == "elsewhere");
        let verdicts: Vec<_> = elsewhere.map(|judgement| judgement.verdict).collect();
        assert_eq!(verdicts, [Verdict::Unverifiable; MANY]);
        in_use.end(); // which also shows that nobody had ended it
        idle.end();
        assert_no_signal(database)?;
    }
    Ok(())
}

#[test]
fn nine_in_another_pid_namespace_cost_nobody_here_his_life() -> TestResult {
    if !can("a PID namespace", &[&PID_NAMESPACE[..], &["--mount-proc", "true"]].concat()) {
        return Ok(());
    }
    let database = Database::new(&[])?;
    let mut nine = nine(&database, in_pid_namespace(&database, true, START_NINE))?;
    the_one_here_lives(&database)?;
    nine.close_stdin();
    nine.wait();
    Ok(())
}

#[test]
fn nine_whose_namespace_was_killed_cost_nobody_here_his_life() -> TestResult {
    let killable = [&PID_NAMESPACE[..], &["--kill-child", "--mount-proc", "true"]].concat();
    if !can("a PID namespace that ends with its parent", &killable) {
        return Ok(());
    }
    let database = Database::new(&SETTINGS)?;
    let mut container = Command::new(PID_NAMESPACE[0]);
    container.args(&PID_NAMESPACE[1..]).args(["--kill-child", "--mount-proc", "sh", "-c"]);
    container
        .arg(format!("exec 3<&0\n{START_NINE}"))
        .env("SERVER", test_server())
        .env("DB", database.address());
    let mut nine = nine(&database, container)?;
    nine.crash();
    nine.rest_until_end(); // until nobody is left who has its stdout
    let store = database.store()?;
    wait_until("their heartbeats to be old", || store.stale_processes().unwrap().len() == MANY);
    the_one_here_lives(&database)
}

#[test]
fn nine_of_another_user_cost_nobody_here_his_life() -> TestResult {
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !can("root, to be another user", &[&as_nobody[..], &["true"]].concat()) {
        return Ok(());
    }
    let database = Database::new(&[])?;
    let _open = database.store()?;
    let theirs = share_with_everybody(&database, test_server())?;
    let mut command = Command::new(as_nobody[0]);
    command.args(&as_nobody[1..]).args(["sh", "-c", &format!("exec 3<&0\n{START_NINE}")]);
    command.env("SERVER", theirs).env("DB", database.address());
    let mut nine = nine(&database, command)?;
    the_one_here_lives(&database)?;
    nine.close_stdin();
    nine.wait();
    Ok(())
}

/// A command in a time namespace of its own, where a clock is ahead.
fn in_time_namespace(clock: &str, command: &Command) -> Command {
    let mut there = Command::new("unshare");
    there.args(["--time", "--fork", clock, "1000"]).arg(command.get_program()).args(command.get_args());
    there
}

/// A reaper whose clock is ahead by more than any heartbeat may be old.
fn nobody_is_harmed_by_a_reaper_whose_clock_is_ahead(clock: &str) -> TestResult {
    if !can("a time namespace", &["unshare", "--time", "--fork", clock, "1000", "true"]) {
        return Ok(());
    }
    let database = Database::new(&[("lock_timeout_ms", "1000")])?;
    let store = database.store()?;
    let mut holder = Server::worker(&database, &[]);
    holder.tell("update writer\nlock writer");
    holder.expect_line("locked");
    let mut server = Server::start(&database, &["--agent", "other"]);
    let process_ids = [holder.process_id, server.process_id];

    let mut example_server = Command::new(test_server());
    example_server.arg(database.address()).args(["--name", "reaper"]);
    let mut reaper = Server::launch_command(in_time_namespace(clock, &example_server)).registered();
    for _ in 0..3 {
        done(in_time_namespace(clock, &govstore(&database, &["reap"])));
        reaper.ask_to_reap();
        reaper.expect_line("ready");
    }
    let update = in_time_namespace(clock, &govstore(&database, &["update", "writer"])).output()?;
    let said = String::from_utf8(update.stderr)?;
    assert!(!update.status.success() && said.contains("stayed locked"), "{said}");
    // Nor does one here harm those over there.
    done(govstore(&database, &["reap"]));
    let registered: Vec<_> = store.processes()?.iter().map(|process| process.process_id).collect();
    assert_eq!(registered, [process_ids[0], process_ids[1], reaper.process_id], "none is forgotten");
    assert_eq!(database.count("SELECT count(*) FROM reap_events")?, 0);

    reaper.end();
    holder.tell("release writer");
    holder.expect_line("released");
    server.expect_line("updated");
    server.end();
    Ok(())
}

#[test]
fn a_reaper_whose_monotonic_clock_is_ahead_harms_nobody() -> TestResult {
    nobody_is_harmed_by_a_reaper_whose_clock_is_ahead("--monotonic")
}

#[test]
fn a_reaper_whose_boot_clock_is_ahead_harms_nobody() -> TestResult {
    nobody_is_harmed_by_a_reaper_whose_clock_is_ahead("--boottime")
}

#[test]
fn a_forged_row_never_aims_a_signal() -> TestResult {
    let database = Database::new(&[])?;
    let mut bystander = Command::new("sleep").arg("600").spawn()?;
    let mut stale = Server::start(&database, &["--no-heartbeat"]);
    let stat = fs::read_to_string(format!("/proc/{}/stat", bystander.id()))?;
    let start_ticks: i64 =
        stat.rsplit_once(") ").ok_or("a stat")?.1.split(' ').nth(19).ok_or("a start")?.parse()?;
    // All that can be known of it is right: boot, namespaces, user, PID and start.
    let pid = bystander.id();
    let forged = database.count(&format!(
        "INSERT INTO processes (name, version, pid, host_id, boot_id, pid_namespace, time_namespace, start_ticks, uid,
                                registered_at, last_activity_monotonic_ms)
         SELECT 'forged', version, {pid}, host_id, boot_id, pid_namespace, time_namespace, {start_ticks}, uid,
                registered_at, last_activity_monotonic_ms
         FROM processes RETURNING process_id"
    ))?;
    database.execute(&format!(
        "INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
         SELECT {forged}, boot_id, monotonic_ms, beat_at, interval_ms FROM heartbeats"
    ))?;
    for process_id in [stale.process_id, forged] {
        database.age_heartbeat(process_id, 400)?;
    }
    let reaps: Vec<_> = (0..2).map(|_| govstore(&database, &["reap"])).collect();
    thread::scope(|scope| reaps.into_iter().for_each(|reap| drop(scope.spawn(|| done(reap)))));
    done(govstore(&database, &["reap"]));
    assert!(stale.wait().success(), "the one beside it, which is a server, was ended");
    assert_eq!(database.ledger_of(stale.process_id)?[0].2, "terminated");
    assert!(bystander.try_wait()?.is_none(), "it lives");
    assert_eq!(database.ledger_of(forged)?, []);
    let judged = database.store()?.reap_plan()?.judgements.remove(0);
    assert!(judged.evidence.contains("does not have this database open"), "{}", judged.evidence);
    bystander.kill()?;
    bystander.wait()?;
    Ok(())
}
