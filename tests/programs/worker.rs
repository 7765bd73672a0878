//! The test worker: see the module `test_worker` of govstore-testkit.

use std::process::ExitCode;

fn main() -> ExitCode {
    govstore_testkit::test_worker::main()
}
