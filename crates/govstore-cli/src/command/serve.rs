//! `serve`: the MCP server.

use std::path::PathBuf;

use clap::ValueHint;
use govstore_mcp::{Offer, ServeError, ServeOptions, ToolName, serve};

use super::{Exit, Failure, Outcome, Session};

/// Serve one MCP client on standard input and output
///
/// This is the command for an MCP client's configuration; the client starts it and ends it. It ends by itself
/// when the client closes standard input or is gone, and on SIGTERM and SIGINT. Any number of servers may
/// share a database.
///
/// Logs go to standard error. The environment variable `RUST_LOG` says how much is logged, such as `debug` or
/// `govstore=debug`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example, for a client that reads a list of MCP servers as JSON:
  { \"mcpServers\": { \"governance\": { \"command\": \"govstore\", \"args\": [\"serve\"] } } }")]
pub struct Args {
    /// Log to the end of this file instead; for clients that swallow standard error
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log_file: Option<PathBuf>,
    /// Offer only the tools that change nothing
    #[arg(long)]
    read_only: bool,
    /// Offer all tools but these, which are separated by commas
    #[arg(long, value_name = "TOOL,…", value_delimiter = ',')]
    without: Vec<ToolName>,
    /// Answer with whole rows and without limits, as that version did
    #[arg(long, value_name = "VERSION", value_parser = ["v1.0.3"])]
    compat: Option<String>,
}

pub fn run(args: Args, session: &mut Session) -> Outcome {
    let options = ServeOptions {
        database: session.database_to_create()?,
        store: session.options(),
        log_file: args.log_file,
        offer: Offer {
            read_only: args.read_only,
            without: args.without,
            as_v1_0_3: args.compat.is_some(), // the one version that there is
        },
    };
    match serve(&options) {
        Ok(()) => Ok(Exit::DONE),
        Err(ServeError::Store(refusal)) => Err(Failure::Store(refusal)),
        Err(other) => Err(Failure::Serve(other)),
    }
}
