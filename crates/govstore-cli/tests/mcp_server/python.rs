//! The official Python client, by a script.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use crate::TestResult;

/// What the script exits with where the package `mcp` is absent.
const SKIPPED: i32 = 77;

/// `GOVSTORE_PYTHON` names a Python that has the package, such as that of a virtual environment.
#[test]
fn the_official_python_client_gets_on_with_every_tool() -> TestResult {
    let python = std::env::var("GOVSTORE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp_client.py");
    let output = match Command::new(&python).arg(script).arg(env!("CARGO_BIN_EXE_govstore")).output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: there is no {python}; name one with GOVSTORE_PYTHON");
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
    assert_eq!(said.matches("checks passed").count(), 2);
    Ok(())
}
