//! `apply`: many updates, one a line.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use clap::ValueHint;
use govstore::{Error, HealthThresholds, Store, Update, explain};
use govstore_mcp::lines::Lines;
use govstore_mcp::update_line;
use govstore_mcp::wire::UpdateReport;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::figures::count;
use super::output::{Output, complain, is_false};
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, paint};

/// Make many updates, one a line of a file
///
/// Each line is a JSON object as the MCP tool `process_agent_update` takes it: `agent_id`, and any of
/// `response_text`, `complexity`, `parameters`, `ethical_drift`, `key`; `null` stands for NaN. Empty lines are
/// passed over. Lines that are there to be read together share a commit; each update is committed before its
/// result is printed, and results come in the order of the lines. With keys, a file may be applied again after
/// it was broken off: what was made is answered as it was then, and not made twice.
///
/// A line that can't be applied (it is not such an object, the agent is paused, the disk is full, …) is
/// reported with its number and changes nothing; the others go on. If whoever reads the output stops
/// reading, the rest is applied all the same. One thing ends it: lines in doubt, when the device fails at a commit
/// so that their updates may have been kept or not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore apply updates.jsonl
  govstore --json apply - < updates.jsonl > results.jsonl

With --json, one result a line: that of `update`, or
  {\"success\":false,\"line\":3,\"error\":\"…\"}
and for a line in doubt \"in_doubt\":true in it.

Exit codes:
  0  every line was applied
  1  some were not; apply those again, and not the whole file
  4  none was, since the database was busy for too long: apply the file again
  5  some are in doubt, the last that have results: those with a key may be applied again as they are,
     and the lines after them; for others see whether they were kept (`govstore history`)")]
pub struct Args {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// A batch that may share a commit: so many lines, or as soon as it has so many bytes.
const BATCH_LINES: usize = 512;
const BATCH_BYTES: usize = 256 << 10;

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let input = Input::open(&args.file)?; // first, so that a mistyped name creates no database
    let store = session.open_or_create()?;
    let mut results = Results::new(&mut session.out, input.size_bytes, store.settings()?.health_thresholds());
    let mut tally = Tally::default();
    let ended = apply(store, input, &mut results, &mut tally);
    results.finish(&tally, ended.is_ok() && !tally.in_doubt)?;
    ended?;
    Ok(tally.exit())
}

/// Reads and parses on one thread, applies on another what has been read meanwhile, a batch at a time with as few commits
/// as may be, and prints here what was committed.
fn apply(store: Store, input: Input, results: &mut Results<'_>, tally: &mut Tally) -> Result<(), Failure> {
    let name = input.name.clone();
    // Neither thread is waited for where applying is given up: it may wait for input that nobody wants any more.
    let start = |work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().spawn(work).map(drop).map_err(|error| unreadable(&name, &error))
    };
    let (sender, batches) = mpsc::sync_channel(1);
    start(Box::new(move || read(input, &sender)))?;
    let (sender, applied_batches) = mpsc::sync_channel(1);
    start(Box::new(move || {
        apply_batches(&store, batches, &sender);
        drop(store); // closed before the results end, and with them the program
        drop(sender);
    }))?;
    for batch in applied_batches {
        let Applied { results: lines, bytes_read } = batch?;
        for (line, result) in lines {
            let is_refused_after = matches!(&result, Err(Refused::Store(Error::RefusedAfterDoubt { .. })));
            if tally.in_doubt && is_refused_after {
                break; // as are all that come after it
            }
            tally.lines = line;
            tally.count(&result);
            results.print(line, &result)?;
        }
        results.flush(bytes_read)?;
        if tally.in_doubt {
            break;
        }
    }
    Ok(())
}

/// What became of a batch.
struct Applied {
    /// Each line's number and result.
    results: Vec<(u64, Result<UpdateReport, Refused>)>,
    bytes_read: u64,
}

/// Applies batches until there are no more, one is in doubt, or nobody wants the results.
fn apply_batches(
    store: &Store,
    batches: mpsc::Receiver<Result<Batch, Failure>>,
    applied: &mpsc::SyncSender<Result<Applied, Failure>>,
) {
    for batch in batches {
        let batch = batch
            .map(|batch| Applied { results: apply_batch(store, batch.lines), bytes_read: batch.bytes_read });
        let is_last = batch.as_ref().is_ok_and(|batch| {
            batch.results.iter().any(|(_, result)| result.as_ref().is_err_and(Refused::is_in_doubt))
        });
        if applied.send(batch).is_err() || is_last {
            return;
        }
    }
}

fn apply_batch(store: &Store, lines: Vec<NumberedLine>) -> Vec<(u64, Result<UpdateReport, Refused>)> {
    let mut updates = Vec::with_capacity(lines.len());
    let mut results = Vec::with_capacity(lines.len());
    for NumberedLine { number, parsed } in lines {
        match parsed {
            Ok(update) => {
                updates.push(update);
                results.push((number, None));
            }
            Err(reason) => results.push((number, Some(Refused::Line(reason)))),
        }
    }
    let mut reports = store.process_updates(&updates).into_iter();
    let result = |(number, refused)| match refused {
        Some(refused) => Some((number, Err(refused))),
        None => reports.next().map(|made| (number, made.map(UpdateReport::from).map_err(Refused::Store))),
    };
    results.into_iter().map_while(result).collect()
}

/// A line that is not blank, parsed.
struct NumberedLine {
    /// From 1 on.
    number: u64,
    /// The agent and its update, or what is wrong with the line.
    parsed: Result<(String, Update), String>,
}

/// Lines that were there to be read at once.
#[derive(Default)]
struct Batch {
    lines: Vec<NumberedLine>,
    /// Bytes of the input up to its end.
    bytes_read: u64,
}

/// Reads batches until the input ends, fails, or nobody wants more.
fn read(input: Input, batches: &mpsc::SyncSender<Result<Batch, Failure>>) {
    let Input { name, reader, .. } = input;
    let mut lines = Lines::new(reader, update_line::MAX_BYTES);
    let mut batch = Batch::default();
    let (mut number, mut began_at) = (0, 0);
    loop {
        let parsed = match lines.read_next() {
            Ok(Some(line)) => update_line::parse(&line),
            Ok(None) => break,
            Err(error) => {
                let _ = batches.send(Ok(batch)); // what was read before is applied
                let _ = batches.send(Err(unreadable(&name, &error)));
                return;
            }
        };
        number += 1;
        if let Some(parsed) = parsed.transpose() {
            batch.lines.push(NumberedLine { number, parsed });
        }
        batch.bytes_read = lines.bytes_read();
        let is_full = batch.lines.len() >= BATCH_LINES || batch.bytes_read - began_at >= BATCH_BYTES as u64;
        if is_full || !batch.lines.is_empty() && lines.must_wait() {
            began_at = batch.bytes_read;
            if batches.send(Ok(std::mem::take(&mut batch))).is_err() {
                return; // applying was given up
            }
        }
    }
    let _ = batches.send(Ok(batch));
}

/// Why a line was not applied.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Line(String),
    #[error("{}", crate::hint::Hinted(.0))]
    Store(Error),
}

impl Refused {
    /// Whether it may have been applied all the same.
    fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_in_doubt())
    }
}

/// What became of the lines so far.
#[derive(Default)]
struct Tally {
    /// Lines read, blank ones too.
    lines: u64,
    applied: u64,
    refused: u64,
    /// How many of the refused ones met a busy database.
    busy: u64,
    /// Whether the last line was applied is not known.
    in_doubt: bool,
}

impl Tally {
    fn count(&mut self, result: &Result<UpdateReport, Refused>) {
        match result {
            Ok(_) => self.applied += 1,
            Err(refused) => {
                self.refused += 1;
                self.busy += u64::from(matches!(refused, Refused::Store(error) if error.is_busy()));
                self.in_doubt |= refused.is_in_doubt();
            }
        }
    }

    /// Busy only where nothing was applied: that code invites to apply the whole file again.
    fn exit(&self) -> Exit {
        match self {
            Self { in_doubt: true, .. } => Exit::IN_DOUBT,
            Self { refused: 0, .. } => Exit::DONE,
            Self { applied: 0, refused, busy, .. } if refused == busy => Exit::BUSY,
            _ => Exit::FAILED,
        }
    }
}

/// Where the lines come from.
struct Input {
    name: String,
    reader: BufReader<Box<dyn Read + Send>>,
    /// Size of a regular file: its progress can be shown.
    size_bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self { name, reader: buffered(Box::new(io::stdin())), size_bytes: None });
        }
        let name = path.display().to_string();
        let open = || -> io::Result<(File, Metadata)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((file, metadata)) }
        };
        let (file, metadata) = open().map_err(|e| unreadable(&name, &e))?;
        let size_bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, reader: buffered(Box::new(file)), size_bytes })
    }
}

/// Room for a batch of usual lines.
fn buffered(input: Box<dyn Read + Send>) -> BufReader<Box<dyn Read + Send>> {
    BufReader::with_capacity(BATCH_BYTES, input)
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::Input { what: name.to_owned(), reason: error.to_string() }
}

/// Where the results go: stdout, stderr and a progress bar, which may all be one terminal.
struct Results<'o> {
    out: &'o mut Output,
    bar: ProgressBar,
    /// Whoever read stdout has stopped. The updates go on: to stop half way would lose the rest silently.
    reader_gone: bool,
    warned: bool,
    thresholds: HealthThresholds,
}

impl<'o> Results<'o> {
    fn new(out: &'o mut Output, size_bytes: Option<u64>, thresholds: HealthThresholds) -> Self {
        let bar = match size_bytes {
            Some(size_bytes) if io::stderr().is_terminal() => bar(size_bytes),
            _ => ProgressBar::hidden(),
        };
        Self { out, bar, reader_gone: false, warned: false, thresholds }
    }

    /// Prints what became of one line.
    fn print(&mut self, line: u64, result: &Result<UpdateReport, Refused>) -> Result<(), Failure> {
        // The bar steps aside for what is printed on its terminal.
        let printed = if result.is_err() || self.out.is_terminal() {
            let bar = self.bar.clone();
            bar.suspend(|| self.write(line, result))
        } else {
            self.write(line, result)
        };
        self.note_reader(printed)
    }

    /// Shows what was printed, and how far the input was read.
    fn flush(&mut self, bytes_read: u64) -> Result<(), Failure> {
        self.bar.set_position(bytes_read);
        let flushed = if self.reader_gone { Ok(()) } else { self.out.flush() };
        self.note_reader(flushed)
    }

    fn note_reader(&mut self, printed: io::Result<()>) -> Result<(), Failure> {
        match printed {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.reader_gone = true,
            printed => printed?,
        }
        Ok(())
    }

    fn write(&mut self, line: u64, result: &Result<UpdateReport, Refused>) -> io::Result<()> {
        let warning = result.as_ref().ok().and_then(|report| report.warning);
        if let Some(warning) = warning.filter(|_| !self.warned) {
            self.warned = true;
            complain(&format!("warning: {warning}"));
        }
        // On a terminal, and where both go to one file, results and complaints come in the order of the lines.
        let at_once = result.is_err() || self.out.is_terminal();
        if let Err(refused) = result {
            let flushed = if self.reader_gone { Ok(()) } else { self.out.flush() };
            complain(&format!("line {line}: {refused}"));
            flushed?;
        }
        if self.reader_gone {
            return Ok(());
        }
        match result {
            Ok(report) if self.out.json() => self.out.success(report)?,
            Ok(report) => self.out.say(summary(line, report, &self.thresholds))?,
            Err(refused) if self.out.json() => {
                let (error, in_doubt) = (&refused.to_string(), refused.is_in_doubt());
                self.out.document(&RefusedLine { success: false, line, error, in_doubt })?;
            }
            Err(_) => {}
        }
        if at_once { self.out.flush() } else { Ok(()) }
    }

    /// Says what became of them all. `complete` is false where something other than a line ended it.
    fn finish(&mut self, tally: &Tally, complete: bool) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let applied = count(tally.applied, "update");
        if !complete {
            complain(&format!("stopped at line {}; {applied} applied before", tally.lines));
        } else if tally.refused > 0 {
            complain(&format!("{applied} applied, {} refused", count(tally.refused, "line")));
        } else if !self.out.json() && !self.reader_gone {
            self.out.say(format!("{applied} applied"))?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct RefusedLine<'a> {
    success: bool,
    line: u64,
    error: &'a str,
    /// Set if it may have been applied all the same.
    #[serde(skip_serializing_if = "is_false")]
    in_doubt: bool,
}

fn bar(size_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(size_bytes).with_style(style);
    bar.tick();
    bar
}

/// An update on one line.
fn summary(line: u64, report: &UpdateReport, thresholds: &HealthThresholds) -> String {
    let metrics = &report.metrics;
    format!(
        "{line:>6}  {}  {}, {}: {}",
        paint::strong(&visible(&report.agent_id)),
        paint::action(report.decision.action),
        paint::health(metrics.health_status),
        explain::decision(metrics.risk_score, metrics.coherence, metrics.void_active, thresholds),
    )
}
