//! `serve`: the MCP server.

use std::path::PathBuf;

use clap::ValueHint;
use govstore_mcp::{ServeError, ServeOptions, serve};

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
}

pub fn run(args: Args, session: &mut Session) -> Outcome {
    let options = ServeOptions {
        database: session.database_to_create()?,
        store: session.options(),
        log_file: args.log_file,
    };
    match serve(&options) {
        Ok(()) => Ok(Exit::DONE),
        Err(ServeError::Store(refusal)) => Err(Failure::Store(refusal)),
        Err(other) => Err(Failure::Serve(other)),
    }
}
