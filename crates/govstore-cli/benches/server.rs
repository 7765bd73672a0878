//! What the MCP server costs, from its start to ten thousand updates, as a client on a pipe sees it; with the
//! figures of v1.0.3 on this class of machine beside them. `cargo bench --bench server`
//!
//! A round trip begins before the request line is written and ends after the response line is read. The
//! server's own time, from request line read to response line written, is taken to be what is left when the round
//! trip of the same line through `cat` is taken away: the two pipes, and waking whoever reads them.

mod mcp_pipe;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use govstore::Store;
use mcp_pipe::{Server, milliseconds, request};
use serde_json::{Value, json};

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

const STARTS: usize = 40;
const UPDATES: u32 = 10_000;
const AGENTS: u32 = 20;
const ENDS: usize = 20;

fn main() -> BenchResult {
    let folder = tempfile::tempdir()?;
    println!("{:<64}{:>10}{:>10}{:>10}{:>10}", "", "median", "p99", "bar", "v1.0.3");
    starts(folder.path())?;
    let existing = folder.path().join("existing.db");
    updates(&existing)?;
    ends(&existing)
}

/// From the start of the process to the answer to `initialize`.
fn starts(folder: &Path) -> BenchResult {
    let mut on_new = Vec::new();
    for n in 0..STARTS {
        on_new.push(start(&folder.join(format!("new-{n}.db")))?);
    }
    report("start to initialize, new file, ms", &mut on_new, "25", "546");
    let existing = folder.join("existing.db");
    Store::open(&existing)?;
    let mut on_existing = Vec::new();
    for _ in 0..STARTS {
        on_existing.push(start(&existing)?);
    }
    report("start to initialize, existing file, ms", &mut on_existing, "15", "546");
    Ok(())
}

fn start(database: &Path) -> BenchResult<f64> {
    let began = Instant::now();
    let server = Server::start(database)?;
    let took = milliseconds(began.elapsed());
    server.end()?;
    Ok(took)
}

/// Updates one after the other, then as fast as they can be written.
fn updates(database: &Path) -> BenchResult {
    let mut server = Server::start(database)?;
    let mut pings = Vec::new();
    for id in 0..1_000 {
        let (took, _) = server.round_trip(id, "ping", &json!({}))?;
        pings.push(took);
    }
    report("ping, round trip, ms", &mut pings, "", "");
    let mut first = Vec::new();
    let mut all = Vec::new();
    let mut through_cat = Vec::new();
    let mut cat = Pipe::through_cat()?;
    for n in 0..UPDATES {
        let (took, answer) = server.round_trip(n, "tools/call", &update(n))?;
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        if n < 1_000 {
            first.push(took);
        }
        all.push(took);
        through_cat.push(cat.round_trip(&request(n, "tools/call", &update(n)))?.0);
    }
    cat.end()?;
    report("process_agent_update, FULL, first 1,000, round trip, ms", &mut first, "", "10.1");
    report("process_agent_update, FULL, all 10,000, round trip, ms", &mut all, "", "10.1");
    report("the same lines through cat, round trip, ms", &mut through_cat, "", "");
    let server_time = median(&mut all) - median(&mut through_cat);
    println!(
        "{:<64}{server_time:>10.3}{:>10}{:>10}",
        "process_agent_update, FULL, server time, ms", "", "0.5"
    );
    println!(
        "{:<64}{:>10.1}{:>10}{:>10}{:>10}",
        "resident after 10,000 updates, MB",
        mcp_pipe::resident_mb(server.pid())?,
        "",
        "15",
        "71"
    );

    let began = Instant::now();
    for n in 0..UPDATES {
        server.send(n, "tools/call", &update(n))?;
    }
    for _ in 0..UPDATES {
        server.receive()?;
    }
    let rate = f64::from(UPDATES) / began.elapsed().as_secs_f64();
    println!("{:<64}{rate:>10.0}", "process_agent_update, FULL, pipelined, a second");
    server.end().map(drop)
}

/// From the end of stdin to the end of the process, idle and with a hundred calls under way.
fn ends(database: &Path) -> BenchResult {
    for (name, calls) in [("idle", 0), ("100 calls under way", 100)] {
        let mut took = Vec::new();
        for _ in 0..ENDS {
            let mut server = Server::start(database)?;
            for n in 0..calls {
                server.send(n, "tools/call", &update(n))?;
            }
            took.push(server.end()?);
        }
        report(&format!("end of stdin to end of process, {name}, ms"), &mut took, "1000", "");
    }
    Ok(())
}

fn update(n: u32) -> Value {
    let parameters: Vec<f64> = (0..6).map(|i| f64::from((n + i) % 97) / 97.0).collect();
    json!({
        "name": "process_agent_update",
        "arguments": {
            "agent_id": format!("agent-{}", n % AGENTS),
            "parameters": parameters,
            "response_text": "The tests pass, and the change is small. ".repeat(20),
            "complexity": 0.4,
        },
    })
}

fn report(what: &str, figures: &mut [f64], bar: &str, before: &str) {
    figures.sort_by(f64::total_cmp);
    let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
    println!("{what:<64}{:>10.3}{:>10.3}{bar:>10}{before:>10}", at(50), at(99));
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() - 1) / 2]
}

/// A process that answers each line with one line.
struct Pipe {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Pipe {
    fn through_cat() -> BenchResult<Self> {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, stdin, stdout })
    }

    fn round_trip(&mut self, line: &str) -> BenchResult<(f64, String)> {
        let began = Instant::now();
        self.stdin.write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        Ok((milliseconds(began.elapsed()), answer))
    }

    fn end(mut self) -> BenchResult {
        drop(self.stdin);
        self.child.wait()?;
        Ok(())
    }
}
