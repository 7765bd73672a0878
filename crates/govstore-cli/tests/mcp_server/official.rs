//! The official clients, by scripts: Python's of version 2 and of version 1, and TypeScript's.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use crate::TestResult;

/// What a script exits with where the client's package is absent.
const SKIPPED: i32 = 77;

/// Runs a script that talks to the server, and checks how often it says that its checks passed. `variable` names the
/// program to run it with, in place of the `usual` one.
fn talk(variable: &str, usual: &str, script: &str, more: Option<OsString>, times: usize) -> TestResult {
    let program = env::var_os(variable).unwrap_or_else(|| usual.into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(&program);
    let output = match command.arg(script).arg(env!("CARGO_BIN_EXE_govstore")).args(more).output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: there is no {}; name one with {variable}", program.display());
            return Ok(());
        }
        output => output?,
    };
    let (said, complained) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    eprint!("{said}{complained}");
    if output.status.code() == Some(SKIPPED) {
        return Ok(());
    }
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(said.matches("checks passed").count(), times);
    Ok(())
}

/// `GOVSTORE_PYTHON` names a Python that has the package `mcp`, version 2, such as that of a virtual environment.
#[test]
fn the_official_python_client_gets_on_with_everything() -> TestResult {
    talk("GOVSTORE_PYTHON", "python3", "mcp_client.py", None, 2)
}

/// `GOVSTORE_PYTHON_1` names one that has version 1 of it.
#[test]
fn so_does_its_version_1() -> TestResult {
    talk("GOVSTORE_PYTHON_1", "python3", "mcp_client_1.py", None, 1)
}

/// `GOVSTORE_NODE` names Node, and `GOVSTORE_NODE_PACKAGES` the folder that has `@modelcontextprotocol/sdk` in its
/// `node_modules`.
#[test]
fn so_does_the_official_typescript_client() -> TestResult {
    let packages = env::var_os("GOVSTORE_NODE_PACKAGES");
    talk("GOVSTORE_NODE", "node", "mcp_client.mjs", packages, 1)
}
