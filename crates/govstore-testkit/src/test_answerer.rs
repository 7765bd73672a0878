//! A server on stdio that answers every request, as a wrapper meets one: it knows nothing of govstore.
//!
//! Which tool is called says what it does: `fail` fails, `slow` takes 150 ms, `vanish` is never answered, `crash` ends it with
//! exit code 3, and `kill` by SIGKILL. Each result has the parameters as text, the PID, and which methods it was told so far.
//! With an argument, it appends a line to that file when it starts.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use std::{env, process};

use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use crate::TestResult;

/// The program.
pub fn main() -> ExitCode {
    match serve() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("test-answerer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> TestResult<ExitCode> {
    if let Some(starts) = env::args_os().nth(1) {
        writeln!(File::options().create(true).append(true).open(starts)?, "started")?;
    }
    let mut told = Vec::new();
    for line in io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        told.push(asked["method"].clone());
        let Some(id) = asked.get("id") else { continue };
        let tool = asked["params"]["name"].as_str().unwrap_or_default();
        match tool {
            "crash" => return Ok(ExitCode::from(3)),
            "kill" => kill_process(getpid(), Signal::KILL)?,
            "vanish" => continue,
            "slow" => thread::sleep(Duration::from_millis(150)),
            _ => {}
        }
        let text = asked.get("params").map(Value::to_string).unwrap_or_default();
        let content = json!([{ "type": "text", "text": text }]);
        let result =
            json!({ "content": content, "isError": tool == "fail", "pid": process::id(), "told": told });
        println!("{}", json!({ "jsonrpc": "2.0", "id": id, "result": result }));
        io::stdout().flush()?;
    }
    Ok(ExitCode::SUCCESS)
}
