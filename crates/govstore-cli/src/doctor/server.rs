//! One server in a configuration, and where its parts stand in the text.

use std::ops::Range;

/// A server that a client may start or reach.
#[derive(Debug)]
pub struct Server {
    pub name: String,
    /// The folder whose server it is, where a file has those of several.
    pub project: Option<String>,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    /// The client starts it, and speaks with it over its standard input and output.
    Stdio(Launch),
    /// The client reaches it by a URL.
    Remote,
    /// An extension of the client starts it.
    Extension,
    /// It can't be made out, for this reason.
    Malformed(String),
}

/// How a server is started.
#[derive(Debug)]
pub struct Launch {
    pub command: Literal,
    pub arguments: Option<Arguments>,
    pub room: Room,
}

impl Launch {
    /// The command and its arguments.
    pub fn argv(&self) -> Vec<&str> {
        let arguments = self.arguments.iter().flat_map(|list| &list.items);
        std::iter::once(&self.command).chain(arguments).map(|word| word.value.as_str()).collect()
    }
}

/// A string as it is written: quotes and escapes included in the span, decoded in the value.
#[derive(Debug)]
pub struct Literal {
    pub span: Range<usize>,
    pub value: String,
    /// The end of the comma behind it, in a list.
    pub comma_end: Option<usize>,
}

/// A list of arguments, brackets included in the span.
#[derive(Debug)]
pub struct Arguments {
    pub span: Range<usize>,
    pub items: Vec<Literal>,
}

/// Where a list of arguments stands, or would stand, that directly follows the command.
#[derive(Debug)]
pub struct Room {
    pub at: usize,
    /// What comes between that place and the list: a separator and the key.
    pub lead: String,
}

/// A file that can't be read as a configuration. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

impl SyntaxError {
    pub fn at(text: &str, offset: usize, reason: impl Into<String>) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].trim_start_matches('\u{feff}').chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column, reason: reason.into() }
    }
}
