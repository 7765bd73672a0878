//! Nine servers under random traffic, some of them killed and started again all the time: what they use, and how
//! long an update takes, at the end as at the beginning. `cargo bench --bench soak [-- MINUTES]`; Linux only.
//!
//! Six servers live from the beginning to the end: theirs are memory, threads and file descriptors. Three come and
//! go: SIGKILL, the end of stdin, or SIGTERM. At the end nothing that was acknowledged may be missing.

mod mcp_pipe;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{AgentFilter, CheckStatus, ProcessState, Store, Update};
use mcp_pipe::Server;
use serde_json::{Value, json};

const STAYING: usize = 6;
const COMING_AND_GOING: usize = 3;
const AGENTS: usize = 45;
/// What `get_system_history` looks at; with fewer, its answers would grow with the run.
const UPDATES_BEFORE: usize = 1_000;
const INTERVALS: u32 = 10;
const MOST_PAUSE_MS: u64 = 20;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> BenchResult {
    let minutes = std::env::args().find_map(|argument| argument.parse::<f64>().ok()).unwrap_or(1.0);
    let interval = Duration::from_secs_f64(minutes * 60.0) / INTERVALS;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = folder.path().join("governance.db");
    let store = Store::open(&path)?;
    for _ in 0..UPDATES_BEFORE {
        for n in 0..AGENTS {
            store.process_update(&agent(n), &Update::default())?;
        }
    }
    println!(
        "{STAYING} servers that stay, {COMING_AND_GOING} that come and go, {AGENTS} agents, {INTERVALS} intervals of \
         {:.0} s",
        interval.as_secs_f64()
    );
    println!("{HEADING}");
    let traffic = Traffic::default();
    let rows = thread::scope(|scope| -> BenchResult<Vec<Row>> {
        let drivers: Vec<_> = (0..STAYING + COMING_AND_GOING)
            .map(|n| {
                let (path, traffic) = (path.clone(), &traffic);
                // A boxed error can't cross threads.
                scope.spawn(move || drive(n, &path, traffic).map_err(|e| e.to_string()))
            })
            .collect();
        let mut rows = Vec::new();
        for _ in 0..INTERVALS {
            thread::sleep(interval);
            let row = Row::of(&traffic, &path, interval)?;
            println!("{row}");
            rows.push(row);
        }
        traffic.over.store(true, Ordering::Relaxed);
        for driver in drivers {
            driver.join().map_err(|_| "a driver panicked")??;
        }
        Ok(rows)
    })?;
    compare(&rows);
    nothing_is_missing(&store, &traffic)
}

fn agent(n: usize) -> String {
    format!("agent-{n}")
}

/// What the drivers share.
#[derive(Default)]
struct Traffic {
    over: AtomicBool,
    /// Of the servers that stay.
    pids: Mutex<Vec<u32>>,
    /// Of the updates of this interval, in milliseconds.
    latencies: Mutex<Vec<f64>>,
    /// Updates that were answered, by agent.
    acknowledged: Mutex<HashMap<String, i64>>,
    ended: AtomicU32,
    /// Updates that were sent to a server that was killed before it answered.
    unanswered: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client: calls its server at random until the time is over, and starts it again if it is one that goes.
fn drive(n: usize, path: &Path, traffic: &Traffic) -> BenchResult {
    let mut rng = fastrand::Rng::with_seed(n as u64);
    while !traffic.over.load(Ordering::Relaxed) {
        let mut server = Server::start(path)?;
        let life = if n < STAYING {
            lock(&traffic.pids).push(server.pid());
            Duration::MAX
        } else {
            Duration::from_millis(rng.u64(2_000..15_000))
        };
        let began = Instant::now();
        while !traffic.over.load(Ordering::Relaxed) && began.elapsed() < life {
            call(&mut server, &mut rng, traffic)?;
            thread::sleep(Duration::from_millis(rng.u64(..=MOST_PAUSE_MS)));
        }
        if n < STAYING {
            server.end()?;
            continue;
        }
        traffic.ended.fetch_add(1, Ordering::Relaxed);
        match rng.u32(..4) {
            0 => {
                server.end()?;
            }
            1 => server.terminate()?,
            _ => {
                // In the middle of an update, as often as not.
                server.send(0, "tools/call", &update(&agent(rng.usize(..AGENTS))))?;
                traffic.unanswered.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(rng.u64(..2_000)));
                server.kill()?;
            }
        }
    }
    Ok(())
}

/// One call, mostly an update.
fn call(server: &mut Server, rng: &mut fastrand::Rng, traffic: &Traffic) -> BenchResult {
    let agent = agent(rng.usize(..AGENTS));
    let tool = |name: &str, arguments: Value| json!({ "name": name, "arguments": arguments });
    let params = match rng.u32(..100) {
        0 => tool("get_server_info", json!({})),
        1..=3 => tool("list_agents", json!({})),
        4..=6 => tool("get_system_history", json!({ "agent_id": agent, "format": "csv" })),
        7..=12 => tool("get_governance_metrics", json!({ "agent_id": agent })),
        13..=15 => tool("update_agent_metadata", json!({ "agent_id": agent, "tags": ["soak"] })),
        _ => update(&agent),
    };
    let (latency, answer) = server.round_trip(1, "tools/call", &params)?;
    if answer["result"]["isError"] != false {
        return Err(format!("{params}: {answer}").into());
    }
    if params["name"] == "process_agent_update" {
        lock(&traffic.latencies).push(latency);
        *lock(&traffic.acknowledged).entry(agent).or_default() += 1;
    }
    Ok(())
}

fn update(agent: &str) -> Value {
    json!({
        "name": "process_agent_update",
        "arguments": { "agent_id": agent, "parameters": [0.5, 0.4, 0.7], "complexity": 0.3, "response_text": "Done." },
    })
}

const HEADING: &str =
    "updates   p50 ms   p99 ms p99.9 ms  most: MB  threads   files   WAL MB  registered   ended";

/// One interval.
struct Row {
    updates: usize,
    p50: f64,
    p99: f64,
    p999: f64,
    /// The most of any server that stays.
    resident_mb: f64,
    threads: usize,
    files: usize,
    wal_mb: f64,
    registered: usize,
    ended: u32,
}

impl Row {
    fn of(traffic: &Traffic, path: &Path, interval: Duration) -> BenchResult<Self> {
        let mut latencies = std::mem::take(&mut *lock(&traffic.latencies));
        if latencies.is_empty() {
            return Err(format!("no update in {} s", interval.as_secs()).into());
        }
        latencies.sort_by(f64::total_cmp);
        let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1_000];
        let pids = lock(&traffic.pids).clone();
        let mut row = Self {
            updates: latencies.len(),
            p50: at(500),
            p99: at(990),
            p999: at(999),
            resident_mb: 0.0,
            threads: 0,
            files: 0,
            wal_mb: 0.0,
            registered: Store::open(path)?
                .processes()?
                .iter()
                .filter(|process| process.state == ProcessState::Running)
                .count(),
            ended: traffic.ended.load(Ordering::Relaxed),
        };
        for pid in pids {
            let entries =
                |what: &str| Ok::<_, std::io::Error>(fs::read_dir(format!("/proc/{pid}/{what}"))?.count());
            row.resident_mb = row.resident_mb.max(mcp_pipe::resident_mb(pid)?);
            row.threads = row.threads.max(entries("task")?);
            row.files = row.files.max(entries("fd")?);
        }
        let wal: PathBuf = format!("{}-wal", path.display()).into();
        row.wal_mb = megabytes(fs::metadata(wal)?.len());
        Ok(row)
    }
}

#[expect(clippy::cast_precision_loss, reason = "some megabytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { updates, p50, p99, p999, resident_mb, threads, files, wal_mb, registered, ended } = self;
        write!(
            f,
            "{updates:>7}{p50:>9.2}{p99:>9.2}{p999:>9.2}{resident_mb:>10.1}{threads:>9}{files:>8}{wal_mb:>9.2}\
             {registered:>12}{ended:>8}"
        )
    }
}

/// The second half of the run beside the first: worst of each.
fn compare(rows: &[Row]) {
    let (first, second) = rows.split_at(rows.len() / 2);
    for (what, of) in [
        ("p50", (|row| row.p50) as fn(&Row) -> f64),
        ("p99", |row| row.p99),
        ("resident", |row| row.resident_mb),
        ("WAL", |row| row.wal_mb),
    ] {
        let mean = |rows: &[Row]| rows.iter().map(of).sum::<f64>();
        println!("{what}, second half/first half: {:.2}", mean(second) / mean(first));
    }
}

/// Every update that was answered is there once, and none that nobody sent.
fn nothing_is_missing(store: &Store, traffic: &Traffic) -> BenchResult {
    let acknowledged = lock(&traffic.acknowledged);
    let (mut known, mut kept) = (0, 0);
    for agent in store.agents(&AgentFilter::default())? {
        let before = i64::try_from(UPDATES_BEFORE)?;
        let answered = acknowledged.get(&agent.agent_id).copied().unwrap_or(0);
        let made = agent.total_updates - before;
        if made < answered {
            return Err(format!("{}: {answered} were acknowledged, {made} are there", agent.agent_id).into());
        }
        known += answered;
        kept += made;
    }
    let unanswered = traffic.unanswered.load(Ordering::Relaxed);
    if kept - known > i64::try_from(unanswered)? {
        return Err(
            format!("{kept} updates are there; {known} were acknowledged and {unanswered} not").into()
        );
    }
    let failed: Vec<_> =
        store.check().into_iter().filter(|check| check.status == CheckStatus::Failed).collect();
    if !failed.is_empty() {
        return Err(format!("check: {failed:?}").into());
    }
    println!(
        "{known} updates acknowledged, all there; {unanswered} sent to servers that were killed, {} of them made; the \
         file is sound",
        kept - known
    );
    Ok(())
}
