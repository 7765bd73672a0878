//! The `govstore` command, for tests that run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    govstore_cli::main()
}
