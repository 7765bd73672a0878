//! `report`: the fleet as one HTML page.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::ValueHint;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::figures::{count, megabytes};
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session};
use crate::report::{DOCTYPE, Limits, Snapshot, page};

/// Write the state and the past of all agents as one HTML page
///
/// The page needs no network and runs no script. It has the fleet, every agent's figures over time with the
/// boundaries that they are judged by, decisions, events, the registered processes, what they have locked, and the reaper's ledger.
/// Nothing in the database is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore report --out fleet.html
  govstore report --out - | gzip > fleet.html.gz")]
pub struct Args {
    /// The file to write, `-` for standard output; an earlier report is replaced in one step
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: PathBuf,

    /// Plot this many agents; the others, which are doing better, are only listed
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    plots: usize,

    /// Plot this many updates of each agent, the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
}

#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
    bytes: u64,
    agents: usize,
    plotted: usize,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let to_stdout = args.out.as_os_str() == "-";
    if to_stdout && session.out.json() {
        return Err(Failure::Usage("--json and the page cannot both go to standard output".to_owned()));
    }
    // Before the database is open: to open it here by mistake, and close it, would cost its locks.
    let target = if to_stdout { None } else { Some(target(&args.out)?) };
    let store = session.open()?;
    let snapshot = Snapshot::read(&store, Limits { agents: args.plots, updates: args.last })?;
    let page = page(&store, &snapshot)?;
    let Some(target) = target else {
        session.out.exactly(page.as_bytes())?;
        return Ok(Exit::DONE);
    };
    replace(&target, &page).map_err(|error| not_written(&args.out, &error))?;

    let (bytes, agents, plotted) = (page.len() as u64, snapshot.agents.len(), snapshot.plotted().len());
    if session.out.json() {
        session.out.success(&Written { file: &args.out, bytes, agents, plotted })?;
    } else {
        let file = args.out.to_string_lossy();
        session.out.say(format!("{}: {}, {}", visible(&file), count(agents, "agent"), megabytes(bytes)))?;
    }
    Ok(Exit::DONE)
}

/// The file that is to be written, behind any links. Only a report, or an empty file, may be there already: a
/// mistyped name must not cost somebody a database.
fn target(out: &Path) -> Result<PathBuf, Failure> {
    let refused =
        |reason: &str| Failure::Written { what: out.display().to_string(), reason: reason.to_owned() };
    let path = match fs::canonicalize(out) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(out.to_owned()),
        Err(error) => return Err(not_written(out, &error)),
    };
    if !fs::metadata(&path).map_err(|error| not_written(out, &error))?.is_file() {
        return Err(refused("it is there and no file; `--out -` writes to standard output"));
    }
    let mut beginning = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(DOCTYPE.len() as u64).read_to_end(&mut beginning))
        .map_err(|error| not_written(out, &error))?;
    if !beginning.is_empty() && beginning != DOCTYPE.as_bytes() {
        return Err(refused("the file that is there is no report; name another one, or remove it"));
    }
    Ok(path)
}

/// Puts the page where it belongs in one step: whoever looks sees the old one, or the whole new one.
fn replace(target: &Path, page: &str) -> io::Result<()> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = new_file(folder)?;
    if let Ok(earlier) = fs::metadata(target) {
        file.as_file().set_permissions(earlier.permissions())?; // as its owner has chosen since
    }
    file.write_all(page.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}

/// A file with a name of its own, which goes away unless it is kept. It is for its owner alone, as the database is
/// that it tells of.
fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".govstore-report-").tempfile_in(folder)
}

fn not_written(out: &Path, error: &io::Error) -> Failure {
    Failure::Written { what: out.display().to_string(), reason: error.to_string() }
}
