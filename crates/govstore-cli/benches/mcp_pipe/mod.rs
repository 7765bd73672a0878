//! An MCP server of ours at the other end of two pipes, as a client has it.
//!
//! Not the client of govstore-testkit: that one reads on a thread, which would be measured with every round trip.
#![allow(dead_code, reason = "each bench uses some of it")]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type BenchResult<T = ()> = Result<T, Box<dyn Error>>;

pub fn request(id: u32, method: &str, params: &Value) -> String {
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A server on a pipe that has answered `initialize`.
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(database: &Path) -> BenchResult<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_govstore"))
            .arg("--db")
            .arg(database)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut server = Self { child, stdin, stdout };
        let client = json!({ "name": "bench", "version": "1" });
        let begin = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        server.round_trip(0, "initialize", &begin)?;
        Ok(server)
    }

    pub fn send(&mut self, id: u32, method: &str, params: &Value) -> BenchResult {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        Ok(stdin.write_all(request(id, method, params).as_bytes())?)
    }

    pub fn receive(&mut self) -> BenchResult<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("the server ended".into());
        }
        Ok(line)
    }

    pub fn round_trip(&mut self, id: u32, method: &str, params: &Value) -> BenchResult<(f64, Value)> {
        let request = request(id, method, params);
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        let began = Instant::now();
        stdin.write_all(request.as_bytes())?;
        let line = self.receive()?;
        let took = milliseconds(began.elapsed());
        Ok((took, serde_json::from_str(&line)?))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) -> BenchResult {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> BenchResult {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )?;
        self.child.wait()?;
        Ok(())
    }

    /// Closes stdin and says how many milliseconds the server took to end.
    pub fn end(mut self) -> BenchResult<f64> {
        let began = Instant::now();
        drop(self.stdin.take());
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut self.stdout, &mut rest)?; // so that it can write its answers
        assert!(self.child.wait()?.success());
        Ok(milliseconds(began.elapsed()))
    }
}

/// How much memory a process has, in megabytes.
pub fn resident_mb(pid: u32) -> BenchResult<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kb = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|size| size.split_whitespace().next())
        .ok_or("no VmRSS")?;
    Ok(kb.parse::<f64>()? * 1024.0 / 1e6)
}
