//! `selftest`: does it work on this machine?

use std::io::{self, Read};
use std::time::Instant;

use clap::ValueEnum;
use govstore::ProcessInfo;
use serde::Serialize;

use super::output::complain;
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, paint};
use crate::selftest::{Bench, CHECKS};

/// Check on this machine that govstore does what it promises
///
/// Works on temporary databases with processes of this very program: several write at once, health is judged,
/// servers crash and fall silent, an agent is led through its life. Your database is not touched. It takes
/// some seconds. If the database that you name is on a server, it works there, in schemas of its own which it drops.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  0  every check passed
  1  one failed; its line says what is wrong")]
pub struct Args {
    /// Be one of the servers of a self-test
    #[arg(long, hide = true, value_enum)]
    server: Option<Manner>,
}

/// How a server of a self-test behaves.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Manner {
    Beating,
    Silent,
}

#[derive(Serialize)]
struct Checked {
    name: &'static str,
    passed: bool,
    /// The figure that it passed with, or what is wrong.
    finding: String,
    took_ms: u128,
}

#[derive(Serialize)]
struct Report {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    checks: Vec<Checked>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    if let Some(manner) = args.server {
        return serve(manner, session);
    }
    let mut checks = Vec::new();
    for (name, check) in CHECKS {
        let begun = Instant::now();
        let found = bench(session).and_then(|bench| check(&bench));
        let passed = found.is_ok();
        let finding = found.unwrap_or_else(|wrong| wrong);
        let checked = Checked { name, passed, finding, took_ms: begun.elapsed().as_millis() };
        if !session.out.json() {
            session.out.say(line(&checked))?;
            session.out.flush()?; // the next one takes a while
        }
        checks.push(checked);
    }
    let failed: Vec<&str> = checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
    let error = (!failed.is_empty()).then(|| format!("the self-test failed: {}", failed.join(", ")));
    let success = error.is_none();
    if let Some(sentence) = &error {
        complain(sentence);
    }
    if session.out.json() {
        session.out.document(&Report { success, error, checks })?;
    }
    Ok(if success { Exit::DONE } else { Exit::FAILED })
}

/// What a check works on: in a temporary folder, or beside the database that was named, if that is on a server.
fn bench(session: &Session) -> Result<Bench, String> {
    let no_folder = |e| format!("no temporary folder: {e}");
    #[cfg(feature = "postgres")]
    if let Some(address) = session.named_address() {
        let trial = session.options().trial(address).map_err(|e| format!("no schema for it: {e}"))?;
        return Bench::on_a_server(trial).map_err(no_folder);
    }
    #[cfg(not(feature = "postgres"))]
    let _ = session;
    Bench::new().map_err(no_folder)
}

fn line(Checked { name, passed, finding, took_ms }: &Checked) -> String {
    let verdict = paint::passed(*passed);
    format!("{verdict}  {name:<11}  {} ({took_ms} ms)", visible(finding))
}

/// Registers, says so, and lives until its client closes stdin.
fn serve(manner: Manner, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let registration = store.register(ProcessInfo::new("selftest", env!("CARGO_PKG_VERSION")))?;
    if matches!(manner, Manner::Beating) {
        registration.start_heartbeat()?;
    }
    session.out.exactly(b"registered\n")?;
    session.out.flush()?;
    io::stdin()
        .lock()
        .read_to_end(&mut Vec::new())
        .map_err(|e| Failure::Input { what: "standard input".to_owned(), reason: e.to_string() })?;
    registration.deregister()?;
    Ok(Exit::DONE)
}
