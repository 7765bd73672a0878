//! What `govstore run` costs its traffic and the machine, beside the same server without it, in the same run:
//!
//! ```sh
//! TMPDIR=/dev/shm cargo bench -p govstore-cli --bench run            # round trips, pipelined messages, memory
//! cargo bench -p govstore-cli --bench run -- pipelined   # these alone
//! cargo bench -p govstore-cli --bench run -- troubles    # p99 while the database is locked, deleted, or on a full disk:
//!                              # a small one that GOVSTORE_SMALL_DISK names, as by mount -t tmpfs -o size=4m none FOLDER
//! ```
//!
//! The server is this program again: it reads a line and writes it, as the quickest server would.

use std::cmp::Ordering;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

const GOVSTORE: &str = env!("CARGO_BIN_EXE_govstore");

/// What makes this program the server.
const ECHO: &str = "--as-echo-server";

/// Answers each line by itself.
fn echo() -> BenchResult {
    let (mut stdin, mut stdout) =
        (std::io::stdin().lock(), fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        line.clear();
    }
    Ok(())
}

/// How many round trips are made before the other one has its turn.
const BATCH: usize = 500;

fn main() -> BenchResult {
    if std::env::args().any(|argument| argument == ECHO) {
        return echo();
    }
    let folder = tempfile::tempdir()?;
    if std::env::args().any(|argument| argument == "troubles") {
        return troubles(folder.path());
    }
    if std::env::args().any(|argument| argument == "pipelined") {
        return pipelined(folder.path());
    }
    for length in [100, 4_000] {
        round_trips(folder.path(), length)?;
    }
    pipelined(folder.path())?;
    memory(folder.path())
}

/// What stands between the client and the server.
#[derive(Clone, Copy)]
enum Between<'a> {
    Nothing,
    /// A `cat` in each direction: the least that a process in between can cost.
    Cats,
    /// `govstore run`, with this database.
    Wrapper(&'a Path),
}

/// A server, with or without its wrapper.
struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(between: Between<'_>) -> BenchResult<Self> {
        let echo = std::env::current_exe()?;
        let mut command = match between {
            Between::Nothing => Command::new(&echo),
            Between::Cats => {
                let mut command = Command::new("sh");
                command.args(["-c", "cat | \"$0\" \"$1\" | cat"]).arg(&echo);
                command
            }
            Between::Wrapper(database) => {
                let mut command = Command::new(GOVSTORE);
                command.arg("--db").arg(database).args(["run", "--"]).arg(&echo);
                command
            }
        };
        command.arg(ECHO);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut server = Self { child, stdin, stdout };
        server.round_trip(&message(0, 100))?; // until it is there
        Ok(server)
    }

    fn round_trip(&mut self, line: &[u8]) -> BenchResult<Duration> {
        let began = Instant::now();
        self.stdin.write_all(line)?;
        let mut answer = Vec::with_capacity(line.len());
        self.stdout.read_until(b'\n', &mut answer)?;
        assert!(answer == line);
        Ok(began.elapsed())
    }

    /// How long it takes until all of these are answered.
    fn answer_all(&mut self, writes: &[Vec<u8>]) -> BenchResult<Duration> {
        let mut answers = vec![0; writes.iter().map(Vec::len).sum()];
        let began = Instant::now();
        thread::scope(|scope| -> BenchResult {
            let stdin = &mut self.stdin;
            let sent = scope.spawn(|| writes.iter().try_for_each(|bytes| stdin.write_all(bytes)));
            self.stdout.read_exact(&mut answers)?;
            sent.join().map_err(|_| "the writer panicked")??;
            Ok(())
        })?;
        let took = began.elapsed();
        assert!(answers == writes.concat());
        Ok(took)
    }

    fn end(self) -> BenchResult {
        let Self { mut child, stdin, stdout } = self;
        drop((stdin, stdout));
        child.wait()?;
        Ok(())
    }
}

/// A call of a tool of about this length.
fn message(id: usize, length: usize) -> Vec<u8> {
    let mut line = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"text":""#
    )
    .into_bytes();
    line.resize(line.len().max(length.saturating_sub(6)), b'x');
    line.extend_from_slice(b"\"}}}\n");
    line
}

/// In turns, so that what else the machine does is the same for all. On a machine that has nothing else to do most of it is
/// the time that a sleeping processor takes to wake up, for whatever stands in between.
fn round_trips(folder: &Path, length: usize) -> BenchResult {
    let database = folder.join("governance.db");
    let ways = [Between::Nothing, Between::Cats, Between::Wrapper(&database)];
    let mut servers = Vec::new();
    for way in ways {
        servers.push((Server::start(way)?, Vec::new()));
    }
    for turn in 0..40 {
        for (server, medians) in &mut servers {
            let mut times = Vec::with_capacity(BATCH);
            for id in 0..BATCH {
                times.push(server.round_trip(&message(turn * BATCH + id, length))?);
            }
            medians.push(median(&mut times));
        }
    }
    let mut medians = [Duration::ZERO; 3];
    for ((server, of_turns), median_of_all) in servers.into_iter().zip(&mut medians) {
        let mut of_turns = of_turns;
        *median_of_all = median(&mut of_turns);
        server.end()?;
    }
    let [nothing, cats, wrapper] = medians;
    println!(
        "round trip of {length} B: alone {nothing:.1?}; between two cats {:.1?} more; wrapped {:.1?} more",
        cats.saturating_sub(nothing),
        wrapper.saturating_sub(nothing),
    );
    Ok(())
}

/// All at once, which leaves the processors to the servers and what stands in between; and each by itself, as most clients
/// send. Where the threads of two processors come to lie makes a difference of up to a half, and stays as it is for a while:
/// so the servers are started again and again.
fn pipelined(folder: &Path) -> BenchResult {
    const MESSAGES: usize = 10_000;
    const STARTS: usize = 9;
    const TIMES: usize = 11;
    let database = folder.join("governance.db");
    let ways = [Between::Nothing, Between::Cats, Between::Wrapper(&database)];
    for (sent, messages_a_write) in [("by a write of all", MESSAGES), ("by a write each", 1)] {
        let writes: Vec<Vec<u8>> = (0..MESSAGES)
            .step_by(messages_a_write)
            .map(|first| (first..first + messages_a_write).flat_map(|id| message(id, 100)).collect())
            .collect();
        let (mut without, mut ratios) = (Vec::new(), [Vec::new(), Vec::new()]);
        for _ in 0..STARTS {
            let mut servers = Vec::new();
            for way in ways {
                servers.push(Server::start(way)?);
            }
            for _ in 0..TIMES {
                let mut times = Vec::new();
                for server in &mut servers {
                    times.push(server.answer_all(&writes)?);
                }
                without.push(times[0]);
                for (ratios, time) in ratios.iter_mut().zip(&times[1..]) {
                    ratios.push(time.as_secs_f64() / times[0].as_secs_f64());
                }
            }
            for server in servers {
                server.end()?;
            }
        }
        let [cats, wrapper] = ratios.map(|mut ratios| median(&mut ratios));
        println!(
            "{MESSAGES} messages pipelined, {sent}: alone {:.1?}; between two cats {cats:.2} times that; wrapped \
             {wrapper:.2} times (medians of {STARTS} starts, {TIMES} times each)",
            median(&mut without),
        );
    }
    Ok(())
}

/// What front and keeper have in memory that nobody shares, after some traffic and with a database. A program that was just
/// built counts as dirty until it is on the disk.
fn memory(folder: &Path) -> BenchResult {
    Command::new("sync").status()?;
    let mut server = Server::start(Between::Wrapper(&folder.join("governance.db")))?;
    for id in 0..2_000 {
        server.round_trip(&message(id, 4_000))?;
    }
    thread::sleep(Duration::from_secs(1));
    let front = server.child.id();
    let children = fs::read_to_string(format!("/proc/{front}/task/{front}/children"))?;
    let keeper: u32 = children.split_whitespace().next().ok_or("no keeper")?.parse()?;
    let (front, keeper) = (private_dirty_kb(front)?, private_dirty_kb(keeper)?);
    println!("Private_Dirty: front {front} kB, keeper {keeper} kB, together {} kB", front + keeper);
    server.end()
}

fn private_dirty_kb(pid: u32) -> BenchResult<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line =
        rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).ok_or("no Private_Dirty")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

/// The p99 of round trips while the database is in trouble, beside one that isn't, in turns.
fn troubles(folder: &Path) -> BenchResult {
    let small = std::env::var_os("GOVSTORE_SMALL_DISK").map(std::path::PathBuf::from);
    for trouble in ["locked", "deleted", "full"] {
        let place = match (trouble, &small) {
            ("full", None) => continue,
            ("full", Some(small)) => small.as_path(),
            _ => folder,
        };
        let (sound, troubled) = (folder.join("sound.db"), place.join(format!("{trouble}.db")));
        let (mut one, mut other) =
            (Server::start(Between::Wrapper(&sound))?, Server::start(Between::Wrapper(&troubled))?);
        let seconds: u64 = 60;
        let mut locking = None;
        if trouble == "locked" {
            let connection = rusqlite::Connection::open(&troubled)?;
            connection.execute_batch("BEGIN IMMEDIATE")?;
            locking = Some(connection);
        } else if trouble == "full" {
            let mut filler = fs::File::create(place.join("filler"))?;
            while filler.write_all(&[0; 4096]).is_ok() {}
        } else {
            for suffix in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(format!("{}{suffix}", troubled.display()));
            }
        }
        let began = Instant::now();
        let mut ratios = Vec::new();
        while ratios.len() < 10 {
            let turn = Duration::from_secs(seconds / 20);
            let calm = p99(&mut one, turn)?;
            ratios.push(p99(&mut other, turn)?.as_secs_f64() / calm.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "database {trouble} for {:.0?}: p99 of the traffic {:.2} times that of a sound one (median of ten pairs)",
            began.elapsed(),
            f64::midpoint(ratios[4], ratios[5])
        );
        drop(locking);
        one.end()?;
        other.end()?;
    }
    Ok(())
}

fn p99(server: &mut Server, turn: Duration) -> BenchResult<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < turn {
        times.push(server.round_trip(&message(times.len(), 100))?);
    }
    times.sort_unstable();
    Ok(times[times.len() * 99 / 100])
}

fn median<T: Copy + PartialOrd>(figures: &mut [T]) -> T {
    figures.sort_unstable_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    figures[figures.len() / 2]
}
