//! What it saves that updates share a commit. `cargo bench --bench group`
//!
//! Sixteen threads of one process, each on an agent of its own, under FULL: govstore against bare rusqlite with one
//! transaction an update, by the same threads, and against the same updates made by one thread in groups of sixteen,
//! which is as large as a group of theirs can be. All sides take turns in one run, so that they meet the same noise.

mod by_hand;

use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Store, Update};
use rusqlite::Connection;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

const THREADS: usize = 16;
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(2);

fn main() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("group.db"))?;
    let alone = Store::open(folder.path().join("alone.db"))?;
    let bare = bare(&folder.path().join("bare.db"))?;
    for n in 0..THREADS {
        alone.process_update(&agent(n), &update())?;
    }
    let mut rates = [const { Vec::new() }; 3];
    let mut latencies = [const { Vec::new() }; 2];
    for _ in 0..TURNS {
        let took = by_threads(|n| store.process_update(&agent(n), &update()).map(drop).map_err(Into::into))?;
        rates[0].push(a_second(took.len()));
        latencies[0].extend(took);
        let took = by_threads(|n| {
            let mut conn = bare.lock().map_err(|_| "a thread panicked")?;
            by_hand::update(&mut conn, &agent(n), 1)
        })?;
        rates[1].push(a_second(took.len()));
        latencies[1].extend(took);
        rates[2].push(a_second(by_one(&alone)?));
    }
    let [group, bare, one] = rates.map(median);
    let [p99, bare_p99] = latencies.map(|took| percentile(took, 0.99));
    println!("{THREADS} threads on {THREADS} agents, FULL, updates a second:");
    println!("  govstore {group:.0}, p99 {:.2} ms", p99.as_secs_f64() * 1e3);
    println!(
        "  bare, one transaction an update {bare:.0}, p99 {:.2} ms, ratio {:.2} (at least 3)",
        bare_p99.as_secs_f64() * 1e3,
        group / bare
    );
    println!("  one thread, groups of {THREADS} {one:.0}, ratio {:.2} (at least 0.75)", group / one);
    Ok(())
}

fn agent(n: usize) -> String {
    format!("agent-{n}")
}

fn update() -> Update {
    Update::new()
        .parameters([0.5, 0.4, 0.7])
        .response_text("All tests pass; ready for review.")
        .complexity(0.3)
}

/// A database of the same schema, with a connection for all threads: they wait for each other without polling.
fn bare(path: &Path) -> BenchResult<Mutex<Connection>> {
    let store = Store::open(path)?;
    for n in 0..THREADS {
        store.process_update(&agent(n), &update())?;
    }
    drop(store);
    let conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    Ok(Mutex::new(conn))
}

/// How long each call took, of all threads together.
fn by_threads(call: impl Fn(usize) -> BenchResult + Sync) -> BenchResult<Vec<Duration>> {
    let ends = Instant::now() + TURN;
    let mut took = Vec::new();
    thread::scope(|scope| {
        let call = &call;
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                scope.spawn(move || {
                    let mut took = Vec::new();
                    while Instant::now() < ends {
                        let began = Instant::now();
                        call(n).map_err(|e| e.to_string())?;
                        took.push(began.elapsed());
                    }
                    Ok::<_, String>(took)
                })
            })
            .collect();
        for thread in threads {
            took.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    Ok(took)
}

/// How many updates one thread makes, in groups.
fn by_one(store: &Store) -> BenchResult<usize> {
    let group: Vec<(String, Update)> = (0..THREADS).map(|n| (agent(n), update())).collect();
    let ends = Instant::now() + TURN;
    let mut made = 0;
    while Instant::now() < ends {
        for result in store.process_updates(&group) {
            result?;
            made += 1;
        }
    }
    Ok(made)
}

#[expect(clippy::cast_precision_loss, reason = "a million at most")]
fn a_second(count: usize) -> f64 {
    count as f64 / TURN.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn percentile(mut took: Vec<Duration>, share: f64) -> Duration {
    took.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (took.len() as f64 * share) as usize;
    took[at.min(took.len() - 1)]
}
