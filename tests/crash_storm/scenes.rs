//! The scenes that a storm is made of, but for those about a file. Each returns how its processes died.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::child::{CRASH_AT, Order, Program, Remains};
use crate::fate::Fate;
use crate::inspection::Ledger;
use govstore_testkit::{Database, Server, TestResult, wait_until};

/// Causes of death, in words, one for each process.
pub type Deaths = Vec<String>;

pub type Scene = TestResult<Deaths>;

const CREW: [Program; 5] =
    [Program::Serve, Program::Worker, Program::Server, Program::Serve, Program::Worker];

/// Some processes at work on the same agents, each killed at an instant or at a point of its own.
pub fn at_random(database: &Database, ledger: &mut Ledger<'_>, random: &mut fastrand::Rng) -> Scene {
    let orders = CREW.iter().enumerate();
    let orders = orders.map(|(slot, program)| Order { program: *program, slot, fate: Fate::random(random) });
    let dead = carry_out(database, orders.collect());
    inspect(ledger, dead)
}

pub fn carry_out(database: &Database, orders: Vec<Order>) -> Vec<Remains> {
    thread::scope(|scope| {
        let lives: Vec<_> =
            orders.into_iter().map(|order| scope.spawn(|| order.carry_out(database))).collect();
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    })
}

pub fn inspect(ledger: &mut Ledger<'_>, dead: Vec<Remains>) -> Scene {
    let deaths = dead.iter().map(|remains| remains.cause.clone()).collect();
    ledger.bury(dead);
    ledger.inspect()?;
    Ok(deaths)
}

/// A reaper dies when it has claimed its victim, or has ended it and not said so yet. The next one goes on.
pub fn during_a_reaping() -> Scene {
    let mut deaths = Deaths::new();
    for (point, is_victim_alive) in [("between claim and signal", true), ("between signal and record", false)]
    {
        let database = Database::new(&[])?;
        let mut victim = Server::start(&database, &["--no-heartbeat"]);
        database.age_heartbeat(victim.process_id, 400)?;
        let mut reaper = govstore(&database, &["reap"], Some(point))?;
        assert_killed(&mut reaper);
        deaths.push(point.to_owned());
        assert_eq!(database.state_of(victim.process_id)?, "terminating", "after its second look");
        assert_eq!(victim.has_ended(), !is_victim_alive);

        succeeds(&database, &["reap"])?;
        victim.wait();
        let state = database.state_of(victim.process_id)?;
        assert!(!["running", "terminating"].contains(&state.as_str()), "the victim is {state}");
        assert_eq!(database.ledger_of(victim.process_id)?.len(), 1, "one reaper says so, once");
        database.assert_sound()?;
    }
    Ok(deaths)
}

/// Starts the command, which is to die at a point if one is given.
pub fn govstore(database: &Database, arguments: &[&str], crash_at: Option<&str>) -> std::io::Result<Child> {
    let mut command = Command::new(govstore_testkit::govstore());
    command.args(["--db", &database.address()]).args(arguments).env_remove(CRASH_AT);
    if let Some(point) = crash_at {
        command.env(CRASH_AT, point);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

pub fn succeeds(database: &Database, arguments: &[&str]) -> TestResult {
    let mut child = govstore(database, arguments, None)?;
    wait_until("a command to end", || child.try_wait().unwrap().is_some());
    let status = child.wait()?;
    assert!(status.success(), "{arguments:?}: {status}");
    Ok(())
}

pub fn assert_killed(child: &mut Child) {
    wait_until("a child to die", || child.try_wait().unwrap().is_some());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
}
