//! The client's end of the server's output: the server's bytes as they are, and an answer of ours between two of its
//! lines.

use std::io;
use std::sync::Mutex;

use memchr::memrchr;

use crate::lock;
use crate::pipe::write_all;

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
        let out = rustix::stdio::stdout();
        let mut state = lock(&self.0);
        let Some(last) = bytes.last() else { return Ok(()) };
        state.is_inside_a_line = *last != b'\n';
        if state.waiting.is_empty() {
            return write_all(out, bytes);
        }
        let Some(end_of_line) = memrchr(b'\n', bytes) else { return write_all(out, bytes) };
        let (lines, begun) = bytes.split_at(end_of_line + 1);
        write_all(out, lines)?;
        write_all(out, &std::mem::take(&mut state.waiting))?;
        write_all(out, begun)
    }

    /// Writes a line of ours, now or after the line that the server is writing.
    pub fn interject(&self, line: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.0);
        if state.is_inside_a_line {
            state.waiting.extend_from_slice(line);
            return Ok(());
        }
        write_all(rustix::stdio::stdout(), line)
    }

    /// The server writes no more. A line that it has not ended is ended here if an answer waits for that.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = lock(&self.0);
        let is_inside_a_line = std::mem::take(&mut state.is_inside_a_line);
        let waiting = std::mem::take(&mut state.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let out = rustix::stdio::stdout();
        if is_inside_a_line {
            write_all(out, b"\n")?;
        }
        write_all(out, &waiting)
    }
}
