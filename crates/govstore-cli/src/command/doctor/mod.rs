//! `doctor`: the MCP servers that clients are configured to start, and a keeper for them.

mod changing;
mod listing;

use std::path::PathBuf;

use clap::ValueHint;

use crate::doctor::own::Own;
use crate::doctor::places::{self, Client, Place};
use crate::doctor::plan::Change;
use crate::doctor::survey::{Configuration, configuration};

use super::output::complain;
use super::{Exit, Failure, Outcome, Session};

/// Find the MCP servers of your clients, and give them a keeper
///
/// Reads the configurations of Claude Desktop, Claude Code, Cursor, VS Code, Codex and Zed where they lie, those of the
/// current folder included, and lists the servers that a client starts: who ends each when its client is gone, how many
/// run now without a keeper, and how many of these are orphans, whose client is gone. Nothing is changed unless --wrap or
/// --unwrap says so. No database is needed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Keepers:
  none    nobody: the server may stay when its client is gone
  run     `govstore run` in front of it
  itself  it is `govstore serve`, which ends with its client

Examples:
  govstore doctor
  govstore doctor --wrap --client claude-code --server files
  govstore doctor --unwrap --yes
  govstore --json doctor | jq -r '.files[].servers[] | select(.keeper == \"none\") | .name'

Exit codes:
  0  nothing is amiss; with --wrap or --unwrap, what was asked for is so
  1  a server has no keeper, a process runs without one, or a configuration can't be read or changed
  2  the command line is not right, or --yes is needed")]
pub struct Args {
    /// Look at these files alone; of any client, JSON or TOML
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Put `govstore run --` in front of the servers' commands
    ///
    /// The changed lines are shown first, and a copy of each file is kept beside it. All else in a file stays as it is:
    /// comments, order and spacing.
    #[arg(long, conflicts_with = "unwrap")]
    wrap: bool,

    /// Take `govstore run --` away again
    #[arg(long)]
    unwrap: bool,

    /// The configurations of this client alone
    #[arg(long, value_name = "NAME")]
    client: Option<Client>,

    /// This server alone; more than one may be given
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,

    /// Don't ask before a configuration is changed
    #[arg(long, short)]
    yes: bool,
}

/// A file, and what is in it or why that can't be said.
type Read = (Place, Result<Configuration, String>);

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let named = args.files.iter().map(|file| places::named(file));
    let places = if args.files.is_empty() { places::present() } else { named.collect() };
    let of_client = |place: &Place| args.client.is_none_or(|client| client == place.client);
    let files: Vec<Read> = places
        .into_iter()
        .filter(of_client)
        .map(|place| {
            let found = configuration(&place);
            (place, found)
        })
        .collect();
    for name in &args.servers {
        let mut servers =
            files.iter().filter_map(|(_, found)| found.as_ref().ok()).flat_map(|found| &found.servers);
        if !servers.any(|server| server.name == *name) {
            return Err(Failure::Usage(format!(
                "no server is called {name:?}; `govstore doctor` lists them"
            )));
        }
    }
    match (args.wrap, args.unwrap) {
        (true, _) => changing::change(args, Change::Wrap, &files, session),
        (_, true) => changing::change(args, Change::Unwrap, &files, session),
        _ => listing::list(args, &files, session),
    }
}

fn own() -> Result<Own, Failure> {
    Own::find()
        .map_err(|e| Failure::Input { what: "where this program is".to_owned(), reason: e.to_string() })
}

/// Says on stderr what is amiss, and exits accordingly.
fn conclude(amiss: Option<&str>, session: &mut Session) -> Outcome {
    let Some(sentence) = amiss else { return Ok(Exit::DONE) };
    session.out.flush()?; // stderr is to have the last word
    complain(sentence);
    Ok(Exit::FAILED)
}

const NOTHING_FOUND: &str =
    "no client here has servers configured; name a configuration: `govstore doctor FILE`";
