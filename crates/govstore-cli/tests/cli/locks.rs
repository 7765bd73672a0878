//! `locks` and `unlock`, and what a command says that met a lock.

use std::path::Path;
use std::process::Command;

use govstore::Update;

use super::support::{GOVSTORE, Ran, govstore};
use govstore_testkit::{Database, Server, TestResult};

/// Only Linux tells who holds SQLite's write lock.
const TELLS_HOLDER: bool = cfg!(all(target_os = "linux", not(govstore_portable)));

fn run(database: &Database, arguments: &[&str]) -> Ran {
    let mut command = govstore();
    Ran::of(command.arg("--db").arg(database.path()).args(arguments))
}

/// A database with the agent `writer`, a short patience, and a worker.
fn with_worker(name: &str) -> Result<(Database, Server), Box<dyn std::error::Error>> {
    let database = Database::new(&[("lock_timeout_ms", "200")])?;
    database.store()?.process_update("writer", &Update::default())?;
    let worker = Server::worker(&database, &[name]);
    Ok((database, worker))
}

#[test]
fn locks_are_listed_and_taken_away_only_by_force() -> TestResult {
    let (database, mut worker) = with_worker("\u{1b}[2Jeditor")?;
    run(&database, &["unlock", "writer"]).refused(1, &["\"writer\" is not locked"]);
    run(&database, &["unlock", "writer", "--force"]).refused(1, &["\"writer\" is not locked"]);
    run(&database, &["unlock", "nobody", "--force"]).refused(1, &["there is no agent \"nobody\""]);
    assert_eq!(run(&database, &["locks"]).done().stdout, "no agent is locked\n");

    worker.tell("lock writer");
    worker.expect_line("locked");
    let listed = run(&database, &["locks"]).done().stdout;
    let pid = worker.pid().to_string();
    for part in ["AGENT", "writer", &pid, r"\u{1b}[2Jeditor", "running", "told to"] {
        assert!(listed.contains(part), "{part} is missing: {listed}");
    }
    assert!(!listed.contains('\u{1b}'), "a name does nothing to a terminal");
    worker.stop();
    let json = run(&database, &["--json", "locks"]).done().json();
    let lock = &json["locks"][0];
    assert_eq!((&lock["agent_id"], &lock["state"]), (&"writer".into(), &"stopped".into()));
    assert_eq!((&lock["pid"], &lock["token"]), (&worker.pid().into(), &1.into()));

    let holder = format!("PID {pid} (");
    run(&database, &["unlock", "writer"]).refused(2, &[&holder, "stopped", "--force"]);
    let taken =
        run(&database, &["--json", "unlock", "writer", "--force", "--reason", "it hangs"]).done().json();
    assert_eq!(taken["lock"]["pid"], worker.pid());
    assert!(taken["message"].as_str().is_some_and(|message| message.contains(&holder)));
    run(&database, &["update", "writer"]).done();
    let events = run(&database, &["--json", "agent", "writer"]).done().json()["events"].clone();
    let unlocked = events.as_array().and_then(|events| events.last()).cloned().unwrap_or_default();
    assert_eq!(unlocked["event"], "unlocked");
    assert!(unlocked["reason"].as_str().is_some_and(|reason| reason.ends_with("it hangs")));
    assert!(run(&database, &["agent", "writer"]).done().stdout.contains("unlocked"));
    Ok(())
}

#[test]
fn the_command_that_takes_a_lock_away_can_be_run_as_it_is_printed() -> TestResult {
    let (database, mut worker) = with_worker("editor")?;
    for agent in ["writer", "it's-a-$HOME-`writer`", "-writer", "schöne*agents"] {
        database.store()?.process_update(agent, &Update::default())?;
        worker.tell(&format!("lock {agent}"));
        worker.expect_line("locked");
        let refused = run(&database, &["update", "--", agent]).refused(4, &["stayed locked"]);
        let (_, rest) = refused.stderr.split_once("with `").ok_or("a command")?;
        let (line, _) = rest.rsplit_once('`').ok_or("its end")?;
        let mut shell = Command::new("sh");
        let binary = Path::new(GOVSTORE).parent().ok_or("a folder")?;
        let path = format!("{}:{}", binary.display(), std::env::var("PATH")?);
        shell.args(["-c", line]).env("PATH", path).env("GOVSTORE_DB", database.path());
        let said = Ran::of(&mut shell).done().stdout;
        assert!(said.starts_with(&format!("{agent} is unlocked")), "{line}: {said}");
    }
    Ok(())
}

#[test]
fn a_command_that_meets_a_lock_names_the_holder_and_exits_with_4() -> TestResult {
    let (database, mut worker) = with_worker("editor")?;
    worker.tell("lock writer");
    worker.expect_line("locked");
    let named = format!("PID {} (editor", worker.pid());
    for command in [&["update", "writer"][..], &["note", "writer", "x"], &["reset", "writer"]] {
        run(&database, command).refused(4, &["\"writer\" stayed locked for 0.2 s", &named]);
    }
    let refused = run(&database, &["--json", "update", "writer"]).refused(4, &[]).json();
    assert_eq!(refused["holder"]["pid"], worker.pid());
    assert_eq!(
        (&refused["holder"]["name"], &refused["holder"]["state"]),
        (&"editor".into(), &"running".into())
    );
    assert!(refused["holder"]["held_for_s"].as_f64().is_some_and(|held_for_s| held_for_s >= 0.2));
    worker.tell("release writer");
    worker.expect_line("released");

    worker.tell("write-slowly writer");
    worker.expect_line("inside");
    worker.stop();
    let refused = run(&database, &["--json", "update", "writer"]).refused(4, &["stayed locked for 0.2 s"]);
    if TELLS_HOLDER {
        let wake = format!("kill -CONT {}", worker.pid());
        assert!(refused.stderr.contains(&wake) && refused.stderr.contains(&named), "{refused:?}");
        assert_eq!(refused.json()["holder"]["state"], "stopped");
    }
    Ok(())
}
