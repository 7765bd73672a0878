//! What size costs: a million agents with ten million rows of history, beside a hundredth of that.
//! `cargo bench --bench scale [-- AGENTS]`, with some 12 GB free on the disk of the `target` folder for a million.

mod populated;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use govstore::{AgentFilter, CheckStatus, Store, Update};
use populated::populated;

const AGENTS: u32 = 1_000_000;
const UPDATES_EACH: u32 = 10;
/// How many times smaller the small one is.
const TIMES: u32 = 100;
const PAGE: u32 = 50;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> BenchResult {
    let agents = std::env::args().find_map(|argument| argument.parse::<u32>().ok()).unwrap_or(AGENTS);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let small = measured(folder.path(), agents / TIMES)?;
    let large = measured(folder.path(), agents)?;
    println!("{:<44}{:>14}{:>14}{:>8}", "milliseconds", agents / TIMES, agents, "ratio");
    for ((what, small), (_, large)) in small.into_iter().zip(large) {
        println!("{what:<44}{small:>14.3}{large:>14.3}{:>8.2}", large / small);
    }
    Ok(())
}

/// What a database with so many agents takes for what, in milliseconds.
fn measured(folder: &Path, agents: u32) -> BenchResult<Vec<(&'static str, f64)>> {
    let path = populated(&folder.join(format!("{agents}.db")), agents, UPDATES_EACH)?;
    println!(
        "{agents} agents, {} rows of history: {} MB",
        agents * UPDATES_EACH,
        fs::metadata(&path)?.len() >> 20
    );
    let mut rng = fastrand::Rng::with_seed(1);
    let mut agent = move || format!("agent-{}", rng.u32(..agents));
    let mut figures = vec![("open", each(20, || Store::open(&path).map(drop))?)];
    let store = Store::open(&path)?;
    let update = Update::new().response_text("All tests pass.").complexity(0.3);
    let mut time = |what, times, work: &mut dyn FnMut(&str) -> govstore::Result<()>| -> BenchResult {
        figures.push((what, each(times, || work(&agent()))?));
        Ok(())
    };
    time("update, synchronous FULL", 4_000, &mut |agent| store.process_update(agent, &update).map(drop))?;
    time("one agent", 1_000, &mut |agent| store.agent(agent).map(drop))?;
    time("the last 10 rows of an agent's history", 1_000, &mut |agent| {
        store.history(agent, Some(10)).map(drop)
    })?;
    time("a page of 50 agents", 200, &mut |agent| {
        let page = AgentFilter::new().after(agent.to_owned()).limit(PAGE);
        store.agents(&page).map(drop)
    })?;
    time("fleet health", 5, &mut |_| store.health().map(drop))?;
    time("check", 1, &mut |_| {
        let failed: Vec<_> =
            store.check().into_iter().filter(|check| check.status == CheckStatus::Failed).collect();
        assert!(failed.is_empty(), "{failed:?}");
        Ok(())
    })?;
    let copy = folder.join("copy.db");
    time("backup", 1, &mut |_| store.backup_to(&copy).map(drop))?;
    fs::remove_file(copy)?;
    Ok(figures)
}

/// The median of so many times, in milliseconds.
fn each(times: usize, mut work: impl FnMut() -> govstore::Result<()>) -> BenchResult<f64> {
    let mut took = (0..times)
        .map(|_| {
            let began = Instant::now();
            work()?;
            Ok(began.elapsed())
        })
        .collect::<BenchResult<Vec<Duration>>>()?;
    took.sort();
    Ok(took[times / 2].as_secs_f64() * 1e3)
}
