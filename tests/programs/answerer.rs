//! The test answerer: see the module `test_answerer` of govstore-testkit.

use std::process::ExitCode;

fn main() -> ExitCode {
    govstore_testkit::test_answerer::main()
}
