//! `run`: any MCP server, which ends with its client.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;
use govstore_run::{AgentName, Governance, Graces, RunOptions};

use super::{Failure, Outcome, Session};

/// Run any MCP server, so that it ends with its client
///
/// Put `govstore run --` in front of the server's command in your client's configuration. The server is registered, `ps`
/// shows which client uses it, its calls are counted, and it ends with all that it has started once the client closes
/// standard input, is gone, or wants an end: after a grace by SIGTERM, and after another one by SIGKILL.
///
/// Bytes pass as they are. A database that is busy, full or gone costs the registration and the figures, and not the
/// server. Its exit code or signal becomes that of this command.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example, for a client that reads a list of MCP servers as JSON:
  { \"mcpServers\": { \"everything\": { \"command\": \"govstore\",
    \"args\": [\"run\", \"--\", \"npx\", \"-y\", \"@modelcontextprotocol/server-everything\"] } } }

With --update each call of a tool is an update of the agent: its text is that of the call's arguments, 64 KiB of it
at most, and its complexity the number between 0 and 1 that the arguments have as \"complexity\", else 0.5.")]
pub struct Args {
    /// Name of the server in `ps`; after its package or program, unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How many servers of that name may run; one more is refused, and says so to its client
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Seconds that the server may take to end after its input has ended
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    end_grace: Duration,
    /// Seconds that it may take after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    term_grace: Duration,
    /// Append to this file what the server writes to standard error, too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log_file: Option<PathBuf>,
    /// Refuse calls of tools while this agent is paused, archived or deleted
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// The same for the agent that is named as the client names itself
    #[arg(long, value_name = "SOURCE", value_parser = ["client"], conflicts_with = "agent")]
    agent_from: Option<String>,
    /// Refuse calls also while the database can't be asked; otherwise they pass
    #[arg(long)]
    fail_closed: bool,
    /// Make one update of the agent for each call
    #[arg(long)]
    update: bool,
    /// Start the server again when it fails, five times a minute at most
    ///
    /// The new one is told the handshake of the old one again, and the client notices nothing of that but errors in place of
    /// the answers that were due. What else the server knew, as subscriptions, is lost. Not for servers that the client
    /// starts again by itself.
    #[arg(long, value_name = "WHEN", value_parser = ["on-failure"])]
    restart: Option<String>,
    /// The server's command, after `--`
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// Doesn't return if the server has run: this process ends as the server did.
pub fn run(args: Args, session: &Session) -> Outcome {
    let agent = match (args.agent, args.agent_from) {
        (Some(agent), _) => Some(AgentName::Given(agent)),
        (None, Some(_)) => Some(AgentName::Client), // the one source that there is
        (None, None) => None,
    };
    if agent.is_none() && (args.fail_closed || args.update) {
        let option = if args.update { "--update" } else { "--fail-closed" };
        return Err(Failure::Usage(format!("{option} needs --agent AGENT or --agent-from client")));
    }
    let governance =
        agent.map(|agent| Governance { agent, fail_closed: args.fail_closed, update: args.update });
    let options = RunOptions {
        command: args.command,
        name: args.name,
        limit: args.limit,
        graces: Graces { end_of_input: args.end_grace, terminate: args.term_grace },
        log_file: args.log_file,
        database: session.database_to_create().map_err(|failure| failure.to_string()),
        store: session.options(),
        governance,
        restart_on_failure: args.restart.is_some(), // the one occasion that there is
    };
    govstore_run::run(options)?.imitate()
}

/// An hour at most.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.0..=3_600.0).contains(&seconds) {
        return Err("not between 0 and 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
