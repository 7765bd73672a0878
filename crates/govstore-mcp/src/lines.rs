//! Lines of untrusted input, none of which can take more memory than it is allowed.

use std::io::{self, BufRead, BufReader};

/// A buffer that is kept for the next line; a larger one is given back.
const KEPT_BYTES: usize = 64 << 10;

/// One line of the input, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'b> {
    /// A whole one.
    Whole(&'b [u8]),
    /// One of more bytes than are allowed; they were passed over.
    TooLong,
}

/// An input that says what it has read ahead.
pub trait Buffered {
    /// What can be had without waiting.
    fn buffered(&self) -> &[u8];
}

impl<R> Buffered for BufReader<R> {
    fn buffered(&self) -> &[u8] {
        self.buffer()
    }
}

/// An input that is read in lines.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Bytes read so far.
    bytes_read: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines of at most `max_bytes` each, the end of line not counted.
    pub const fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, buffer: Vec::new(), bytes_read: 0 }
    }

    /// Bytes read so far.
    pub const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Whether the next line has to be waited for.
    pub fn must_wait(&self) -> bool
    where
        R: Buffered,
    {
        !self.input.buffered().contains(&b'\n')
    }

    /// The next line; `None` at the end.
    pub fn read_next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.read_next_or_pass(|_| {})
    }

    /// As [`Lines::read_next`]. A line that is too long is shown to `pass`, from its beginning, piece by piece.
    pub fn read_next_or_pass(&mut self, mut pass: impl FnMut(&[u8])) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES);
        let (mut begun, mut too_long) = (false, false);
        loop {
            let chunk = match self.input.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            begun = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            if !too_long && self.buffer.len() + text.len() > self.max_bytes {
                too_long = true;
                pass(&self.buffer);
                self.buffer = Vec::new(); // give the memory back
            }
            if too_long {
                pass(text);
            } else {
                self.buffer.extend_from_slice(text);
            }
            let consumed = text.len() + usize::from(end.is_some());
            self.input.consume(consumed);
            self.bytes_read += consumed as u64;
            if end.is_some() {
                break;
            }
        }
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        Ok(begun.then_some(Line::Whole(&self.buffer)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    /// The lines of `input`, read through a buffer of `buffer` bytes; `!` for one that is too long.
    fn split(input: &[u8], buffer: usize) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, input), 5);
        let mut seen = Vec::new();
        while let Some(line) = lines.read_next().expect("a slice can be read") {
            seen.push(match line {
                Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Line::TooLong => "!".to_owned(),
            });
        }
        assert_eq!(lines.bytes_read(), input.len() as u64);
        seen
    }

    #[test]
    fn lines_are_the_same_whatever_the_buffer() {
        for buffer in 1..20 {
            assert_eq!(split(b"", buffer), Vec::<String>::new());
            assert_eq!(split(b"\n\na", buffer), ["", "", "a"]);
            assert_eq!(split(b"12345\n123456\n1234567890123\nend\n", buffer), ["12345", "!", "!", "end"]);
            assert_eq!(split(b"123456", buffer), ["!"]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_shown_as_a_whole() -> io::Result<()> {
        for buffer in 1..20 {
            let input = &b"12345\n1234567890123\nend"[..];
            let mut lines = Lines::new(BufReader::with_capacity(buffer, input), 5);
            let mut shown = Vec::new();
            while lines.read_next_or_pass(|piece| shown.extend_from_slice(piece))?.is_some() {}
            assert_eq!(shown, b"1234567890123");
        }
        Ok(())
    }

    #[test]
    fn a_long_line_leaves_no_large_buffer_behind() -> io::Result<()> {
        let long = vec![b'x'; 10 * KEPT_BYTES];
        for max_bytes in [long.len(), long.len() - 1] {
            let mut lines = Lines::new(BufReader::new(long.as_slice().chain(&b"\nshort\n"[..])), max_bytes);
            assert_eq!(lines.read_next()? == Some(Line::TooLong), max_bytes < long.len());
            assert_eq!(lines.read_next()?, Some(Line::Whole(b"short")));
            assert!(lines.buffer.capacity() <= KEPT_BYTES);
        }
        Ok(())
    }
}
