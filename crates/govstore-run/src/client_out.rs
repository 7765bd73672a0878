//! The client's end of the server's output: the server's bytes as they are, and an answer of ours between two of its
//! lines.

use std::io;
use std::sync::Mutex;

use memchr::memrchr;

use crate::mutex::lock;
use crate::pipe::client;

/// What goes to standard output.
#[derive(Debug, Default)]
pub struct ClientOut(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_inside_a_line: bool,
    /// Answers that wait for the end of the server's line.
    waiting: Vec<u8>,
}

impl ClientOut {
    /// Passes on what the server has written.
    pub fn pass(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.0);
        let Some(last) = bytes.last() else { return Ok(()) };
        state.is_inside_a_line = *last != b'\n';
        if state.waiting.is_empty() {
            return client::write(bytes);
        }
        let Some(end_of_line) = memrchr(b'\n', bytes) else { return client::write(bytes) };
        let (lines, begun) = bytes.split_at(end_of_line + 1);
        client::write(lines)?;
        client::write(&std::mem::take(&mut state.waiting))?;
        client::write(begun)
    }

    /// Writes a line of ours, now or after the line that the server is writing.
    pub fn interject(&self, line: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.0);
        if state.is_inside_a_line {
            state.waiting.extend_from_slice(line);
            return Ok(());
        }
        client::write(line)
    }

    /// The server writes no more. A line that it has not ended is ended here if an answer waits for that.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = lock(&self.0);
        let is_inside_a_line = std::mem::take(&mut state.is_inside_a_line);
        let waiting = std::mem::take(&mut state.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        if is_inside_a_line {
            client::write(b"\n")?;
        }
        client::write(&waiting)
    }
}
