//! An MCP client that writes lines and reads lines, right or wrong, as no library would.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::TestResult;
use crate::wait::{PATIENCE, wait_for};

/// A server and the other ends of its pipes. Dropping it kills the server.
pub struct McpClient {
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl McpClient {
    /// Starts a server.
    pub fn spawn(mut command: Command) -> TestResult<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, stdin, stdout })
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

    /// The next line that the server writes, as it is.
    pub fn next_line(&mut self) -> TestResult<String> {
        if self.stdout.buffer().is_empty() {
            self.wait_for_output(PATIENCE)?;
        }
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("the server ended".into());
        }
        Ok(line)
    }

    fn wait_for_output(&self, patience: Duration) -> TestResult {
        let timeout = Timespec::try_from(patience)?;
        let mut stdout = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
        if poll(&mut stdout, Some(&timeout))? == 0 {
            return Err("the server has said nothing for too long".into());
        }
        Ok(())
    }

    /// The next line that the server writes, which must be a message.
    pub fn answer(&mut self) -> TestResult<Value> {
        let line = self.next_line()?;
        let message: Value = serde_json::from_str(&line).map_err(|e| format!("{line:?}: {e}"))?;
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        Ok(message)
    }

    /// Everything that the server writes from now on until it ends.
    pub fn remaining(&mut self) -> TestResult<Vec<Value>> {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
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
