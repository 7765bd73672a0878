//! The `govstore` command. What it does is in the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    govstore_cli::main()
}
