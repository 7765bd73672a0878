//! `apply`: many updates, one a line.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use clap::ValueHint;
use govstore::{Error, Store};
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
/// `response_text`, `complexity`, `parameters`, `ethical_drift`; `null` stands for NaN. Empty lines are
/// passed over. Each update is committed before its result is printed, and results come in the order of the
/// lines.
///
/// A line that can't be applied (it is not such an object, the agent is paused, the disk is full, …) is
/// reported with its number and changes nothing; the others go on. If whoever reads the output stops
/// reading, the rest is applied all the same. One thing ends it: a line in doubt, when the device fails so that
/// the update may have been kept or not.
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
  5  one is in doubt, the last that has a result: see whether it was kept (`govstore history`), then
     apply it if it was not, and the lines after it")]
pub struct Args {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let input = Input::open(&args.file)?; // first, so that a mistyped name creates no database
    let store = session.open_or_create()?;
    let mut results = Results::new(&mut session.out, input.size_bytes);
    let mut tally = Tally::default();
    let ended = apply(&store, input, &mut results, &mut tally);
    results.finish(&tally, ended.is_ok() && !tally.in_doubt)?;
    ended?;
    Ok(tally.exit())
}

fn apply(store: &Store, input: Input, results: &mut Results<'_>, tally: &mut Tally) -> Result<(), Failure> {
    let Input { name, reader, .. } = input;
    let mut lines = Lines::new(reader, update_line::MAX_BYTES);
    while let Some(line) = lines.read_next().map_err(|e| unreadable(&name, &e))? {
        tally.lines += 1;
        let result = match update_line::parse(&line) {
            Ok(None) => continue,
            Ok(Some((agent_id, update))) => {
                store.process_update(&agent_id, &update).map(UpdateReport::from).map_err(Refused::Store)
            }
            Err(reason) => Err(Refused::Line(reason)),
        };
        tally.count(&result);
        results.print(tally.lines, &result, lines.bytes_read())?;
        if tally.in_doubt {
            break; // the store refuses all that comes after it
        }
    }
    Ok(())
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
    reader: Box<dyn BufRead>,
    /// Size of a regular file: its progress can be shown.
    size_bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self { name, reader: Box::new(BufReader::new(io::stdin())), size_bytes: None });
        }
        let name = path.display().to_string();
        let open = || -> io::Result<(File, Metadata)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((file, metadata)) }
        };
        let (file, metadata) = open().map_err(|e| unreadable(&name, &e))?;
        let size_bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, reader: Box::new(BufReader::new(file)), size_bytes })
    }
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
}

impl<'o> Results<'o> {
    fn new(out: &'o mut Output, size_bytes: Option<u64>) -> Self {
        let bar = match size_bytes {
            Some(size_bytes) if io::stderr().is_terminal() => bar(size_bytes),
            _ => ProgressBar::hidden(),
        };
        Self { out, bar, reader_gone: false, warned: false }
    }

    /// Prints what became of one line, at once.
    fn print(
        &mut self,
        line: u64,
        result: &Result<UpdateReport, Refused>,
        bytes_read: u64,
    ) -> Result<(), Failure> {
        self.bar.set_position(bytes_read);
        // The bar steps aside for what is printed on its terminal.
        let printed = if result.is_err() || self.out.is_terminal() {
            let bar = self.bar.clone();
            bar.suspend(|| self.write(line, result))
        } else {
            self.write(line, result)
        };
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
        if let Err(refused) = result {
            complain(&format!("line {line}: {refused}"));
        }
        if self.reader_gone {
            return Ok(());
        }
        match result {
            Ok(report) if self.out.json() => self.out.success(report)?,
            Ok(report) => self.out.say(summary(line, report))?,
            Err(refused) if self.out.json() => {
                let (error, in_doubt) = (&refused.to_string(), refused.is_in_doubt());
                self.out.document(&RefusedLine { success: false, line, error, in_doubt })?;
            }
            Err(_) => {}
        }
        self.out.flush()
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
fn summary(line: u64, report: &UpdateReport) -> String {
    format!(
        "{line:>6}  {}  {}, {}: {}",
        paint::strong(&visible(&report.agent_id)),
        paint::action(report.decision.action),
        paint::health(report.metrics.health_status),
        report.metrics.health_message,
    )
}
