//! The programs in `examples` do what they say.
#![cfg(unix)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use govstore_testkit::{Database, TestResult, program};

fn run(database: &Database, example: &str, arguments: &[&str], input: &str) -> TestResult<Output> {
    let mut child = Command::new(program(example))
        .arg(database.address())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("a pipe")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

#[test]
fn every_example_runs() -> TestResult {
    let database = Database::new(&[])?;
    for (example, arguments, input, says) in [
        ("update", &["writer", "All tests pass."][..], "", "let it pass: Low risk (0.09)"),
        ("registered_server", &[], "one\ntwo\n", "approve: Low risk"),
        ("lock_while_thinking", &["writer"], "", "update 3 is kept"),
    ] {
        let output = run(&database, example, arguments, input)?;
        assert!(output.status.success(), "{example}: {output:?}");
        let stdout = String::from_utf8(output.stdout)?;
        assert!(stdout.contains(says), "{example}: {stdout}");
    }
    let store = database.store()?;
    assert_eq!(store.agent("example")?.total_updates, 2);
    assert!(store.processes()?.is_empty() && store.locks()?.is_empty());
    Ok(())
}
