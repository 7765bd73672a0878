//! What the library costs over SQLite itself, and what size costs: ratios of medians, each pair measured
//! in turns within this one run. `cargo bench --bench update`

mod by_hand;
mod populated;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use govstore::{Durability, Store, Update};
use populated::populated;
use rusqlite::Connection;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> BenchResult {
    let folder = tempfile::tempdir()?;
    println!("medians, microseconds");
    for (name, durability, rounds) in
        [("NORMAL", Durability::Normal, 6_000), ("FULL", Durability::Full, 2_000)]
    {
        against_bare_sqlite(folder.path(), name, durability, rounds)?;
    }
    let small = populated(&folder.path().join("small.db"), 100, 10)?;
    let large = populated(&folder.path().join("large.db"), 100_000, 10)?;
    for (name, durability, rounds) in
        [("NORMAL", Durability::Normal, 6_000), ("FULL", Durability::Full, 2_000)]
    {
        by_size(&small, &large, name, durability, rounds)?;
    }
    fleet_health(&large)
}

/// `process_update` against the same statements typed by hand.
fn against_bare_sqlite(folder: &Path, name: &str, durability: Durability, rounds: usize) -> BenchResult {
    let store = Store::options().durability(durability).open(folder.join(format!("store-{name}.db")))?;
    let bare_path = folder.join(format!("bare-{name}.db"));
    Store::open(&bare_path)?; // the same schema
    let mut bare = Connection::open(&bare_path)?;
    bare.execute_batch(&format!("PRAGMA synchronous = {name}; PRAGMA foreign_keys = ON"))?;
    bare.execute(
        "INSERT INTO agents (agent_id, created_at) VALUES ('agent', '2025-11-19T20:41:09.824Z')",
        [],
    )?;
    let update = update();
    let (ours, theirs) = in_turns(
        rounds,
        |_| store.process_update("agent", &update).map(drop).map_err(Into::into),
        |n| by_hand::update(&mut bare, "agent", i64::try_from(n)? + 1),
    )?;
    println!("update, {name}: govstore {ours:.1}, bare rusqlite {theirs:.1}, ratio {:.2}", ours / theirs);
    Ok(())
}

/// `process_update` among many agents against few.
fn by_size(small: &Path, large: &Path, name: &str, durability: Durability, rounds: usize) -> BenchResult {
    let open = |path: &Path| Store::options().durability(durability).open(path);
    let (small, large) = (open(small)?, open(large)?);
    let update = update();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut rng2 = rng.fork();
    let (few, many) = in_turns(
        rounds,
        |_| Ok(small.process_update(&format!("agent-{}", rng.u32(..100)), &update).map(drop)?),
        |_| Ok(large.process_update(&format!("agent-{}", rng2.u32(..100_000)), &update).map(drop)?),
    )?;
    println!(
        "update, {name}: 100 agents {few:.1}, 100,000 agents and 1,000,000 history rows {many:.1}, ratio {:.2}",
        many / few
    );
    Ok(())
}

/// The view `fleet_health` against a query by hand, and against counting alone.
fn fleet_health(large: &Path) -> BenchResult {
    let store = Store::open(large)?;
    let conn = Connection::open(large)?;
    // Until here all were healthy and stayed so: no update had a change of health to record.
    conn.execute_batch(
        "UPDATE agents SET risk_score = abs(random()) % 1000 / 1000.0, void_active = abs(random()) % 50 = 0",
    )?;
    let count = |sql: &str| -> BenchResult {
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    };
    let by_hand = "SELECT lifecycle_status,
                          CASE WHEN void_active THEN 'critical' WHEN risk_score < 0.15 THEN 'healthy'
                               WHEN risk_score < 0.3 THEN 'degraded' ELSE 'critical' END AS health,
                          COUNT(*)
                   FROM agents GROUP BY 1, 2";
    let (view, grouped) = in_turns(15, |_| Ok(store.health().map(drop)?), |_| count(by_hand))?;
    println!(
        "fleet_health, 100,000 agents: view {view:.0}, COUNT … GROUP BY health {grouped:.0}, ratio {:.2}",
        view / grouped
    );
    let by_column = "SELECT last_decision, COUNT(*) FROM agents GROUP BY 1";
    let (view, scanned) = in_turns(15, |_| Ok(store.health().map(drop)?), |_| count(by_column))?;
    println!(
        "fleet_health, 100,000 agents: view {view:.0}, COUNT … GROUP BY last_decision {scanned:.0}, ratio {:.2}",
        view / scanned
    );
    let by_status = "SELECT lifecycle_status, COUNT(*) FROM agents GROUP BY 1";
    let (view, counted) = in_turns(15, |_| Ok(store.health().map(drop)?), |_| count(by_status))?;
    println!(
        "fleet_health, 100,000 agents: view {view:.0}, COUNT … GROUP BY lifecycle_status {counted:.0}, ratio {:.2}",
        view / counted
    );
    Ok(())
}

fn update() -> Update {
    Update::new()
        .parameters(vec![0.5, 0.4, 0.7, 0.9, 0.1, 0.1])
        .response_text("All tests pass; the change is ready for review.")
        .complexity(0.3)
}

/// The medians of two things, in microseconds, measured in turns so that both meet the same noise.
fn in_turns(
    rounds: usize,
    mut first: impl FnMut(usize) -> BenchResult,
    mut second: impl FnMut(usize) -> BenchResult,
) -> BenchResult<(f64, f64)> {
    let time = |work: &mut dyn FnMut(usize) -> BenchResult, n| -> BenchResult<Duration> {
        let began = Instant::now();
        work(n)?;
        Ok(began.elapsed())
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for n in 0..rounds {
        a.push(time(&mut first, n)?);
        b.push(time(&mut second, n)?);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    Ok((median(a), median(b)))
}
