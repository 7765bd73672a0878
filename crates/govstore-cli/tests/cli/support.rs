//! A folder with a database, the binary run on it, and what came of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use govstore_testkit::can;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

pub const GOVSTORE: &str = env!("CARGO_BIN_EXE_govstore");

/// A folder of its own, whose `governance.db` the commands use.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// One with a database in which `writer` has been updated once: risk 3 %, healthy.
    pub fn with_writer() -> Self {
        let folder = Self::new();
        folder.run(&["update", "writer", "--complexity", "0.1"]).done();
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("a readable path").to_owned()
    }

    pub fn db(&self) -> PathBuf {
        self.file("governance.db")
    }

    pub fn sql(&self) -> Connection {
        Connection::open(self.db()).expect("the database")
    }

    /// A number that `sql` asks the database for.
    pub fn number(&self, sql: &str) -> i64 {
        self.sql().query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = govstore();
        command.env("GOVSTORE_DB", self.db()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    pub fn run_with_input(&self, arguments: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("govstore starts");
        let (mut stdin, input) = (child.stdin.take().expect("a pipe"), input.into());
        let feeder = thread::spawn(move || stdin.write_all(&input));
        let ran = Ran::from(child.wait_with_output().expect("govstore ends"));
        let _ = feeder.join(); // it may have ended before it had read everything
        ran
    }

    /// Every file in the folder, but for `-shm` files, which hold no data.
    pub fn snapshot(&self) -> Snapshot {
        let files = fs::read_dir(self.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| !entry.file_name().to_string_lossy().ends_with("-shm"))
            .map(|entry| (entry.file_name(), fs::read(entry.path()).expect("a file")));
        let no_data = |(name, bytes): &(OsString, Vec<u8>)| {
            bytes.is_empty() && name.to_string_lossy().ends_with("-wal")
        };
        Snapshot(files.filter(|file| !no_data(file)).collect())
    }
}

/// Files and their bytes.
#[derive(PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<OsString, Vec<u8>>);

impl fmt::Debug for Snapshot {
    /// Names and sizes: a failed assertion need not print a database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

/// The binary, in an environment that says nothing of databases and colours.
pub fn govstore() -> Command {
    let mut command = Command::new(GOVSTORE);
    for name in ["GOVSTORE_DB", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("govstore starts"))
    }

    /// It did what it was asked to, and had nothing to complain about.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert_eq!(self.stderr, "", "{self:#?}");
        self
    }

    /// It refused with this exit code, and said each of these things on stderr.
    #[track_caller]
    pub fn refused(self, code: i32, sayings: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for saying in sayings {
            assert!(self.stderr.contains(saying), "{saying:?} is missing: {self:#?}");
        }
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }

    /// Lines of JSON on stdout.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// Whether a program is there and works when called so; says that a test is skipped where not.
pub fn available(program: &str, arguments: &[&str]) -> bool {
    can(&format!("`{program} {}`", arguments.join(" ")), &[&[program], arguments].concat())
}
