//! The traffic: bytes as they come, each direction on a thread of its own, and both overheard on the side.
//!
//! What the client says is looked at before it is passed on, else a fast answer could be there before the question is
//! known; what the server says is looked at afterwards.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use memchr::memchr;

use crate::books::Word;
use crate::client_out::ClientOut;
use crate::control::{Control, ToKeeper};
use crate::gate::{Gate, LONGEST_HELD, Verdict};
use crate::overheard::Overheard;
use crate::pipe::{client, read};
use crate::say::say;
use crate::scan::{Message, Scanner};

/// How much is read at once, in bytes: as much as a pipe holds.
const CHUNK: usize = 64 << 10;

/// What both directions work with.
pub struct Line {
    pub overheard: Arc<Overheard>,
    pub out: ClientOut,
    pub control: Arc<Control>,
    /// Told when the client has introduced itself.
    pub books: SyncSender<Word>,
    /// Whether calls may pass, if they are governed.
    pub gate: Option<Gate>,
}

/// What the client says, until its end or until `stop` can be read. Then the server's input is closed.
pub fn upstream(line: &Line, server: File, stop: &client::Stop) {
    let passed = match &line.gate {
        None => pass_bytes(line, &server, stop),
        Some(gate) => {
            Lines { line, gate, server: &server, scanner: Scanner::default(), held: Held::default() }
                .pass(stop)
        }
    };
    drop(server);
    match passed {
        Ok(()) => line.control.tell(ToKeeper::InputOver),
        // The server reads no more: so does this one, and the client is told as it would be without it.
        Err(_) => client::close_input(),
    }
}

/// What the server says, until its end. Then the client's end is closed, too.
pub fn downstream(line: &Line, server: File) {
    let mut scanner = Scanner::default();
    let mut chunk = vec![0; CHUNK];
    let passed = loop {
        let length = match read(&server, &mut chunk) {
            Ok(0) => break line.out.finish(),
            Ok(length) => length,
            Err(error) => break Err(error),
        };
        if let Err(error) = line.out.pass(&chunk[..length]) {
            break Err(error);
        }
        scanner.feed(&chunk[..length], |message| line.overheard.hear_server(&message));
    };
    drop(server); // where the client reads no more, the server is told as it would be without this one
    client::close_output();
    drop(passed); // there is nobody who could be told
}

/// What the server writes on its standard error, and to the end of a file; until its end. A file that takes no more costs
/// what it would have had.
pub fn errors(server: File, mut file: File) {
    let mut chunk = vec![0; CHUNK];
    let mut is_kept = true;
    while let Ok(length @ 1..) = read(&server, &mut chunk) {
        let _ = client::write_error(&chunk[..length]);
        if is_kept && let Err(error) = file.write_all(&chunk[..length]) {
            is_kept = false;
            say(&format!("the log file takes no more: {error}"));
        }
    }
}

fn pass_bytes(line: &Line, mut server: &File, stop: &client::Stop) -> io::Result<()> {
    let mut scanner = Scanner::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = client::read(&mut chunk, Some(stop))?;
        if length == 0 {
            return Ok(());
        }
        scanner.feed(&chunk[..length], |message| line.hear(&message));
        server.write_all(&chunk[..length])?;
    }
}

impl Line {
    fn hear(&self, message: &Message) {
        if self.overheard.hear_client(message) {
            let _ = self.books.try_send(Word::Introduced); // with so many words, a heartbeat will say it
        }
    }
}

/// The client's lines, each held until it is known whether it may pass.
struct Lines<'a> {
    line: &'a Line,
    gate: &'a Gate,
    server: &'a File,
    scanner: Scanner,
    held: Held,
}

/// The line that is being read.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    /// For a line that is too long to be held.
    too_long: Option<TooLong>,
}

/// What becomes of a line that is too long to be held: whether a call might pass was asked before it was known what the
/// line says.
enum TooLong {
    Passes,
    /// It doesn't pass, because of this.
    Dropped(String),
}

impl Lines<'_> {
    fn pass(mut self, stop: &client::Stop) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = client::read(&mut chunk, Some(stop))?;
            if length == 0 {
                return self.end_line();
            }
            let mut rest = &chunk[..length];
            while !rest.is_empty() {
                let line_ends = memchr(b'\n', rest);
                let (part, later) = rest.split_at(line_ends.map_or(rest.len(), |at| at + 1));
                self.take(part)?;
                if line_ends.is_some() {
                    self.end_line()?;
                }
                rest = later;
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut server = self.server;
        server.write_all(bytes)
    }

    /// Takes a part of a line.
    fn take(&mut self, part: &[u8]) -> io::Result<()> {
        let mut server = self.server;
        let Held { bytes, messages, too_long } = &mut self.held;
        self.scanner.feed(part, |message| messages.push(message));
        match too_long {
            Some(TooLong::Passes) => return server.write_all(part),
            Some(TooLong::Dropped(_)) => return Ok(()),
            None => bytes.extend_from_slice(part),
        }
        if bytes.len() > LONGEST_HELD {
            *too_long = Some(match self.gate.reason_to_refuse(&self.line.overheard) {
                None => {
                    server.write_all(bytes)?;
                    TooLong::Passes
                }
                Some(reason) => TooLong::Dropped(reason),
            });
            *bytes = Vec::new();
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        let Held { bytes, messages, too_long } = std::mem::take(&mut self.held);
        for message in &messages {
            self.line.hear(message); // the gate asks who the client is
        }
        let verdict = match &too_long {
            None => self.gate.judge(&messages, Some(&bytes), &self.line.overheard),
            Some(TooLong::Passes) => Verdict::Pass,
            Some(TooLong::Dropped(reason)) => Verdict::Refuse(crate::gate::refusals(&messages, reason)),
        };
        match verdict {
            Verdict::Pass => self.write(&bytes),
            Verdict::Refuse(answer) => {
                self.line.overheard.forget(&messages);
                // A client that reads no more finds out by itself.
                let _ = self.line.out.interject(&answer);
                Ok(())
            }
        }
    }
}
