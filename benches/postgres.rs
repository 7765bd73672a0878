//! Updates on a PostgreSQL server against a bare commit of one row by the same client, in one run.
//!
//! ```sh
//! cargo bench --bench postgres --features postgres
//! ```
//!
//! The server is the bench's own, in `TMPDIR`, and commits are durable. Rounds of both kinds alternate; what is printed are
//! medians of rounds, and their ratios.

#![allow(missing_docs, reason = "it is a program")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Store, Update};
use govstore_testkit::{Cluster, Connected, Proxy, TestResult};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(400);
const THREADS: usize = 8;

fn main() -> TestResult {
    let settings = ["max_connections=200", "shared_buffers=256MB", "synchronous_commit=on"];
    let Some(cluster) = Cluster::start(&settings)? else { return Ok(()) };
    let name = cluster.make_database()?;
    let address = cluster.address(&name);
    let store = Store::open(&address)?;
    let bare = Connected::to(&address)?;
    bare.execute("CREATE TABLE bare (n bigint, at timestamptz)")?;

    println!("one client, locally");
    compare(&bare, &store, 0.0);

    println!("one client, 1 ms away");
    let proxy = Proxy::to(cluster.port())?;
    proxy.set_delay(Duration::from_micros(500));
    let far = address.replace(&format!(":{}/", cluster.port()), &format!(":{}/", proxy.port()));
    let far_bare = Connected::to(&far)?;
    let far_store = Store::open(&far)?;
    let trip =
        median((0..300).map(|_| timed(|| far_bare.query("SELECT 1", &[]).map(drop)))).as_secs_f64() / 2.0; // prepare, execute
    println!("  round trip        {:8.0} µs", trip * 1e6);
    compare(&far_bare, &far_store, trip);

    println!("{THREADS} writers on agents of their own");
    let mut ratios: Vec<f64> = Vec::new();
    let (mut bares, mut updates) = (Vec::new(), Vec::new());
    let connections: Vec<Connected> =
        (0..THREADS).map(|_| Connected::to(&address)).collect::<TestResult<_>>()?;
    let stores: Vec<Store> = (0..THREADS).map(|_| Store::open(&address)).collect::<Result<_, _>>()?;
    for _ in 0..ROUNDS {
        let bare = together(|n| commit_bare(&connections[n]));
        let update = together(|n| {
            stores[n].process_update(&format!("own-{n}"), &Update::new()).map(drop).map_err(Into::into)
        });
        let rate = |counts: &[(usize, Duration)]| {
            counts.iter().map(|(n, _)| *n as f64).sum::<f64>() / ROUND.as_secs_f64()
        };
        bares.push(rate(&bare));
        updates.push(rate(&update));
        ratios.push(rate(&update) / rate(&bare));
    }
    println!("  bare commits      {:8.0} /s", middle(&mut bares));
    println!("  updates           {:8.0} /s", middle(&mut updates));
    println!("  ratio             {:8.2}   (bar: 0.20)", middle(&mut ratios));

    println!("{THREADS} writers on one agent");
    let (mut slowest, mut fairness) = (Duration::ZERO, Vec::new());
    for _ in 0..ROUNDS {
        let served = together_for(ROUND * 4, |n| {
            stores[n].process_update("shared", &Update::new()).map(drop).map_err(Into::into)
        });
        slowest = slowest.max(served.iter().map(|(_, slowest)| *slowest).max().unwrap_or_default());
        let counts = served.iter().map(|(n, _)| *n as f64);
        fairness.push(counts.clone().fold(f64::INFINITY, f64::min) / counts.fold(0.0, f64::max));
    }
    println!("  slowest           {:8.0} ms  (deadline: 5000)", slowest.as_secs_f64() * 1e3);
    println!("  least/most served {:8.2}   (bar: 0.70)", middle(&mut fairness));
    Ok(())
}

/// Bare commits against updates, one at a time. `trip`: how long a round trip takes; 0 is not asked for.
fn compare(bare: &Connected, store: &Store, trip: f64) {
    let (mut bares, mut updates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = median((0..150).map(|_| timed(|| commit_bare(bare)))).as_secs_f64();
        let two =
            median((0..150).map(|_| timed(|| Ok(store.process_update("alone", &Update::new()).map(drop)?))))
                .as_secs_f64();
        bares.push(one);
        updates.push(two);
        ratios.push(two / one);
    }
    let (one, two) = (middle(&mut bares), middle(&mut updates));
    println!("  bare commit       {:8.0} µs", one * 1e6);
    println!("  update            {:8.0} µs", two * 1e6);
    if trip > 0.0 {
        println!("  2.5 trips + commit{:8.0} µs  (bar)", (2.5 * trip + (one - trip)) * 1e6);
    } else {
        println!("  ratio             {:8.2}   (bar: 3.00)", middle(&mut ratios));
    }
}

fn commit_bare(bare: &Connected) -> TestResult {
    bare.insert_bare()
}

fn together(work: impl Fn(usize) -> TestResult + Sync) -> Vec<(usize, Duration)> {
    together_for(ROUND, work)
}

/// How many each thread did, and how long its slowest took.
fn together_for(time: Duration, work: impl Fn(usize) -> TestResult + Sync) -> Vec<(usize, Duration)> {
    let barrier = Barrier::new(THREADS);
    let (barrier, work) = (&barrier, &work);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                scope.spawn(move || {
                    barrier.wait();
                    let (began, mut done, mut slowest) = (Instant::now(), 0, Duration::ZERO);
                    while began.elapsed() < time {
                        slowest = slowest.max(timed(|| work(n)));
                        done += 1;
                    }
                    (done, slowest)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn timed(work: impl FnOnce() -> TestResult) -> Duration {
    let began = Instant::now();
    work().expect("it works");
    began.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times[times.len() / 2]
}

fn middle(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
