//! Nine processes that write without a pause: govstore's way of waiting beside plain `busy_timeout(5000)` on
//! bare rusqlite, with the same SQL, in one run. `cargo bench --bench contention`
//!
//! 1. With 5 ms of work (a sleep) inside each transaction, an edit: the worst wait for the lock, timeouts, and
//!    how evenly the processes get their turns.
//! 2. Without work, a governance update: throughput, and the 99.9th percentile of a whole update: of all of them
//!    together, and for the process that fares worst. The first says little where one process has its way: those
//!    that starve have few updates to be counted.
//!
//! Then, without another side: the holder of an agent's lock is killed, and another process waits for it.

mod by_hand;

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Durability, ProcessInfo, Store, Update};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, named_params};

const PROCESSES: usize = 9;
const WORK: Duration = Duration::from_millis(5);
const WITH_WORK_FOR: Duration = Duration::from_secs(10);
/// Without work the two sides take turns, so that both meet the same noise.
const WITHOUT_WORK_FOR: Duration = Duration::from_secs(3);
const TURNS: usize = 3;
const KILLED_HOLDERS: usize = 30;

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> BenchResult {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [child, side, db, synchronous, agent, work_ms, run_ms] = &args[..]
        && child == "child"
    {
        let work = Duration::from_millis(work_ms.parse()?);
        let run = Duration::from_millis(run_ms.parse()?);
        return write_without_pause(side, Path::new(db), synchronous, agent, work, run);
    }
    if let [holder, db] = &args[..]
        && holder == "holder"
    {
        return hold(Path::new(db));
    }
    println!("{PROCESSES} processes, {} cores", thread::available_parallelism()?);
    for synchronous in ["NORMAL", "FULL"] {
        with_work(synchronous)?;
        without_work(synchronous)?;
    }
    killed_holders()
}

/// From when the death of a lock's holder is seen until the next one has the lock.
fn killed_holders() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("governance.db"))?;
    store.process_update("agent", &Update::default())?;
    let _registration = store.register(ProcessInfo::new("bench", "1"))?;
    let mut took = Vec::new();
    for _ in 0..KILLED_HOLDERS {
        let mut child = Command::new(env::current_exe()?)
            .arg("holder")
            .arg(store.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut String::new())?; // it has the lock
        let waiting = store.clone();
        let locked = thread::spawn(move || {
            let lock = waiting.lock_agent("agent", None);
            lock.map(|_| Instant::now())
        });
        thread::sleep(WORK * 10);
        child.kill()?;
        child.wait()?;
        let death = Instant::now();
        let locked = locked.join().map_err(|_| "the waiting thread panicked")??;
        took.push(locked.saturating_duration_since(death));
    }
    took.sort();
    println!(
        "{KILLED_HOLDERS} holders of an agent's lock killed: the next one had it {:.0} ms after, the last {:.0} ms",
        took[KILLED_HOLDERS / 2].as_secs_f64() * 1e3,
        took[KILLED_HOLDERS - 1].as_secs_f64() * 1e3,
    );
    Ok(())
}

/// One that has the lock until it is killed.
fn hold(db: &Path) -> BenchResult {
    let store = Store::open(db)?;
    let _registration = store.register(ProcessInfo::new("holder", "1"))?;
    let _lock = store.lock_agent("agent", None)?;
    println!("locked");
    io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

fn with_work(synchronous: &str) -> BenchResult {
    println!("{} ms of work inside, {} s, {synchronous}", WORK.as_millis(), WITH_WORK_FOR.as_secs());
    let mut worst = Vec::new();
    for side in ["govstore", "bare"] {
        let counted = Counted::of(side, synchronous, WORK, WITH_WORK_FOR)?;
        println!(
            "  {side:8} worst wait {:6.0} ms, {} timeouts, slowest/fastest {:.2}, {:.0} updates/s",
            counted.percentile(1.0) / 1e3,
            counted.timeouts,
            counted.evenness(),
            counted.per_second(WITH_WORK_FOR),
        );
        worst.push(counted.percentile(1.0));
    }
    println!("  worst wait, govstore/bare: {:.2}", worst[0] / worst[1]);
    Ok(())
}

fn without_work(synchronous: &str) -> BenchResult {
    println!("no work inside, {TURNS} turns of {} s, {synchronous}", WITHOUT_WORK_FOR.as_secs());
    let (mut ours, mut bare) = (Counted::default(), Counted::default());
    for _ in 0..TURNS {
        ours.add(Counted::of("govstore", synchronous, Duration::ZERO, WITHOUT_WORK_FOR)?);
        bare.add(Counted::of("bare", synchronous, Duration::ZERO, WITHOUT_WORK_FOR)?);
    }
    let took = WITHOUT_WORK_FOR * u32::try_from(TURNS)?;
    for (side, counted) in [("govstore", &ours), ("bare", &bare)] {
        println!(
            "  {side:8} {:6.0} updates/s, 99.9th percentile {:6.1} ms, for the worst off {:6.1} ms, worst {:6.0} ms, \
             {} timeouts, slowest/fastest {:.2}",
            counted.per_second(took),
            counted.percentile(0.999) / 1e3,
            counted.percentile_for_the_worst_off(0.999) / 1e3,
            counted.percentile(1.0) / 1e3,
            counted.timeouts,
            counted.evenness(),
        );
    }
    println!(
        "  govstore/bare: throughput {:.2}, 99.9th percentile {:.2}, for the worst off {:.2}",
        ours.per_second(took) / bare.per_second(took),
        ours.percentile(0.999) / bare.percentile(0.999),
        ours.percentile_for_the_worst_off(0.999) / bare.percentile_for_the_worst_off(0.999),
    );
    Ok(())
}

/// What the processes of one run count.
#[derive(Default)]
struct Counted {
    /// Of each process, microseconds: with work until the lock was had, without work of the whole update.
    times_us: Vec<Vec<f64>>,
    timeouts: usize,
}

impl Counted {
    /// One run of one side.
    fn of(side: &str, synchronous: &str, work: Duration, run: Duration) -> BenchResult<Self> {
        let folder = tempfile::tempdir()?;
        let db = folder.path().join("governance.db");
        let store = Store::open(&db)?;
        let mut children = Vec::new();
        for n in 0..PROCESSES {
            let agent = format!("agent-{n}");
            store.process_update(&agent, &Update::default())?;
            let mut child = Command::new(env::current_exe()?)
                .args(["child", side])
                .arg(&db)
                .args([synchronous, &agent, &work.as_millis().to_string(), &run.as_millis().to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut said = BufReader::new(child.stdout.take().ok_or("no stdout")?);
            said.read_line(&mut String::new())?; // it is ready
            children.push((child, said));
        }
        for (child, _) in &mut children {
            drop(child.stdin.take()); // now
        }
        let mut counted = Self::default();
        for (child, said) in children {
            counted.hear(child, said)?;
        }
        Ok(counted)
    }

    fn hear(&mut self, mut child: Child, mut said: impl BufRead) -> BenchResult {
        let (mut timeouts, mut times) = (String::new(), String::new());
        said.read_line(&mut timeouts)?;
        said.read_line(&mut times)?;
        if !child.wait()?.success() {
            return Err("a process failed".into());
        }
        self.times_us.push(times.split_whitespace().map(str::parse).collect::<Result<_, _>>()?);
        self.timeouts += timeouts.trim().parse::<usize>()?;
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.times_us.resize(PROCESSES, Vec::new());
        for (all, times) in self.times_us.iter_mut().zip(other.times_us) {
            all.extend(times);
        }
        self.timeouts += other.timeouts;
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands of updates")]
    fn per_second(&self, run: Duration) -> f64 {
        self.times_us.iter().map(Vec::len).sum::<usize>() as f64 / run.as_secs_f64()
    }

    /// Updates of the slowest process over those of the fastest.
    #[expect(clippy::cast_precision_loss, reason = "some thousands of updates")]
    fn evenness(&self) -> f64 {
        let updates = || self.times_us.iter().map(Vec::len);
        updates().min().unwrap_or(0) as f64 / updates().max().unwrap_or(1) as f64
    }

    /// Of all updates together.
    fn percentile(&self, share: f64) -> f64 {
        percentile(self.times_us.concat(), share)
    }

    /// The highest of the processes' own.
    fn percentile_for_the_worst_off(&self, share: f64) -> f64 {
        self.times_us.iter().map(|times| percentile(times.clone(), share)).fold(f64::NAN, f64::max)
    }
}

/// Nearest rank.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank"
)]
fn percentile(mut times: Vec<f64>, share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let rank = (share * times.len() as f64).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Whether an update ran into its timeout.
fn timed_out(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<govstore::Error>().is_some_and(govstore::Error::is_busy)
        || error
            .downcast_ref::<rusqlite::Error>()
            .is_some_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}

/// One process of a run: says that it is ready, waits for the start, and writes until the time is over.
fn write_without_pause(
    side: &str,
    db: &Path,
    synchronous: &str,
    agent: &str,
    work: Duration,
    run: Duration,
) -> BenchResult {
    let mut update: Box<dyn FnMut() -> BenchResult<Option<Instant>>> = if side == "govstore" {
        let durability = if synchronous == "FULL" { Durability::Full } else { Durability::Normal };
        // The patience of the other side, as is the default.
        let store = Store::options().durability(durability).lock_timeout(Duration::from_secs(5)).open(db)?;
        if work.is_zero() {
            Box::new(move || {
                store.process_update(agent, &Update::default())?;
                Ok(None)
            })
        } else {
            Box::new(move || working(&store, agent, work).map(Some))
        }
    } else {
        let mut conn = Connection::open(db)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.execute_batch(&format!("PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON"))?;
        let mut n = 0;
        if work.is_zero() {
            Box::new(move || {
                n += 1;
                by_hand::update(&mut conn, agent, n).map(|()| None)
            })
        } else {
            Box::new(move || working_by_hand(&mut conn, agent, work).map(Some))
        }
    };
    println!("ready");
    io::stdin().lock().read_line(&mut String::new())?;
    let end = Instant::now() + run;
    let (mut times, mut timeouts) = (String::new(), 0);
    while Instant::now() < end {
        let began = Instant::now();
        match update() {
            Ok(locked) => {
                let time = locked.unwrap_or_else(Instant::now) - began;
                write!(times, "{} ", time.as_micros())?;
            }
            Err(error) if timed_out(&*error) => timeouts += 1,
            Err(error) => return Err(error),
        }
    }
    println!("{timeouts}\n{times}");
    Ok(())
}

/// An edit with work inside its transaction; says when that had the lock.
fn working(store: &Store, agent: &str, work: Duration) -> BenchResult<Instant> {
    Ok(store.update_agent(agent, |agent| {
        let locked = Instant::now();
        "checked".clone_into(&mut agent.notes);
        thread::sleep(work);
        Ok::<_, govstore::Error>(locked)
    })?)
}

/// The same statements, typed by hand.
fn working_by_hand(conn: &mut Connection, agent: &str, work: Duration) -> BenchResult<Instant> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let locked = Instant::now();
    let (tags, attributes): (String, String) = tx
        .prepare_cached(
            "SELECT a.*, h.health_status
             FROM agents AS a
             JOIN agent_health AS h ON h.agent_id = a.agent_id
             WHERE a.agent_id = :agent_id",
        )?
        .query_row(named_params! { ":agent_id": agent }, |row| {
            Ok((row.get("tags")?, row.get("attributes")?))
        })?;
    thread::sleep(work);
    tx.prepare_cached(
        "UPDATE agents SET tags = :tags, notes = :notes, attributes = :attributes WHERE agent_id = :agent_id",
    )?
    .execute(named_params! {
        ":agent_id": agent,
        ":tags": tags,
        ":notes": "checked",
        ":attributes": attributes,
    })?;
    tx.commit()?;
    Ok(locked)
}
