//! What writers notice while history is pruned. `cargo bench --bench prune`
//!
//! Eight threads update agents of their own, under FULL, first alone and then while another process would prune: a
//! second store of the same file removes a million rows of other agents. The bar: the 99th percentile of an update stays
//! under 20 ms.

mod populated;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{PruneReport, Store, Update};
use populated::populated;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

const WRITERS: usize = 8;
const AGENTS: u32 = 1_000;
const ROWS_AN_AGENT: u32 = 2_000;
const KEPT: u32 = 1_000;

fn main() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let path = populated(&folder.path().join("large.db"), AGENTS, ROWS_AN_AGENT)?;
    let pruning = Store::open(&path)?;
    pruning.set_setting("history_limit", &KEPT.to_string())?;
    let writing = Store::open(&path)?;

    report("alone", &beside(&writing, || thread::sleep(Duration::from_secs(5)))?);
    let mut pruned = Ok(PruneReport::default());
    let began = Instant::now();
    let took = beside(&writing, || pruned = pruning.prune())?;
    println!("pruned {} rows in {:.1} s", pruned?.updates, began.elapsed().as_secs_f64());
    report("while rows are pruned (p99 under 20)", &took);
    Ok(())
}

/// How long each update took while `work` went on.
fn beside(store: &Store, work: impl FnOnce()) -> BenchResult<Vec<Duration>> {
    let is_done = AtomicBool::new(false);
    let mut took = Vec::new();
    thread::scope(|scope| {
        let is_done = &is_done;
        let write = |n: usize| {
            let agent = format!("writer-{n}");
            let update = Update::new().response_text("done").complexity(0.3);
            let mut took = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let began = Instant::now();
                store.process_update(&agent, &update)?;
                took.push(began.elapsed());
            }
            Ok::<_, govstore::Error>(took)
        };
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || write(n))).collect();
        work();
        is_done.store(true, Ordering::Relaxed);
        for writer in writers {
            took.extend(writer.join().map_err(|_| "a writer panicked")??);
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    took.sort_unstable();
    Ok(took)
}

fn report(name: &str, took: &[Duration]) {
    let at = |permille: usize| took[(took.len() - 1) * permille / 1_000].as_secs_f64() * 1e3;
    println!(
        "{WRITERS} writers {name}: {} updates, median {:.2} ms, p99 {:.2}, p99.9 {:.2}, worst {:.2}",
        took.len(),
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
}
