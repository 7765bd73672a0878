//! Several processes update one agent at once, and no update is lost.

use std::fmt::Write as _;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use super::bench::{Bench, Finding};

const PROCESSES: usize = 4;
const UPDATES_EACH: usize = 25;

pub fn check(bench: &Bench) -> Finding {
    let mut lines = String::new();
    for _ in 0..UPDATES_EACH {
        let _ = writeln!(lines, "{{\"agent_id\":\"shared\",\"complexity\":0.2}}"); // into a String
    }
    let mut writers = Vec::new();
    for _ in 0..PROCESSES {
        let writer = bench
            .command(&["apply", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("a writer did not start: {error}"))?;
        writers.push(writer);
    }
    for writer in &mut writers {
        let mut stdin = writer.stdin.take().ok_or("a writer has no stdin")?;
        stdin.write_all(lines.as_bytes()).map_err(|error| format!("a writer stopped reading: {error}"))?;
    }
    for writer in writers {
        let output = writer.wait_with_output().map_err(|error| format!("wait: {error}"))?;
        if !output.status.success() {
            return Err(format!("a writer failed: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
    }

    let expected = PROCESSES * UPDATES_EACH;
    bench.run(&["agent", "shared"])?.done()?.says("/agent/total_updates", expected)?;
    let history = bench.run(&["history", "shared"])?.done()?;
    let numbers: Vec<Option<i64>> =
        history.list("history").iter().map(|row| row["update_no"].as_i64()).collect();
    if !numbers.iter().copied().eq((1..).take(expected).map(Some)) {
        return Err(format!("the history of {expected} updates is {}", Value::from(numbers)));
    }
    Ok(format!("{expected} updates of one agent by {PROCESSES} processes at once, {} kept", numbers.len()))
}
