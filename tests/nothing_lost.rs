//! No acknowledged update is ever lost, and none is applied twice: threads, processes, `kill -9`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use govstore::{AgentFilter, Store, Update};
use govstore_testkit::{Database, TestResult, wait_until};
use serde_json::Value;

const WRITERS: usize = 8;
const UPDATES: usize = 200;
/// Lines that `apply` puts into one batch at most.
const LINES_OF_A_BATCH: usize = 512;

fn assert_gap_free(database: &Database) -> TestResult {
    database.assert_numbered_without_gaps()?;
    database.assert_sound()
}

fn totals(store: &Store) -> Result<Vec<i64>, govstore::Error> {
    Ok(store.agents(&AgentFilter::default())?.iter().map(|agent| agent.total_updates).collect())
}

#[test]
fn eight_threads_lose_nothing_on_one_agent_or_on_eight() -> TestResult {
    for agents in [1, WRITERS] {
        let database = Database::unopened()?;
        let store = database.store()?;
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..UPDATES {
                        store
                            .process_update(&format!("agent-{}", writer % agents), &Update::default())
                            .expect("an update");
                    }
                });
            }
        });
        let expected = i64::try_from(WRITERS * UPDATES / agents)?;
        assert_eq!(totals(&store)?, vec![expected; agents]);
        assert_gap_free(&database)?;
    }
    Ok(())
}

#[test]
fn eight_processes_lose_nothing_on_one_agent_or_on_eight() -> TestResult {
    for agents in [1, WRITERS] {
        let database = Database::unopened()?;
        let mut children = Vec::new();
        for writer in 0..WRITERS {
            let lines = database.folder().join(format!("{writer}.jsonl"));
            write_lines(&lines, &format!("agent-{}", writer % agents), UPDATES)?;
            children.push(apply(&database, &lines, Stdio::null())?);
        }
        for mut child in children {
            assert!(child.wait()?.success());
        }
        let expected = i64::try_from(WRITERS * UPDATES / agents)?;
        assert_eq!(totals(&database.store()?)?, vec![expected; agents]);
        assert_gap_free(&database)?;
    }
    Ok(())
}

#[test]
fn every_printed_update_is_there_when_writers_are_killed_at_random() -> TestResult {
    let database = Database::unopened()?;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);

    let lines = database.folder().join("updates.jsonl");
    write_lines(&lines, "shared", 100_000)?; // more than a process lives to apply
    let mut printed = Vec::new();
    let mut killed: usize = 0;
    for round in 0..5 {
        let mut children: Vec<(Child, std::path::PathBuf)> = Vec::new();
        for writer in 0..4 {
            let out = database.folder().join(format!("{round}-{writer}.out"));
            children.push((apply(&database, &lines, Stdio::from(File::create(&out)?))?, out));
        }
        for (mut child, out) in children {
            // Not before it has printed something: else nothing is tried.
            wait_until("the writer to print", || fs::metadata(&out).is_ok_and(|m| m.len() > 0));
            thread::sleep(Duration::from_micros(rng.u64(..60_000)));
            child.kill()?; // SIGKILL, to a child of this test
            child.wait()?;
            killed += 1;
            // A line that was cut by the kill was not printed.
            let text = fs::read_to_string(&out)?;
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            for line in whole.lines() {
                let result: Value = serde_json::from_str(line)?;
                assert_eq!(result["success"], true, "{line}");
                printed.push(result["metrics"]["total_updates"].as_i64().ok_or("no total")?);
            }
        }
        assert_gap_free(&database)?;
    }
    printed.sort_unstable();
    let acknowledged = printed.len();
    assert!(acknowledged > killed, "{acknowledged} updates by {killed} writers");
    printed.dedup();
    assert_eq!(printed.len(), acknowledged, "two processes were told the same update_no");

    // Everything printed is there; beyond it, at most what each kill cut off from its print: a batch that is printed, one
    // that waits to be, and one that was just committed.
    let stored = usize::try_from(totals(&database.store()?)?[0])?;
    let last = usize::try_from(*printed.last().ok_or("nothing printed")?)?;
    assert!(last <= stored, "{last} was printed, {stored} are stored");
    assert!(
        (acknowledged..=acknowledged + killed * 3 * LINES_OF_A_BATCH).contains(&stored),
        "{acknowledged} were printed, {stored} are stored, {killed} writers were killed"
    );
    Ok(())
}

fn write_lines(path: &Path, agent_id: &str, count: usize) -> TestResult {
    let line = serde_json::json!({
        "agent_id": agent_id, "parameters": [0.5, 0.4, 0.7], "response_text": "done", "complexity": 0.2,
    });
    fs::write(path, format!("{line}\n").repeat(count))?;
    Ok(())
}

fn apply(database: &Database, lines: &Path, stdout: Stdio) -> std::io::Result<Child> {
    Command::new(govstore_testkit::govstore())
        .args(["--json", "--db", &database.address(), "apply"])
        .arg(lines)
        .stdout(stdout)
        .spawn()
}
