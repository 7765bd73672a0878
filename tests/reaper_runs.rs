//! Wrapped servers whose front and keeper were both killed: what is left is ended, and nobody else.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use govstore::{Outcome, ReapAction, RunId, Verdict};
use govstore_testkit::{Database, Server, TestResult, state_letter};

/// A program that says its PID, and then sleeps for as long as a test may take.
const SLEEPER: &str = "echo $$; exec sleep 120";

const NOBODY: [u32; 0] = [];

/// Processes that a shell has started, and that it leaves.
struct Tree {
    shell: Child,
    pids: Vec<u32>,
}

impl Tree {
    /// Waits until `count` processes of `script` have said their PIDs.
    fn start(script: &str, variables: &[(&str, &str)], count: usize) -> TestResult<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env_remove(RunId::VARIABLE).envs(variables.iter().copied());
        command.env("SLEEPER", SLEEPER).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut shell = command.spawn()?;
        let lines = BufReader::new(shell.stdout.take().ok_or("no output")?).lines();
        let pids = lines.take(count).map(|line| Ok(line?.parse()?)).collect::<TestResult<Vec<u32>>>()?;
        assert_eq!(pids.len(), count);
        Ok(Self { shell, pids })
    }

    fn left(&self) -> Vec<u32> {
        let lives = |pid: &&u32| state_letter(**pid).is_some_and(|state| state != 'Z' && state != 'X');
        self.pids.iter().filter(lives).copied().collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for pid in self.left() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A registered process that was the front of a run and has been killed. Returns its row's number.
fn killed_front(database: &Database, run_id: RunId) -> TestResult<i64> {
    let mut front = Server::start(database, &["--no-heartbeat"]);
    say_that_it_wraps(database, front.process_id, run_id)?;
    front.crash();
    Ok(front.process_id)
}

fn say_that_it_wraps(database: &Database, process_id: i64, run_id: RunId) -> TestResult {
    database.execute(&format!("UPDATE processes SET run_id = '{run_id}' WHERE process_id = {process_id}"))
}

#[test]
fn what_is_left_of_a_run_is_ended_wherever_it_went() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let run_id = RunId::random();
    // In another session, without a parent, and deaf to SIGTERM.
    let script =
        r#"setsid sh -c "$SLEEPER" & (sh -c "$SLEEPER" &); (sh -c "trap '' TERM; $SLEEPER" &); wait"#;
    let tree = Tree::start(script, &[(RunId::VARIABLE, &run_id.to_string())], 3)?;
    let process_id = killed_front(&database, run_id)?;

    let report = database.store()?.reap()?;
    let [event] = &report.events[..] else { panic!("{report:?}") };
    assert_eq!((event.verdict, event.outcome), (Verdict::Orphaned, Outcome::Killed), "{event:?}");
    for pid in &tree.pids {
        assert!(event.evidence.contains(&format!("PID {pid}")), "{}", event.evidence);
    }
    assert_eq!(tree.left(), NOBODY, "nothing is left once it has returned");
    assert_eq!(database.state_of(process_id)?, "killed");
    let ledger = database.ledger_of(process_id)?;
    assert_eq!(ledger, [("orphaned".to_owned(), "TERM CONT KILL".to_owned(), "killed".to_owned())]);
    assert!(database.store()?.reap()?.events.is_empty(), "nothing is left to do");
    Ok(())
}

#[test]
fn what_is_left_of_a_run_is_asked_to_end_first() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "60000")])?;
    let run_id = RunId::random();
    let tree = Tree::start(r#"(sh -c "$SLEEPER" &)"#, &[(RunId::VARIABLE, &run_id.to_string())], 1)?;
    killed_front(&database, run_id)?;
    let report = database.store()?.reap()?;
    assert_eq!(report.events[0].outcome, Outcome::Terminated, "{report:?}");
    assert_eq!(tree.left(), NOBODY);
    Ok(())
}

#[test]
fn a_run_whose_keeper_lives_is_left_to_it() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let run_id = RunId::random();
    let tree = Tree::start(r#"(sh -c "$SLEEPER" &)"#, &[(RunId::VARIABLE, &run_id.to_string())], 1)?;
    let keeper = Tree::start(SLEEPER, &[(RunId::KEEPER_VARIABLE, &run_id.to_string())], 1)?;
    let process_id = killed_front(&database, run_id)?;

    let report = database.store()?.reap()?;
    assert!(report.events.is_empty(), "{report:?}");
    let judgement = &report.plan.judgements[0];
    assert_eq!((judgement.verdict, judgement.action), (Verdict::Orphaned, ReapAction::Leave));
    assert!(judgement.evidence.contains("keeper"), "{}", judgement.evidence);
    assert_eq!((tree.left().len(), keeper.left().len()), (1, 1));

    drop(keeper);
    assert_eq!(database.store()?.reap()?.events.len(), 1);
    assert_eq!(tree.left(), NOBODY);
    assert_ne!(database.state_of(process_id)?, "running");
    Ok(())
}

#[test]
fn only_the_very_variable_makes_a_process_one_of_a_run() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let run_id = RunId::random();
    let other = RunId::random();
    let id = run_id.to_string();
    let (longer, wider) = (format!("{id}0"), format!("x {}={id}", RunId::VARIABLE));
    let strangers = [
        Tree::start(SLEEPER, &[(RunId::VARIABLE, &other.to_string())], 1)?,
        Tree::start(SLEEPER, &[(RunId::VARIABLE, &longer)], 1)?,
        Tree::start(SLEEPER, &[("NOT_GOVSTORE_RUN_ID", &id), ("TEXT", &wider)], 1)?,
        // In its command line, as a search for the process has it.
        Tree::start(
            &format!("echo $$; exec tail -qf /dev/null {}={id} >/dev/null 2>&1", RunId::VARIABLE),
            &[],
            1,
        )?,
        // It had it, and dropped it.
        Tree::start(r#"exec env -i sh -c "$SLEEPER""#, &[(RunId::VARIABLE, &id)], 1)?,
    ];
    let process_id = killed_front(&database, run_id)?;
    let report = database.store()?.reap()?;
    assert_eq!(report.events[0].outcome, Outcome::Forgotten, "{report:?}");
    assert_eq!(database.state_of(process_id)?, "exited");
    for stranger in &strangers {
        assert_eq!(stranger.left().len(), 1, "{:?}", stranger.pids);
    }
    Ok(())
}

#[test]
fn a_row_that_names_the_run_of_a_living_front_ends_nobody() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let run_id = RunId::random();
    let tree = Tree::start(r#"(sh -c "$SLEEPER" &)"#, &[(RunId::VARIABLE, &run_id.to_string())], 1)?;
    let front = Server::start(&database, &[]);
    say_that_it_wraps(&database, front.process_id, run_id)?;
    let forged = killed_front(&database, run_id)?;

    database.store()?.reap()?; // or the front has, which looks for others, too
    let ledger = database.ledger_of(forged)?;
    assert_eq!(ledger.iter().map(|(_, _, outcome)| outcome.as_str()).collect::<Vec<_>>(), ["forgotten"]);
    assert_eq!(database.state_of(forged)?, "exited");
    assert_eq!(database.state_of(front.process_id)?, "running");
    assert_eq!(tree.left().len(), 1);
    front.end();
    Ok(())
}

#[test]
fn of_two_reapers_one_ends_what_is_left() -> TestResult {
    let database = Database::new(&[("terminate_grace_ms", "200")])?;
    let run_id = RunId::random();
    let script = r#"(sh -c "trap '' TERM; $SLEEPER" &)"#;
    let tree = Tree::start(script, &[(RunId::VARIABLE, &run_id.to_string())], 1)?;
    let process_id = killed_front(&database, run_id)?;
    let stores = [database.store()?, database.store()?];
    thread::scope(|scope| {
        let reapers = stores.each_ref().map(|store| scope.spawn(|| store.reap()));
        for reaper in reapers {
            assert!(reaper.join().is_ok_and(|report| report.is_ok()));
        }
    });
    assert_eq!(tree.left(), NOBODY);
    assert_eq!(database.ledger_of(process_id)?.len(), 1);
    Ok(())
}
