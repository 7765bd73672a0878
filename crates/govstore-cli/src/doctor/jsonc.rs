//! JSON with comments and trailing commas, as values that know where they stand in the text.

use std::ops::Range;

use super::server::SyntaxError;

/// Deeper nesting is refused: the parser calls itself.
const DEEPEST: usize = 256;

#[derive(Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Debug)]
pub enum Value {
    String(String),
    Array(Vec<Element>),
    Object(Vec<Member>),
    /// A number, `true`, `false` or `null`.
    Other,
}

#[derive(Debug)]
pub struct Element {
    pub node: Node,
    /// The end of the comma behind it, if there is one.
    pub comma_end: Option<usize>,
}

#[derive(Debug)]
pub struct Member {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
}

/// Reads one document.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser { text, at };
    parser.skip_blanks()?;
    let node = parser.value(0)?;
    parser.skip_blanks()?;
    if parser.at < text.len() {
        return Err(parser.error("something follows the end of the document"));
    }
    Ok(node)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, reason: &str) -> SyntaxError {
        SyntaxError::at(self.text, self.at, reason)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// White space and comments.
    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(self.error("this comment has no end"));
                };
                self.at += length + 4;
            } else if rest.starts_with([' ', '\t', '\r', '\n']) {
                self.at += 1;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > DEEPEST {
            return Err(self.error("it is nested too deep"));
        }
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(_) => self.word()?,
            None => return Err(self.error("a value is missing where the file ends")),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn object(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if self.peek() != Some(b'"') {
                return Err(self.error("a key in double quotes, or }, is missing here"));
            }
            let key_start = self.at;
            let key = self.string()?;
            let key_span = key_start..self.at;
            self.skip_blanks()?;
            if !self.take(b':') {
                return Err(self.error("a colon is missing here"));
            }
            self.skip_blanks()?;
            let node = self.value(depth + 1)?;
            members.push(Member { key, key_span, node });
            self.skip_blanks()?;
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(self.error("a comma, or }, is missing here"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.take(b']') {
                return Ok(Value::Array(elements));
            }
            let node = self.value(depth + 1)?;
            self.skip_blanks()?;
            let comma_end = self.take(b',').then_some(self.at);
            elements.push(Element { node, comma_end });
            if comma_end.is_none() && self.peek() != Some(b']') {
                return Err(self.error("a comma, or ], is missing here"));
            }
        }
    }

    fn word(&mut self) -> Result<Value, SyntaxError> {
        let rest = &self.text[self.at..];
        let length =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
        if serde_json::from_str::<serde_json::Value>(&rest[..length]).is_err() {
            return Err(self.error("a value is missing here"));
        }
        self.at += length;
        Ok(Value::Other)
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(0..0x20) | None => return Err(self.error("this string has no end on its line")),
                Some(_) => end += 1,
            }
        }
        let literal = &self.text[self.at..=end];
        let decoded = serde_json::from_str(literal).or_else(|_| without_surrogates(literal));
        let decoded = decoded.map_err(|_| self.error("this string has an escape that JSON doesn't know"))?;
        self.at = end + 1;
        Ok(decoded)
    }
}

/// A literal with half a character in it, which JavaScript writes and takes. It stays as it is in the file; here it is
/// the replacement character.
fn without_surrogates(literal: &str) -> serde_json::Result<String> {
    let mut replaced = String::with_capacity(literal.len());
    let mut rest = literal;
    while let Some(at) = rest.find('\\') {
        let escape = rest[at..].get(..6).filter(|escape| escape.starts_with("\\u"));
        let unit = escape.and_then(|escape| u16::from_str_radix(&escape[2..], 16).ok());
        let is_surrogate = unit.is_some_and(|unit| (0xd800..0xe000).contains(&unit));
        let taken = if is_surrogate { 6 } else { 2.min(rest.len() - at) };
        replaced.push_str(&rest[..at]);
        if is_surrogate {
            replaced.push('\u{fffd}');
        } else {
            replaced.push_str(&rest[at..at + taken]);
        }
        rest = &rest[at + taken..];
    }
    replaced.push_str(rest);
    serde_json::from_str(&replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_read_over() -> Result<(), SyntaxError> {
        let text = "\u{feff}// first\r\n{ \"a\" /* key */ : [1, \"\\u0062\\n\",], /**/ \"c\": {}, }\n";
        let Value::Object(members) = parse(text)?.value else { panic!("no object") };
        assert_eq!(members.iter().map(|member| member.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        let Value::Array(elements) = &members[0].node.value else { panic!("no array") };
        assert_eq!(&text[elements[1].node.span.clone()], "\"\\u0062\\n\"");
        assert!(matches!(&elements[1].node.value, Value::String(value) if value == "b\n"));
        assert_eq!(elements[1].comma_end.map(|end| &text[end..=end]), Some("]"));
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let deep = "[".repeat(100_000);
        for (text, line, column, reason) in [
            ("", 1, 1, "missing"),
            ("\u{feff}", 1, 1, "missing"),
            ("{\n  \"ü\" 1}", 2, 7, "colon"),
            ("{\"a\": 1 \"b\": 2}", 1, 9, "comma"),
            ("[1 2]", 1, 4, "comma"),
            ("{\n/* ", 2, 1, "no end"),
            ("{\"a", 1, 2, "no end"),
            ("{\"a\\", 1, 2, "no end"),
            ("{\"\\x\": 1}", 1, 2, "escape"),
            ("{'a': 1}", 1, 2, "double quotes"),
            ("[nul]", 1, 2, "missing"),
            ("[é]", 1, 2, "missing"),
            ("{} {}", 1, 4, "follows"),
            (&deep, 1, 258, "too deep"),
        ] {
            let error = parse(text).expect_err(&text[..text.len().min(20)]);
            assert_eq!((error.line, error.column), (line, column), "{error}");
            assert!(error.reason.contains(reason), "{error}");
        }
    }

    #[test]
    fn half_a_character_is_no_error() {
        let node = parse(r#""a\\ud800\ud83d\ude00\ud800""#).expect("a string");
        assert!(matches!(&node.value, Value::String(value) if value.starts_with(r"a\ud800")), "{node:?}");
    }
}
