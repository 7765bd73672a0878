//! The test server: see the module `test_server` of govstore-testkit.

use std::process::ExitCode;

fn main() -> ExitCode {
    govstore_testkit::test_server::main()
}
