//! A configuration's text, read into the servers that it lists.

mod json;
mod toml;

use super::server::{Server, SyntaxError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With comments and trailing commas.
    Json,
    Toml,
}

impl Format {
    /// The servers of a file, in its order.
    pub fn servers(self, text: &str) -> Result<Vec<Server>, SyntaxError> {
        match self {
            Self::Json if text.trim_start_matches('\u{feff}').trim().is_empty() => Ok(Vec::new()),
            Self::Json => json::servers(text),
            Self::Toml => toml::servers(text),
        }
    }
}
