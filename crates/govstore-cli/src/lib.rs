//! The command line: commands over the library's public interface.
//!
//! `parse` reads the arguments, `run` resolves them into a `Session` (which database, which kind of
//! output) and hands it to one command. Each command is a file in `command` with its `Args` and a `run`;
//! a new one is such a file and a line in `Command`. Everything for stdout goes through
//! `output::Output`, everything for stderr through `output::complain`: they keep what the database holds
//! from acting on a terminal.

mod actors;
mod calls;
mod client;
mod command;
mod csv;
mod doctor;
mod facts;
mod failure;
mod figures;
mod file_size_limit;
mod hint;
mod json;
mod occupancy;
mod output;
mod paint;
mod progress;
mod report;
mod risk;
mod selftest;
mod session;
mod sparkline;
#[cfg(unix)]
mod suspend;
mod table;
mod text_argument;
mod timeline;
mod visible;
mod watch;
mod zone;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueHint};
use govstore::Store;

use command::Command;
use failure::{Exit, Failure};
use output::{Output, complain};
use session::Session;

/// The whole program: reads the arguments of this process, does what they ask for, and says how to exit.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(exit) = govstore_run::inner(std::env::args_os().skip(1)) {
        return exit;
    }
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    let (json, is_server) = (arguments.json, matches!(arguments.command, Command::Serve(_)));
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => Exit::DONE.into(), // `govstore agents | head`
        Err(failure) => {
            report_failure(&failure, json, is_server);
            failure.exit().into()
        }
    }
}

/// What a command comes to.
type Outcome = Result<Exit, Failure>;

/// A SQLite governance store for fleets of MCP server processes
///
/// One file holds the state, history and health of every agent, and any number of processes may use it at
/// once. These commands read and change that file.
#[derive(Debug, Parser)]
#[command(name = "govstore", version, after_long_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    /// The database: a file, or an address such as `postgres://host/name`
    ///
    /// Without it, what the environment variable `GOVSTORE_DB` names; without that,
    /// govstore/governance.db in your data folder. `serve`, `update`, `apply`, `import`, `restore` and
    /// `config set` create it; the other commands never do. The folder of a database that you name must be
    /// there.
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    db: Option<PathBuf>,

    /// Print JSON
    ///
    /// One document on standard output, whatever happens: `"success"` says whether the command did what it
    /// was asked to, and `"error"` why not. (`apply` and `events --follow` print one a line.)
    #[arg(long, global = true)]
    json: bool,

    /// Open a database that has a second name (a hard link)
    ///
    /// Whoever opens it by another name keeps another log, and the two lose each other's updates.
    #[arg(long, global = true)]
    force_hard_link: bool,

    /// Open a database on a network file system, or on one that is shared with a virtual machine
    ///
    /// If processes of another machine use the database too, the two lose each other's updates.
    #[arg(long, global = true)]
    force_file_system: bool,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  govstore update writer --text \"All tests pass.\" --complexity 0.2
  govstore agents --status paused
  govstore health --check
  govstore --json agent writer | jq .agent.risk_score

Exit codes:
  0  done (also when whoever reads the output stops reading)
  1  failed; the message on standard error says why
  2  the command line is not right
  4  the database, or the agent, was locked for too long, and nothing was changed
  5  in doubt: the device failed, and the change may have been kept or not. Look before you make
     it again; with --json there is \"in_doubt\": true
  `health --check` has its own: 0 healthy, 1 degraded, 2 critical, 3 unknown";

/// Reads the arguments of this process. Where there is nothing to run (a mistake, `--help`) it says what is
/// to be said, and returns how to exit.
fn parse() -> Result<Arguments, Exit> {
    Arguments::try_parse().map_err(|refusal| {
        let _ = refusal.print(); // nobody listens: the exit code still tells
        if refusal.exit_code() == 0 {
            return Exit::DONE;
        }
        // Nothing was parsed, yet a script that asked for JSON waits for it.
        if std::env::args_os().any(|argument| argument == OsStr::new("--json")) {
            let text = refusal.render().to_string();
            let sentence = text.split("\n\n").next().unwrap_or_default();
            let words: Vec<&str> = sentence.split_whitespace().collect();
            let sentence = words.join(" ").trim_start_matches("error: ").to_owned();
            let _ = Output::new(true).failure(&Failure::Usage(sentence));
        }
        Exit::USAGE
    })
}

/// Does what the arguments ask for.
fn run(arguments: Arguments) -> Outcome {
    file_size_limit::outlive();
    #[cfg(unix)]
    suspend::between_transactions();
    let options = Store::options()
        .force_hard_link(arguments.force_hard_link)
        .force_file_system(arguments.force_file_system);
    let mut session = Session::new(arguments.db, options, Output::new(arguments.json));
    let exit = arguments.command.run(&mut session)?;
    match session.out.flush() {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(exit), // the command knows how it went
        flushed => flushed.map(|()| exit).map_err(Failure::from),
    }
}

/// Says why a server failed. It must end even if nobody reads what it says: a client that doesn't has filled the pipe.
fn complain_if_read(sentence: String) {
    let (said, is_said) = mpsc::channel();
    thread::spawn(move || {
        complain(&sentence);
        let _ = said.send(()); // nobody waits for it any more
    });
    let _ = is_said.recv_timeout(Duration::from_millis(200));
}

/// Says why a command failed: on stderr, and with `json` as a document on stdout too.
fn report_failure(failure: &Failure, json: bool, is_server: bool) {
    let sentence = failure.to_string();
    if is_server {
        complain_if_read(sentence);
    } else {
        complain(&sentence);
    }
    if json {
        let _ = Output::new(true).failure(failure); // stdout may be what failed
    }
}
