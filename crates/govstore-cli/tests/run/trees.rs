//! Whatever happens, nothing is left of a tree. `GOVSTORE_RUN_TREES=100` is the full size.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::TestResult;
use crate::tree::{Home, Hostile, kill};

/// How often each end is tried.
fn rounds() -> usize {
    std::env::var("GOVSTORE_RUN_TREES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

/// Ends a hostile tree in one way, again and again.
fn ends_in_every_round(
    start: impl Fn() -> TestResult<Hostile>,
    mut end: impl FnMut(&mut Hostile) -> TestResult,
) -> TestResult {
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds() {
        let mut tree = start()?;
        end(&mut tree)?;
        slowest = slowest.max(tree.wait_until_nothing_is_left()?);
    }
    eprintln!("nothing left in {} rounds, after {slowest:.2?} at most", rounds());
    Ok(())
}

#[test]
fn nothing_is_left_when_the_client_closes_its_end() -> TestResult {
    ends_in_every_round(Hostile::start, |tree| {
        drop(tree.stdin.take());
        Ok(())
    })
}

#[test]
fn nothing_is_left_when_the_client_is_killed_and_another_holds_its_pipe() -> TestResult {
    ends_in_every_round(Hostile::start_by_client, |tree| Ok(tree.started.kill()?))
}

#[test]
fn nothing_is_left_when_the_front_is_killed() -> TestResult {
    ends_in_every_round(Hostile::start, |tree| kill(tree.front, Signal::KILL))
}

#[test]
fn nothing_is_left_when_the_keeper_is_killed() -> TestResult {
    ends_in_every_round(Hostile::start, |tree| kill(tree.keeper, Signal::KILL))
}

#[test]
fn nothing_is_left_when_the_server_crashes() -> TestResult {
    ends_in_every_round(Hostile::start, |tree| kill(tree.server, Signal::SEGV))
}

/// As clients do with a server that doesn't end.
#[test]
fn nothing_is_left_when_the_fronts_group_is_killed() -> TestResult {
    ends_in_every_round(Hostile::start, |tree| {
        let group = Pid::from_raw(tree.front).ok_or("no PID")?;
        Ok(kill_process_group(group, Signal::KILL)?)
    })
}

#[test]
fn nothing_is_left_when_a_signal_asks_for_an_end() -> TestResult {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        ends_in_every_round(Hostile::start, |tree| kill(tree.front, signal))?;
    }
    Ok(())
}

/// A client that is killed while the server starts: at any moment of that, from the first on.
#[test]
fn nothing_is_left_when_the_client_is_killed_during_the_start() -> TestResult {
    let home = Home::new()?;
    for round in 0..10 * u64::try_from(rounds())? {
        let server = ["sh", "-c", "sleep 600 & setsid sleep 601 & sleep 602"];
        let mut client = home.client(r#""$@" & wait"#, ["0.1", "0.1"], &server);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        sleep(Duration::from_millis(round * 7 % 60));
        client.kill()?;
        client.wait()?;
        home.wait_until_nothing_is_left()?;
    }
    Ok(())
}

/// Nobody is left who knows of the tree but the database: the next reaper finds it by its run id.
#[test]
fn nothing_is_left_after_the_next_reap_when_front_and_keeper_are_killed_at_once() -> TestResult {
    ends_in_every_round(Hostile::start, |tree| {
        // Stopped first, so that neither gets to see the other's end.
        for guardian in [tree.front, tree.keeper] {
            kill(guardian, Signal::STOP)?;
        }
        kill(tree.keeper, Signal::KILL)?;
        kill(tree.front, Signal::KILL)?;
        tree.started.wait()?;
        assert!(tree.home.left().len() >= 4, "the tree is left, but for the server");

        let other = Home::new()?; // a reaper outside of the tree, that has not the mark
        let mut reap = other.govstore();
        let output = reap.args(["--json", "--db"]).arg(tree.home.database()).arg("reap").output()?;
        let reaped: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let event = &reaped["events"][0];
        assert_eq!(event["verdict"], "orphaned", "{reaped}");
        assert_eq!(
            (&event["outcome"], &event["signals"]),
            (&"killed".into(), &"TERM CONT KILL".into()),
            "{event}"
        );
        assert!(tree.home.left().is_empty(), "nothing is left once it has returned");
        Ok(())
    })
}

/// A row that names the run of a living server harms nobody: its guardians are there.
#[test]
fn a_forged_row_ends_nobody() -> TestResult {
    let mut tree = Hostile::start()?;
    let connection = rusqlite::Connection::open(tree.home.database())?;
    let mut gone = Command::new("true").spawn()?;
    gone.wait()?;
    for (forged, (pid, start)) in (1..).zip([("?1", "start_ticks"), ("pid", "start_ticks + 1 + 0 * ?1")]) {
        connection.execute(
            &format!(
                "INSERT INTO processes (name, version, pid, host_id, boot_id, pid_namespace, time_namespace, start_ticks, uid,
                                        registered_at, last_activity_monotonic_ms, run_id)
                 SELECT 'forged', '', {pid}, host_id, boot_id, pid_namespace, time_namespace, {start}, uid,
                        registered_at, last_activity_monotonic_ms, run_id FROM processes WHERE process_id = 1"
            ),
            [gone.id()],
        )?;
        tree.home.govstore().arg("reap").output()?; // or the front itself, which reaps when it starts
        let sql = "SELECT count(*) FROM processes WHERE name = 'forged' AND state = 'exited'";
        let forgotten: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        assert_eq!(forgotten, forged, "it is forgotten");
        assert_eq!(tree.running(), 7);
    }
    // Nor does it once the front is stopped, or its row is gone.
    connection.execute_batch("DELETE FROM heartbeats; DELETE FROM processes WHERE name <> 'forged'; UPDATE processes SET state = 'running', ended_at = NULL;")?;
    tree.home.govstore().arg("reap").output()?;
    assert_eq!(tree.running(), 7, "the keeper is there");
    drop(tree.stdin.take());
    tree.wait_until_nothing_is_left()?;
    Ok(())
}
