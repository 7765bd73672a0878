//! `man`: manual pages, from the same declarations as the help.

use std::path::PathBuf;

use clap::{CommandFactory, ValueHint};

use super::{Arguments, Exit, Failure, Outcome, Session};

/// Write manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore man ~/.local/share/man/man1
  man govstore-backup")]
pub struct Args {
    /// The folder to write them into; it must be there
    #[arg(value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let refused = |reason: std::io::Error| Failure::Written {
        what: args.folder.display().to_string(),
        reason: reason.to_string(),
    };
    clap_mangen::generate_to(Arguments::command(), &args.folder).map_err(refused)?;
    let pages = pages(&Arguments::command());
    if session.out.json() {
        session.out.success(&serde_json::json!({ "folder": args.folder, "pages": pages }))?;
    } else {
        session.out.say(format!("wrote {pages} pages to {}", args.folder.display()))?;
    }
    Ok(Exit::DONE)
}

/// A page for the command, and those of its subcommands.
fn pages(command: &clap::Command) -> usize {
    1 + command.get_subcommands().map(pages).sum::<usize>()
}
