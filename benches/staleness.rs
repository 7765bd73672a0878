//! What the reaper costs those who live: the staleness query among many fresh heartbeats, and updates while
//! victims are being waited for. `cargo bench --bench staleness`

#[cfg(unix)]
use std::error::Error;
use std::time::{Duration, Instant};

use govstore::Store;
use rusqlite::Connection;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

/// Fresh heartbeats in the small and in the large database.
const SMALL: u32 = 100;
const LARGE: u32 = 100_000;

const ROUNDS: usize = 2_000;

fn main() -> BenchResult {
    staleness()?;
    heartbeat_of_an_update()?;
    #[cfg(unix)]
    updates_meanwhile()?;
    Ok(())
}

/// The staleness query, with nobody stale.
fn staleness() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let small = populated(&folder.path().join("small.db"), SMALL)?;
    let large = populated(&folder.path().join("large.db"), LARGE)?;
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_small.push(timed(&small)?);
        of_large.push(timed(&large)?);
    }
    let (of_small, of_large) = (median(of_small), median(of_large));
    println!(
        "staleness query, microseconds: {of_small:.1} among {SMALL} fresh heartbeats, {of_large:.1} among {LARGE}, \
         ratio {:.2} (at most 3)",
        of_large / of_small
    );
    Ok(())
}

/// A database with processes that have all just beaten.
fn populated(path: &std::path::Path, processes: u32) -> BenchResult<Store> {
    let store = Store::open(path)?;
    let registration = store.register(govstore::ProcessInfo::new("bench", "1"))?;
    Connection::open(path)?.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO processes (name, version, pid, boot_id, pid_namespace, start_ticks, registered_at,
                                last_activity_at, last_activity_monotonic_ms)
         SELECT p.name, p.version, n.i + 10000000, p.boot_id, p.pid_namespace, n.i, p.registered_at,
                p.last_activity_at, p.last_activity_monotonic_ms
         FROM processes AS p, n",
        [processes],
    )?;
    Connection::open(path)?.execute(
        "INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
         SELECT p.process_id, h.boot_id, h.monotonic_ms + p.process_id % 1000, h.beat_at, h.interval_ms
         FROM processes AS p, heartbeats AS h
         WHERE p.pid > 10000000",
        (),
    )?;
    registration.deregister()?;
    assert_eq!(store.processes()?.len(), processes as usize);
    Ok(store)
}

fn timed(store: &Store) -> BenchResult<f64> {
    let began = Instant::now();
    let stale = store.stale_processes()?;
    let took = began.elapsed();
    assert!(stale.is_empty());
    Ok(microseconds(took))
}

/// An update with heartbeat and activity in its transaction, against one of a process that is not registered.
fn heartbeat_of_an_update() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let options = || Store::options().durability(govstore::Durability::Normal);
    let plain = options().open(folder.path().join("plain.db"))?;
    let beating = options().open(folder.path().join("beating.db"))?;
    let _registration = beating.register(govstore::ProcessInfo::new("bench", "1"))?;
    let update = govstore::Update::default();
    let timed_update = |store: &Store| -> BenchResult<f64> {
        let began = Instant::now();
        store.process_update("writer", &update)?;
        Ok(microseconds(began.elapsed()))
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(timed_update(&plain)?);
        with.push(timed_update(&beating)?);
    }
    let (without, with) = (median(without), median(with));
    println!(
        "an update (NORMAL), microseconds: {without:.1} unregistered, {with:.1} with its heartbeat, ratio {:.2}",
        with / without
    );
    Ok(())
}

/// The updates of one process while another reaps three that are deaf to SIGTERM.
#[cfg(unix)]
fn updates_meanwhile() -> BenchResult {
    use govstore_testkit::{Database, Server};

    let database = Database::new(&[("terminate_grace_ms", "2000")])?;
    let mut reaper = Server::start(&database, &["--no-reap"]);
    let _healthy = [Server::start(&database, &["--no-reap"]), Server::start(&database, &["--no-reap"])];
    let victims: Vec<_> =
        (0..3).map(|_| Server::start(&database, &["--no-heartbeat", "--no-reap", "--deaf"])).collect();
    for victim in &victims {
        database.age_heartbeat(victim.process_id, 400)?;
    }
    let store = database.store()?;
    let done = Connection::open(database.path())?;
    let mut took = Vec::new();
    reaper.ask_to_reap();
    // After a second look, with a heartbeat of one of them.
    let killed = "SELECT count(*) FROM reap_events WHERE outcome = 'killed'";
    while done.query_row(killed, [], |row| row.get::<_, i64>(0))? < 3 {
        let began = Instant::now();
        store.process_update("writer", &govstore::Update::default())?;
        took.push(microseconds(began.elapsed()));
    }
    let worst = took.iter().copied().fold(0.0, f64::max);
    println!(
        "{} updates while three victims were reaped, milliseconds: median {:.2}, worst {:.1} (under 100)",
        took.len(),
        median(took) / 1_000.0,
        worst / 1_000.0
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
