//! Bytes that are not what they were, in the database, its log or its index: never a panic, a hang, or an answer
//! that hides it where SQLite can see it. What it can't see is stated here too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use govstore::{AgentFilter, CheckStatus, Error, Store, Update};
use rusqlite::Connection;

use govstore_testkit::{Database, Server, TestResult};

/// Updates of each agent in the databases that are damaged.
const AGENTS: [(&str, i64); 3] = [("a", 40), ("b", 25), ("c", 1)];

/// A folder with the three files as they are when every process was killed: `-wal` and `-shm` still there.
fn after_a_crash() -> Result<Database, Box<dyn std::error::Error>> {
    let database = Database::new(&[])?;
    let mut worker = Server::worker(&database, &["doomed"]);
    for (agent_id, updates) in AGENTS {
        for n in 1..=updates {
            worker.tell(&format!("update {agent_id}"));
            assert_eq!(worker.expect_line("updated"), n.to_string());
        }
    }
    worker.crash();
    assert!(fs::metadata(beside(&database.path(), "-wal"))?.len() > 0);
    Ok(database)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// How often each agent was updated, by its history, which must have no gap; and the file must be whole.
fn updates_by_agent(path: &Path) -> Result<BTreeMap<String, i64>, Box<dyn std::error::Error>> {
    let store = Store::open(path)?;
    for check in store.check().into_iter().filter(|check| check.name != "permissions") {
        assert_eq!(check.status, CheckStatus::Ok, "{check:?}");
    }
    let agents = store.agents(&AgentFilter::default())?;
    Ok(agents.into_iter().map(|agent| (agent.agent_id, agent.total_updates)).collect())
}

fn all() -> BTreeMap<String, i64> {
    AGENTS.into_iter().map(|(agent_id, updates)| (agent_id.to_owned(), updates)).collect()
}

/// Seeded, so that what fails once fails again.
fn seeded(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed)
}

/// The index holds nothing that isn't in the log. Where nobody lives, it is made anew.
#[test]
fn an_index_that_is_gone_or_noise_costs_nothing() -> TestResult {
    let database = after_a_crash()?;
    let (path, shm) = (database.path(), beside(&database.path(), "-shm"));
    let files = ["", "-wal"].map(|suffix| (beside(&path, suffix), fs::read(beside(&path, suffix)).unwrap()));
    let index = fs::read(&shm)?;
    let mut random = seeded(1);
    let noise: Vec<u8> = (0..index.len()).map(|_| random.u8(..)).collect();
    let mut indices = vec![None, Some(Vec::new()), Some(noise), Some(index[..index.len() / 2].to_vec())];
    for _ in 0..20 {
        let mut flipped = index.clone();
        (0..30).for_each(|_| flipped[random.usize(..136)] = random.u8(..)); // in the header, which everybody reads
        indices.push(Some(flipped));
    }
    for index in indices {
        for (file, bytes) in &files {
            fs::write(file, bytes)?;
        }
        match index {
            Some(bytes) => fs::write(&shm, bytes)?,
            None => fs::remove_file(&shm)?,
        }
        assert_eq!(updates_by_agent(&path)?, all());
    }
    Ok(())
}

/// A log that was damaged after a crash, before anybody opened the database again, is good up to the damage: SQLite
/// takes what comes after it for the remains of an older log. So the newest commits are lost, and nobody can
/// know. What is left is a state that the database once had: whole, without a gap, and no newer than any of it.
#[test]
fn a_damaged_log_is_good_up_to_the_damage() -> TestResult {
    let database = after_a_crash()?;
    let path = database.path();
    let wal = beside(&path, "-wal");
    let (before, log) = (fs::read(&path)?, fs::read(&wal)?);
    let mut random = seeded(2);
    let mut lengths = Vec::new();
    for round in 0..40 {
        let mut damaged = log.clone();
        match round {
            0 => damaged.clear(),
            _ if round % 2 == 0 => damaged.truncate(random.usize(..log.len())),
            _ => damaged[random.usize(..log.len())] ^= 1 << random.u8(..8),
        }
        fs::write(&path, &before)?;
        fs::write(&wal, &damaged)?;
        let _ = fs::remove_file(beside(&path, "-shm"));
        let kept = updates_by_agent(&path)?;
        // In the order in which they were made: an agent has updates only if those before it have all of theirs.
        let mut expected = kept.values().sum::<i64>();
        for (agent_id, updates) in AGENTS {
            let its = expected.min(updates);
            assert_eq!(kept.get(agent_id).copied().unwrap_or_default(), its, "round {round}: {kept:?}");
            expected -= its;
        }
        lengths.push(kept.values().sum::<i64>());
    }
    assert_eq!(lengths[0], 0, "without the log there is what was in the database before");
    assert!(lengths.iter().any(|kept| (1..66).contains(kept)), "nothing was tried: {lengths:?}");
    Ok(())
}

/// Whatever is in the file, everything that reads and writes comes back, with an answer or a sentence; and a file
/// that was refused is as it was.
#[test]
fn a_damaged_database_is_answered_or_refused_and_never_begun_anew() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("governance.db");
    {
        let store = Store::open(&path)?;
        for (agent_id, updates) in AGENTS {
            for _ in 0..updates {
                store.process_update(agent_id, &Update::new().parameters(vec![0.5; 128]))?;
            }
        }
    }
    let whole = fs::read(&path)?;
    let mut random = seeded(3);
    let (mut refused, mut answered) = (0, 0);
    for round in 0..150 {
        let mut damaged = whole.clone();
        match round % 5 {
            0 => damaged.truncate(random.usize(1..whole.len())),
            1 => damaged[random.usize(..whole.len())] ^= 1 << random.u8(..8),
            2 => damaged[random.usize(..100)] = random.u8(..), // in the header
            3 => {
                let at = random.usize(..whole.len() - 512);
                damaged[at..at + 512].fill(0); // a sector that was never written
            }
            _ => (0..100).for_each(|_| damaged[random.usize(..whole.len())] = random.u8(..)),
        }
        fs::write(&path, &damaged)?;
        let outcome = within_a_minute(&path, use_everything);
        let after = fs::read(&path)?;
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
        match outcome {
            Ok(()) => answered += 1,
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() > 20, "round {round}: {error}");
                assert!(after == damaged, "round {round}: refused ({error}), and changed");
            }
        }
    }
    assert!(refused > 20 && answered > 20, "{refused} refused, {answered} answered");
    Ok(())
}

/// Opens, checks, reads everything, and makes one update; the first thing that fails counts.
fn use_everything(path: &Path) -> govstore::Result<()> {
    let store = Store::open(path)?;
    let checks = store.check();
    let mut agents = 0;
    for agent in store.agents(&AgentFilter::default())? {
        store.history(&agent.agent_id, None)?;
        agents += 1;
    }
    store.health()?;
    store.processes()?;
    store.reap_plan()?;
    store.process_update("a", &Update::default())?;
    let is_sound = checks.iter().all(|check| check.status != CheckStatus::Failed);
    assert!(agents > 0 || !is_sound, "it passes for a sound database without agents");
    Ok(())
}

fn within_a_minute(path: &Path, work: fn(&Path) -> govstore::Result<()>) -> govstore::Result<()> {
    let (sender, outcome) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || sender.send(work(&path)));
    outcome.recv_timeout(Duration::from_mins(1)).expect("an answer: it hangs, or has panicked")
}

#[test]
fn an_empty_file_is_a_new_database_only_where_there_is_no_log() -> TestResult {
    let database = after_a_crash()?;
    let path = database.path();
    fs::File::options().write(true).open(&path)?.set_len(0)?;
    let refused = Store::open(&path).map(drop);
    assert!(matches!(refused, Err(Error::LogWithoutDatabase { .. })), "{refused:?}");
    assert!(fs::metadata(beside(&path, "-wal"))?.len() > 0);
    // Of an empty file alone nobody can tell what it was.
    fs::remove_file(beside(&path, "-wal"))?;
    assert!(Store::open(&path)?.agents(&AgentFilter::default())?.is_empty());
    let tables: i64 =
        Connection::open(&path)?.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    assert!(tables > 0);
    Ok(())
}
