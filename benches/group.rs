//! What it saves that updates share a commit. `cargo bench --bench group`
//!
//! Sixteen threads of one process, each on an agent of its own, under FULL: govstore against bare rusqlite with one
//! transaction an update, by the same threads, once with a connection each and SQLite's own waiting, and once with one
//! connection behind a mutex, so that nobody has to poll; and against the same updates made by one thread in groups of
//! sixteen, which is as large as a group of theirs can be. All sides take turns in one run, so that they meet the same
//! noise. The `fsync` of the folder's disk is timed beside them, since it is what a shared commit saves.

mod by_hand;

use std::error::Error;
use std::fs::File;
use std::io::Write;
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

/// What one way to write did: updates a second in each turn, and how long each took.
#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Side {
    fn turn(&mut self, took: Vec<Duration>) {
        self.rates.push(a_second(took.len()));
        self.latencies.extend(took);
    }

    /// Median of the rates, and the 99th percentile of the latencies in milliseconds.
    fn figures(self) -> (f64, f64) {
        (median(self.rates), percentile(self.latencies, 0.99).as_secs_f64() * 1e3)
    }
}

fn main() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("group.db"))?;
    let alone = Store::open(folder.path().join("alone.db"))?;
    for n in 0..THREADS {
        alone.process_update(&agent(n), &update())?;
    }
    let each = bare(&folder.path().join("each.db"), THREADS)?;
    let shared = bare(&folder.path().join("shared.db"), 1)?;
    let [mut group, mut bare_each, mut bare_shared]: [Side; 3] = Default::default();
    let mut one = Vec::new();
    let synced = sync_time(folder.path())?;
    for _ in 0..TURNS {
        group.turn(by_threads(|n| store.process_update(&agent(n), &update()).map(drop).map_err(Into::into))?);
        for (conns, side) in [(&each, &mut bare_each), (&shared, &mut bare_shared)] {
            side.turn(by_threads(|n| {
                let mut conn = conns[n % conns.len()].lock().map_err(|_| "a thread panicked")?;
                by_hand::update(&mut conn, &agent(n), 1)
            })?);
        }
        one.push(a_second(by_one(&alone)?));
    }
    let (rate, p99) = group.figures();
    println!("{THREADS} threads on {THREADS} agents, FULL, updates a second; an fsync takes {synced:.2} ms");
    println!("  govstore {rate:.0}, p99 {p99:.2} ms");
    for (name, side) in [("a connection a thread", bare_each), ("one connection, a mutex", bare_shared)] {
        let (bare_rate, bare_p99) = side.figures();
        println!(
            "  bare, {name} {bare_rate:.0}, p99 {bare_p99:.2} ms, ratio {:.2} (at least 3)",
            rate / bare_rate
        );
    }
    let one = median(one);
    println!("  one thread, groups of {THREADS} {one:.0}, ratio {:.2} (at least 0.75)", rate / one);
    Ok(())
}

/// How long it takes to append a page to a file and have it on the disk, in milliseconds, as a median.
fn sync_time(folder: &Path) -> BenchResult<f64> {
    let mut file = File::create(folder.join("synced"))?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    Ok(percentile(took, 0.5).as_secs_f64() * 1e3)
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

/// Connections to a database of the same schema.
fn bare(path: &Path, connections: usize) -> BenchResult<Vec<Mutex<Connection>>> {
    let store = Store::open(path)?;
    for n in 0..THREADS {
        store.process_update(&agent(n), &update())?;
    }
    drop(store);
    let open = |_| {
        let conn = Connection::open(path)?;
        conn.busy_timeout(Duration::from_mins(1))?;
        conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
        Ok(Mutex::new(conn))
    };
    (0..connections).map(open).collect()
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
