//! An MCP client that writes lines and reads lines, right or wrong, as no library would.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::TestResult;
use crate::wait::{PATIENCE, wait_for};

/// A server to which lines are written, and whose lines are read by a thread.
pub struct McpClient {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl McpClient {
    pub fn spawn(mut command: Command) -> TestResult<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let (found, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                if line.map(|line| found.send(line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    /// Begins as clients do.
    pub fn initialize(&mut self) -> TestResult<Value> {
        let client = json!({ "name": "wire", "version": "1" });
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        self.request(0, "initialize", &params)?;
        let answer = self.answer()?;
        assert_eq!(answer["id"], 0);
        self.line(r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#)?;
        Ok(answer["result"].clone())
    }

    pub fn request(&mut self, id: u64, method: &str, params: &Value) -> TestResult {
        self.line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
    }

    pub fn call(&mut self, id: u64, tool: &str, arguments: &Value) -> TestResult {
        self.request(id, "tools/call", &json!({ "name": tool, "arguments": arguments }))
    }

    pub fn line(&mut self, line: &str) -> TestResult {
        self.bytes(format!("{line}\n").as_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> TestResult {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// The next line that the server writes, which must be a message.
    pub fn answer(&self) -> TestResult<Value> {
        let message = self.value()?;
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        Ok(message)
    }

    /// The next line that the server writes: a message, or a batch of them.
    pub fn value(&self) -> TestResult<Value> {
        let line = self.lines.recv_timeout(PATIENCE)?;
        Ok(serde_json::from_str(&line).map_err(|e| format!("{line:?}: {e}"))?)
    }

    /// Everything that the server writes from now on until it ends.
    pub fn remaining(&self) -> TestResult<Vec<Value>> {
        self.lines.iter().map(|line| Ok(serde_json::from_str(&line)?)).collect()
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for the server to end.
    pub fn ended(&mut self) -> TestResult<ExitStatus> {
        Ok(wait_for("the server to end", || self.child.try_wait().transpose())?)
    }
}

impl Drop for McpClient {
    /// A test that failed leaves no server behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
