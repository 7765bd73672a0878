//! `watch`: the fleet on a terminal, live.

use govstore::AgentOrder;

use super::{Failure, Outcome, Session};
use crate::watch::{Query, watch};

/// Watch the fleet on the terminal, live
///
/// Agents with their risk and coherence over the latest updates, processes with heartbeats and verdicts, locks,
/// and events, read once a second. Keys sort, filter, and pause or resume the selected agent; `?` lists them.
/// Nothing else is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Keys:
  ↑ ↓          select a row; Tab goes to the next table
  p, r         pause, resume the selected agent
  s, S         sort: worst, risk, coherence, updates, latest, id
  h, l         only agents of one health, of one lifecycle status
  /            only agents whose id has a text in it
  ?, q         help, quit

Examples:
  govstore watch --sort latest
  govstore events --follow --json     # the same for scripts")]
pub struct Args {
    /// Which agents come first: worst, risk, coherence, updates, latest or id
    #[arg(long, value_name = "ORDER", default_value = "worst")]
    sort: AgentOrder,

    /// List this many agents at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    if session.out.json() {
        let sentence =
            "watch is for people; for scripts there are `events --follow --json` and `health --json`";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let no_terminal = |what: &str| {
        let sentence = "`govstore agents`, `govstore health` and `govstore events --follow` write anywhere";
        Failure::Usage(format!("{what}; {sentence}"))
    };
    if !session.out.is_terminal() {
        return Err(no_terminal("standard output is no terminal"));
    }
    if std::env::var_os("TERM").is_some_and(|kind| kind == "dumb") {
        return Err(no_terminal("this terminal shows lines alone (TERM is dumb)"));
    }
    watch(session.open()?, Query::new(args.sort, args.limit), session.out.colour())
}
