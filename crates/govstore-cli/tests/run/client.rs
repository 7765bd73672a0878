//! A client of a wrapped server, and that server.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::TestResult;

/// A server that answers every request: see `govstore_testkit::test_answerer`.
pub fn answerer() -> &'static str {
    govstore_testkit::test_answerer().to_str().expect("a path that is text")
}

pub struct Client {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    last_id: u64,
}

impl Client {
    pub fn spawn(mut command: Command) -> TestResult<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, stdin, stdout, last_id: 0 })
    }

    pub fn send(&mut self, line: &str) -> TestResult {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    pub fn line(&mut self) -> TestResult<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}").into())
    }

    pub fn request(&mut self, method: &str, params: &Value) -> TestResult<Value> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())?;
        let answer = self.line()?;
        assert_eq!(answer["id"], id);
        Ok(answer)
    }

    pub fn initialize(&mut self) -> TestResult<Value> {
        let client = json!({ "name": "test-client", "version": "1.5" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        self.request("initialize", &params)
    }

    pub fn call(&mut self, tool: &str, arguments: &Value) -> TestResult<Value> {
        Ok(self.request("tools/call", &json!({ "name": tool, "arguments": arguments }))?["result"].take())
    }

    /// Closes its end, and waits for the server's.
    pub fn hang_up(mut self) -> TestResult<ExitStatus> {
        self.stdin = None;
        Ok(self.child.wait()?)
    }
}
