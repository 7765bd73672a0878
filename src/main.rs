//! The `govstore` command. What it does is in [`cli`]; here its outcome becomes an exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (arguments, json) = match cli::parse() {
        Ok(arguments) => {
            let json = arguments.json();
            (arguments, json)
        }
        Err(exit) => return exit.into(),
    };
    match cli::run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => cli::Exit::DONE.into(), // `govstore agents | head`
        Err(failure) => {
            cli::report(&failure, json);
            failure.exit().into()
        }
    }
}
