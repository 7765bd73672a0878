//! Standard output and standard error.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use govstore::LockHolder;
use serde::Serialize;

use super::visible::visible;
use super::{Failure, json};

/// Standard output: locked and buffered. Errors are returned, a closed pipe among them.
pub struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    colour: bool,
    terminal: bool,
    json: bool,
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    #[serde(flatten)]
    result: T,
}

#[derive(Serialize)]
struct Refusal<'a> {
    success: bool,
    error: &'a str,
    /// Set if it may have been done all the same.
    #[serde(skip_serializing_if = "is_false")]
    in_doubt: bool,
    /// Who was in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a LockHolder>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub fn is_false(value: &bool) -> bool {
    !value
}

impl Output {
    pub fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let colour = AutoStream::choice(&stdout) != ColorChoice::Never;
        let terminal = stdout.is_terminal();
        Self { stdout: BufWriter::new(stdout.lock()), colour, terminal, json }
    }

    /// Whether the caller asked for JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether colours are wanted, and can be shown.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// A text for people, which may be painted, and an end of line. What comes from the database must have
    /// gone through [`visible`] before.
    pub fn say(&mut self, text: impl Display) -> io::Result<()> {
        let text = text.to_string();
        if self.colour {
            writeln!(self.stdout, "{text}")
        } else {
            writeln!(self.stdout, "{}", strip_str(&text))
        }
    }

    /// A result as one JSON document, with `"success": true` before its own fields.
    pub fn success(&mut self, result: &impl Serialize) -> io::Result<()> {
        self.document(&Success { success: true, result })
    }

    /// What went wrong as one JSON document, at once.
    pub fn failure(&mut self, failure: &Failure) -> io::Result<()> {
        let error = &failure.to_string();
        let (in_doubt, holder) = (failure.is_in_doubt(), failure.holder());
        self.document(&Refusal { success: false, error, in_doubt, holder })?;
        self.flush()
    }

    /// One JSON document that says itself whether it is a success.
    pub fn document(&mut self, document: &impl Serialize) -> io::Result<()> {
        json::write(&mut self.stdout, document)
    }

    /// A text for other programs, byte for byte.
    pub fn exactly(&mut self, text: &[u8]) -> io::Result<()> {
        self.stdout.write_all(text)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Says something on stderr. If nobody listens there, there is nobody left to tell.
pub fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "govstore: {}", visible(sentence));
}
