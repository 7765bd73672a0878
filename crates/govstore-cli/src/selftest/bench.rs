//! A temporary database, and the installed program run on it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A figure, or what is wrong.
pub type Finding = Result<String, String>;

/// A folder with a database that goes away in the end; or a schema for it, on a server.
pub struct Bench {
    program: PathBuf,
    folder: TempDir,
    #[cfg(feature = "postgres")]
    on_a_server: Option<govstore::Trial>,
}

/// What a command came to.
pub struct Answer {
    command: String,
    code: Option<i32>,
    pub document: Value,
}

impl Bench {
    pub fn new() -> std::io::Result<Self> {
        Self::with(std::env::current_exe()?)
    }

    /// One whose database is on a server.
    #[cfg(feature = "postgres")]
    pub fn on_a_server(trial: govstore::Trial) -> std::io::Result<Self> {
        Ok(Self { on_a_server: Some(trial), ..Self::new()? })
    }

    /// One for another program than this.
    pub fn with(program: PathBuf) -> std::io::Result<Self> {
        Ok(Self {
            program,
            folder: tempfile::tempdir()?,
            #[cfg(feature = "postgres")]
            on_a_server: None,
        })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program on this database, with nothing to read.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Not as an argument, which others see: an address may have a password in it.
        command.env("GOVSTORE_DB", self.database()).args(arguments).stdin(Stdio::null());
        command
    }

    fn database(&self) -> OsString {
        #[cfg(feature = "postgres")]
        if let Some(trial) = &self.on_a_server {
            return trial.address().into();
        }
        self.file("governance.db").into()
    }

    /// Runs a command with `--json` to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Answer, String> {
        let command = arguments.join(" ");
        let output = self
            .command(arguments)
            .arg("--json")
            .output()
            .map_err(|error| format!("`{command}` did not start: {error}"))?;
        let document = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("`{command}` answered no JSON: {error}"))?;
        Ok(Answer { command, code: output.status.code(), document })
    }

    /// Starts a server that registers and ends when its stdin is closed; see the command's `--server`.
    pub fn start_server(&self, manner: &str) -> Result<Server, String> {
        let mut child = self
            .command(&["selftest", "--server", manner])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("a server did not start: {error}"))?;
        let stdout = child.stdout.take();
        let server = Server(child);
        let mut line = String::new();
        let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
        match read {
            Some(Ok(_)) if line == "registered\n" => Ok(server),
            _ => Err(format!("a server did not register; it said {line:?}")),
        }
    }
}

impl Answer {
    /// It worked.
    pub fn done(self) -> Result<Self, String> {
        self.exited(0)
    }

    /// It ended with this exit code, and its document says the same.
    pub fn exited(self, code: i32) -> Result<Self, String> {
        if self.code == Some(code) && self.document["success"] == (code == 0) {
            Ok(self)
        } else {
            let ended = self.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            Err(format!("`{}` ended with {ended}, and not {code}: {}", self.command, self.document))
        }
    }

    /// A part of its document is this.
    pub fn says(&self, pointer: &str, expected: impl Into<Value>) -> Result<(), String> {
        let expected = expected.into();
        match self.document.pointer(pointer) {
            Some(found) if *found == expected => Ok(()),
            found => {
                let found = found.unwrap_or(&Value::Null);
                Err(format!("`{}` answered {found} for {pointer}, and not {expected}", self.command))
            }
        }
    }

    /// A list in its document.
    pub fn list(&self, name: &str) -> &[Value] {
        self.document[name].as_array().map_or(&[], Vec::as_slice)
    }
}

/// A running server. Dropping it ends it.
pub struct Server(Child);

impl Server {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Ends it as a crash would, at once and without a word.
    pub fn crash(&mut self) -> Result<(), String> {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).map_err(|error| format!("kill: {error}"))
    }

    /// Lets go of it as a client does; whether it ended in good order.
    pub fn release(&mut self) -> Result<(), String> {
        drop(self.0.stdin.take());
        let status = self.0.wait().map_err(|error| format!("wait: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("a server whose client left ended with {status}")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended already
        let _ = self.0.wait();
    }
}
