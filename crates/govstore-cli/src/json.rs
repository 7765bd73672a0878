//! JSON that may be shown on a terminal.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::visible::acts;

/// Writes one document on one line.
pub fn write(writer: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *writer, Escaping))?;
    writer.write_all(b"\n")
}

/// Compact JSON in which every character that could act on a terminal is an escape. JSON itself asks for
/// that below U+0020 alone; whoever parses it gets the same text.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| acts(*c)) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            write!(writer, "\\u{:04x}", u32::from(c))?; // all of them are below U+10000
            written = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_for_the_eye_and_parse_to_the_same_text() -> Result<(), Box<dyn std::error::Error>> {
        let text = "a\u{9b}31m\u{202e}b\u{1b}\"é\u{7f}👩\u{200d}🚀";
        let mut line = Vec::new();
        write(&mut line, &text)?;
        let line = String::from_utf8(line)?;
        assert_eq!(line, "\"a\\u009b31m\\u202eb\\u001b\\\"é\\u007f👩\u{200d}🚀\"\n");
        assert_eq!(serde_json::from_str::<String>(&line)?, text);
        Ok(())
    }
}
