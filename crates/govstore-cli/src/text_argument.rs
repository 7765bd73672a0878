//! Texts given on the command line, or on standard input.

use std::io::{self, Read};

use super::Failure;

/// More than this is no text that somebody wrote.
const MAX_BYTES: u64 = 16 << 20;

/// The argument itself; for `-` what standard input holds.
pub fn resolve(argument: String) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument);
    }
    let failure = |reason: String| Failure::Input { what: "standard input".to_owned(), reason };
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| failure(e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failure(format!("the text has more than {} MiB", MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|e| failure(format!("the text is not UTF-8: {}", e.utf8_error())))
}
