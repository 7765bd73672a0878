//! `completions`: for the shell's own completion of commands and options.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::generate;

use super::{Arguments, Exit, Outcome, Session};

/// Print a script that completes govstore's commands and options in a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore completions bash > ~/.local/share/bash-completion/completions/govstore
  govstore completions zsh > ~/.zfunc/_govstore
  govstore completions fish > ~/.config/fish/completions/govstore.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let mut script = Vec::new();
    generate(args.shell, &mut Arguments::command(), "govstore", &mut script);
    session.out.exactly(&script)?;
    Ok(Exit::DONE)
}
