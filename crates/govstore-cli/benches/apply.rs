//! What `govstore apply` costs over the same rows by hand. `cargo bench -p govstore-cli --bench apply`
//!
//! A hundred thousand lines over twenty agents, under FULL: the whole process, from its start to its end, with the lines
//! parsed and the reports printed, against bare rusqlite that writes rows for the same agents in the same groups and does
//! nothing else. Both take turns in one run.

#[path = "../../../benches/by_hand/mod.rs"]
#[expect(dead_code, reason = "other benches have one transaction an update")]
mod by_hand;

use std::error::Error;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use govstore::{Store, Update};
use rusqlite::{Connection, TransactionBehavior};

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

const LINES: usize = 100_000;
const AGENTS: usize = 20;
/// Lines that `apply` gives to one transaction at most.
const GROUP: usize = 512;
const TURNS: usize = 5;

fn main() -> BenchResult {
    let folder = tempfile::tempdir()?;
    let lines = folder.path().join("lines.jsonl");
    fs::write(&lines, made_up())?;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let ours = applied(&folder.path().join(format!("ours-{turn}.db")), &lines)?;
        let theirs = rows_alone(&folder.path().join(format!("theirs-{turn}.db")))?;
        ratios.push(ours / theirs);
        #[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
        rates.push(LINES as f64 / ours);
    }
    for figures in [&mut ratios, &mut rates] {
        figures.sort_by(f64::total_cmp);
    }
    println!(
        "apply of {LINES} lines: {:.0} a second, {:.2} times as long as by hand (at most 2.5)",
        rates[TURNS / 2],
        ratios[TURNS / 2]
    );
    Ok(())
}

fn agent(n: usize) -> String {
    format!("agent-{}", n % AGENTS)
}

fn made_up() -> String {
    (0..LINES).fold(String::new(), |mut lines, n| {
        let agent = agent(n);
        writeln!(
            lines,
            r#"{{"agent_id":"{agent}","parameters":[0.5,0.4,0.7],"response_text":"All tests pass; ready for review.","complexity":0.3}}"#
        )
        .expect("a string takes everything");
        lines
    })
}

/// Seconds that the whole process takes.
fn applied(database: &Path, lines: &Path) -> BenchResult<f64> {
    Store::open(database)?;
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_govstore"))
        .args(["--json", "--db"])
        .arg(database)
        .arg("apply")
        .arg(lines)
        .stdout(Stdio::from(File::create(database.with_extension("jsonl"))?))
        .status()?;
    assert!(status.success(), "{status}");
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds that the rows alone take.
fn rows_alone(database: &Path) -> BenchResult<f64> {
    let store = Store::open(database)?;
    for n in 0..AGENTS {
        store.process_update(&agent(n), &Update::new())?;
    }
    drop(store);
    let mut conn = Connection::open(database)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    let began = Instant::now();
    let mut written = 0;
    while written < LINES {
        let group = written..(written + GROUP).min(LINES);
        written = group.end;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for n in group {
            by_hand::statements(&tx, &agent(n), i64::try_from(n / AGENTS + 2)?)?;
        }
        tx.commit()?;
    }
    Ok(began.elapsed().as_secs_f64())
}
