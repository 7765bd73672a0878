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
use crate::gate::{Gate, LONGEST_HELD, Verdict};
use crate::input::Input;
use crate::overheard::Overheard;
use crate::pipe::{client, read, read_soon};
use crate::restart::{self, Handshake};
use crate::say::say;
use crate::scan::{Message, Scanner, Short};
use crate::status::ServerStatus;

/// How much is read at once, in bytes: as much as a pipe holds.
const CHUNK: usize = 64 << 10;

/// What both directions work with.
pub struct Line {
    pub overheard: Arc<Overheard>,
    pub out: ClientOut,
    pub input: Input,
    /// Told when the client has introduced itself.
    pub books: SyncSender<Word>,
    /// Whether calls may pass, if they are governed.
    pub gate: Option<Gate>,
    /// What is to be said again to a server that is started again, if it is to be.
    pub handshake: Option<Handshake>,
}

/// What the client says, until its end or until `stop` can be read. Then the server's input is closed.
pub fn upstream(line: &Line, stop: &client::Stop) {
    let passed = if line.gate.is_none() && line.handshake.is_none() {
        pass_bytes(line, stop)
    } else {
        Lines { line, scanner: Scanner::of_client(), held: Held::default() }.pass(stop)
    };
    line.input.end(passed.is_ok());
    if passed.is_err() {
        // The server reads no more: so does this one, and the client is told as it would be without it.
        client::close_input();
    }
}

/// What the server says, until its end. The answer to `unheard` is kept from the client, and `told` is dropped then.
/// Returns whether the client still hears.
pub fn downstream<T>(line: &Line, server: File, unheard: Option<(Short, T)>) -> bool {
    let mut scanner = Scanner::of_server();
    let mut chunk = vec![0; CHUNK];
    let passed = unheard.map_or(Ok(Vec::new()), |(id, told)| {
        let rest = without_answer(line, &server, &id);
        drop(told);
        rest
    });
    let mut messages = Vec::new();
    let passed = passed.and_then(|rest| {
        let mut length = rest.len();
        chunk.resize(CHUNK.max(length), 0);
        chunk[..length].copy_from_slice(&rest);
        loop {
            line.out.pass(&chunk[..length])?;
            scanner.feed(&chunk[..length], |message| messages.push(message));
            line.overheard.hear_server(messages.drain(..));
            length = read_soon(&server, &mut chunk)?;
            if length == 0 {
                return line.out.finish();
            }
        }
    });
    drop(server); // where the client reads no more, the server is told as it would be without this one
    passed.is_ok()
}

/// Passes on the server's lines until the one that answers `id`, which is not passed on. Returns what comes after it.
fn without_answer(line: &Line, server: &File, id: &[u8]) -> io::Result<Vec<u8>> {
    let (mut held, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    while held.len() <= LONGEST_HELD {
        let length = read(server, &mut chunk)?;
        if length == 0 {
            break;
        }
        held.extend_from_slice(&chunk[..length]);
        while let Some(end) = memchr(b'\n', &held) {
            let rest = held.split_off(end + 1);
            let mut is_it = false;
            Scanner::of_server().feed(&held, |message| {
                is_it |= message.answer.is_some() && message.id.as_deref() == Some(id);
            });
            if is_it {
                return Ok(rest);
            }
            line.out.pass(&held)?;
            held = rest;
        }
    }
    Ok(held)
}

/// What the server writes on its standard error, and to the end of a file; until its end. A file that takes no more costs
/// what it would have had.
pub fn errors(server: &File, mut file: File) {
    let mut chunk = vec![0; CHUNK];
    let mut is_kept = true;
    while let Ok(length @ 1..) = read(server, &mut chunk) {
        let _ = client::write_error(&chunk[..length]);
        if is_kept && let Err(error) = file.write_all(&chunk[..length]) {
            is_kept = false;
            say(&format!("the log file takes no more: {error}"));
        }
    }
}

fn pass_bytes(line: &Line, stop: &client::Stop) -> io::Result<()> {
    let mut scanner = Scanner::of_client();
    let (mut chunk, mut messages) = (vec![0; CHUNK], Vec::new());
    loop {
        let length = client::read(&mut chunk, Some(stop))?;
        if length == 0 {
            return Ok(());
        }
        scanner.feed(&chunk[..length], |message| messages.push(message));
        line.hear(messages.drain(..));
        line.input.write(&chunk[..length])?;
    }
}

impl Line {
    fn reason_to_refuse(&self) -> Option<String> {
        self.gate.as_ref()?.reason_to_refuse(&self.overheard)
    }

    fn hear(&self, messages: impl ExactSizeIterator<Item = Message>) {
        if self.overheard.hear_client(messages) {
            let _ = self.books.try_send(Word::Introduced); // with so many words, a heartbeat will say it
        }
    }
}

/// The client's lines, each held until it is known whether it may pass.
struct Lines<'a> {
    line: &'a Line,
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

    /// Takes a part of a line.
    fn take(&mut self, part: &[u8]) -> io::Result<()> {
        let Held { bytes, messages, too_long } = &mut self.held;
        self.scanner.feed(part, |message| messages.push(message));
        match too_long {
            Some(TooLong::Passes) => {
                let written = self.line.input.write(part);
                if written.is_err() && self.line.handshake.is_some() {
                    *too_long = Some(TooLong::Dropped("The server ended meanwhile.".to_owned()));
                    return Ok(());
                }
                return written;
            }
            Some(TooLong::Dropped(_)) => return Ok(()),
            None => bytes.extend_from_slice(part),
        }
        if bytes.len() > LONGEST_HELD {
            *too_long = Some(match self.line.reason_to_refuse() {
                None => {
                    self.line.input.write(bytes)?;
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
        self.line.hear(messages.iter().cloned()); // the gate asks who the client is
        let verdict = match &too_long {
            None => match &self.line.gate {
                Some(gate) => gate.judge(&messages, Some(&bytes), &self.line.overheard),
                None => Verdict::Pass,
            },
            Some(TooLong::Passes) => Verdict::Pass,
            Some(TooLong::Dropped(reason)) => Verdict::Refuse(crate::gate::refusals(&messages, reason)),
        };
        match verdict {
            Verdict::Pass => self.pass_on(&messages, &bytes),
            Verdict::Refuse(answer) => {
                let _ = self.line.overheard.forget(&messages);
                // A client that reads no more finds out by itself.
                let _ = self.line.out.interject(&answer);
                Ok(())
            }
        }
    }

    /// Passes a line on. Where the server is to be started again, one that can't be passed on is answered here, unless that
    /// was done together with all that the server has left unanswered.
    fn pass_on(&self, messages: &[Message], bytes: &[u8]) -> io::Result<()> {
        let written = self.line.input.write(bytes);
        let Some(handshake) = &self.line.handshake else { return written };
        handshake.note(messages, bytes);
        if written.is_err() {
            let unanswered = self.line.overheard.forget(messages);
            self.line.out.interject(&restart::errors(&unanswered, ServerStatus::Unknown))?;
        }
        Ok(())
    }
}
