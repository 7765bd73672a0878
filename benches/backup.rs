//! What a backup costs: a database of 1 GB, against `cp` of the same file in the same run, and what writers
//! notice meanwhile. `cargo bench --bench backup [-- MEGABYTES]`, with four times that free on the disk of the
//! `target` folder.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Store, Update};
use rusqlite::Connection;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 3;
const WRITERS: usize = 4;

fn main() -> BenchResult {
    let megabytes = std::env::args().find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(1_000);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = folder.path().join("governance.db");
    populate(&path, megabytes << 20)?;
    let store = Store::open(&path)?;

    let (mut by_cp, mut by_cp_to_disk, mut by_backup) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let copy = folder.path().join("cp.db");
        let began = Instant::now();
        assert!(Command::new("cp").arg(&path).arg(&copy).status()?.success());
        by_cp.push(began.elapsed());
        File::open(&copy)?.sync_all()?;
        by_cp_to_disk.push(began.elapsed());
        fs::remove_file(copy)?;

        by_backup.push(back_up(&store, folder.path())?);
    }
    let (cp, to_disk, backup) = (median(by_cp), median(by_cp_to_disk), median(by_backup));
    println!(
        "backup of {} MB, seconds: {:.2}; cp {:.2}, with fsync {:.2}; ratio to cp {:.2} (at most 3), to cp with \
         fsync {:.2}",
        fs::metadata(&path)?.len() / 1_000_000,
        backup.as_secs_f64(),
        cp.as_secs_f64(),
        to_disk.as_secs_f64(),
        backup.as_secs_f64() / cp.as_secs_f64(),
        backup.as_secs_f64() / to_disk.as_secs_f64(),
    );
    writers_meanwhile(&path, folder.path())
}

/// A database of at least this size: one agent's history, as updates write it.
fn populate(path: &Path, bytes: u64) -> BenchResult {
    let store = Store::open(path)?;
    store.process_update("writer", &Update::new().complexity(0.1))?;
    let conn = Connection::open(path)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    let mut newest: i64 = 1;
    while fs::metadata(path)?.len() < bytes {
        conn.execute(
            "WITH RECURSIVE n (i) AS (SELECT ?1 + 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + 200000)
             INSERT INTO agent_updates
             SELECT u.agent_id, n.i, u.applied_at, u.energy, u.integrity, u.entropy, u.void_integral, u.coherence,
                    u.lambda1, u.risk_score, u.void_active, u.elapsed, u.decision, u.decision_reason,
                    u.health_status, u.process_id
             FROM agent_updates AS u, n WHERE u.update_no = 1",
            [newest],
        )?;
        newest += 200_000;
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    conn.execute("UPDATE agents SET total_updates = ?1, update_count = ?1", [newest])?;
    Ok(())
}

fn back_up(store: &Store, folder: &Path) -> BenchResult<Duration> {
    let copy = folder.join("backup.db");
    let began = Instant::now();
    store.backup_to(&copy)?;
    let took = began.elapsed();
    fs::remove_file(copy)?;
    Ok(took)
}

/// The updates of four writers, each with connections of its own, before a backup and during one.
fn writers_meanwhile(path: &Path, folder: &Path) -> BenchResult {
    let (over, in_backup) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    thread::scope(|scope| -> BenchResult {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (over, in_backup) = (&over, &in_backup);
                scope.spawn(move || -> govstore::Result<Vec<(bool, Duration)>> {
                    let store = Store::open(path)?;
                    let mut took = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        store.process_update(&format!("agent{number}"), &Update::default())?;
                        took.push((in_backup.load(Ordering::Relaxed), began.elapsed()));
                        thread::sleep(Duration::from_millis(5)); // busier than any fleet of servers
                    }
                    Ok(took)
                })
            })
            .collect();
        let store = Store::open(path)?;
        thread::sleep(Duration::from_secs(3));
        in_backup.store(true, Ordering::Relaxed);
        let made = (0..ROUNDS).try_for_each(|_| back_up(&store, folder).map(drop));
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            for (in_backup, took) in writer.join().map_err(|_| "a writer panicked")?? {
                if in_backup { beside.push(took) } else { alone.push(took) }
            }
        }
        made
    })?;
    for (when, took) in [("alone", alone), ("during backups", beside)] {
        let (count, p50) = (took.len(), percentile(took.clone(), 50));
        let (p99, worst) = (percentile(took.clone(), 99), percentile(took, 100));
        println!(
            "{count} updates of {WRITERS} writers {when}, milliseconds: median {:.1}, 99th percentile {:.1} (under \
             100), worst {:.1}",
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            worst.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

fn median(took: Vec<Duration>) -> Duration {
    percentile(took, 50)
}

fn percentile(mut took: Vec<Duration>, percent: usize) -> Duration {
    took.sort();
    took[((took.len() - 1) * percent) / 100]
}
