//! The ids of messages that can't be read, looked for in their text.
//!
//! A client waits for an answer with its id, whatever was wrong with the request. So this looks at strings, brackets,
//! colons and commas alone, and cares for nothing else: the text may be no JSON, no UTF-8, too deep or too long. It comes
//! in pieces, and no more of it is kept than a name and an id may have.

use serde_json::Value;

/// The longest id that is found, and the longest name that may be `id`, with quotes and escapes.
const TOKEN_MAX_BYTES: usize = 1 << 10;

/// A request's id as its text has it: a number or a string of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    fn parse(token: &[u8]) -> Option<Self> {
        match serde_json::from_slice(token) {
            Ok(Value::Number(_) | Value::String(_)) => Some(Self(String::from_utf8(token.to_vec()).ok()?)),
            _ => None,
        }
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a text and finds the id of each message in it: of one, or of the members of a batch.
#[derive(Debug, Default)]
pub struct IdFinder {
    /// How many brackets are open.
    depth: usize,
    /// The depth inside of a message: 1, or 2 in a batch.
    message_depth: usize,
    in_string: bool,
    /// The next character of a string is escaped.
    is_escaped: bool,
    part: Part,
    /// The string or the id that is being read, or was, as long as it is of use: then it `keeps`.
    token: Vec<u8>,
    keeps: bool,
    id: Option<MessageId>,
    values: usize,
}

/// Where in the fields of a message the text is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// In none: before a message, or after it.
    #[default]
    Outside,
    /// In the fields. A string may be a name, which is known at the colon.
    Fields,
    /// After the colon of the id.
    Id,
}

impl IdFinder {
    /// All ids in a text that is there as a whole.
    pub fn find(text: &[u8]) -> Vec<MessageId> {
        let mut ids = Vec::new();
        let mut finder = Self::default();
        finder.read(text, |id| ids.push(id));
        finder.end(|id| ids.push(id));
        ids
    }

    /// Reads a piece of the text. The id of a message is told when the message ends.
    pub fn read(&mut self, mut text: &[u8], mut found: impl FnMut(MessageId)) {
        while let Some(&byte) = text.first() {
            let length =
                if self.in_string { self.read_string(text) } else { self.read_outside(byte, &mut found) };
            text = &text[length..];
        }
    }

    /// How many values a text of JSON has so far, all together. One that is empty counts twice where others follow it.
    pub const fn values(&self) -> usize {
        self.values
    }

    /// The text has ended, perhaps in the middle of a message.
    pub fn end(mut self, found: impl FnMut(MessageId)) {
        self.end_message(found);
    }

    /// Reads on in a string: how many bytes.
    fn read_string(&mut self, text: &[u8]) -> usize {
        let length = if std::mem::take(&mut self.is_escaped) {
            1
        } else {
            let special = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            match special.map(|at| text[at]) {
                Some(b'"') => self.in_string = false,
                Some(_) => self.is_escaped = true,
                None => {}
            }
            special.map_or(text.len(), |at| at + 1)
        };
        self.keep(&text[..length]);
        if !self.in_string && self.part == Part::Id {
            self.end_token();
        }
        length
    }

    /// Reads a byte that belongs to no string.
    fn read_outside(&mut self, byte: u8, found: impl FnMut(MessageId)) -> usize {
        let in_fields = self.part != Part::Outside && self.depth == self.message_depth;
        self.values += usize::from(matches!(byte, b'{' | b'[' | b','));
        match byte {
            b'"' => {
                self.in_string = true;
                if in_fields {
                    self.begin_token();
                    self.keep(b"\"");
                }
            }
            b'{' | b'[' => {
                if byte == b'{' && self.part == Part::Outside && self.depth < 2 {
                    self.message_depth = self.depth + 1;
                    self.part = Part::Fields;
                }
                self.depth += 1;
            }
            b'}' if in_fields => {
                self.end_token();
                self.end_message(found);
                self.depth -= 1;
            }
            b']' if in_fields => {} // a bracket of the wrong kind ends no message
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if in_fields => {
                self.part = if self.keeps && is_id(&self.token) { Part::Id } else { Part::Fields };
                self.drop_token();
            }
            b',' if in_fields => {
                self.end_token();
                self.part = Part::Fields;
            }
            _ if self.part != Part::Id || !in_fields => {}
            _ if byte.is_ascii_whitespace() => self.end_token(),
            _ => {
                if self.token.is_empty() {
                    self.begin_token();
                }
                self.keep(&[byte]);
            }
        }
        1
    }

    fn begin_token(&mut self) {
        self.token.clear();
        self.keeps = true;
    }

    fn keep(&mut self, text: &[u8]) {
        if self.keeps {
            self.keeps = self.token.len() + text.len() <= TOKEN_MAX_BYTES;
            if self.keeps {
                self.token.extend_from_slice(text);
            }
        }
    }

    /// What was kept is the id, if it can be one. The last one counts.
    fn end_token(&mut self) {
        if self.part == Part::Id && self.keeps {
            self.id = MessageId::parse(&self.token).or(self.id.take());
        }
        self.drop_token();
    }

    fn drop_token(&mut self) {
        self.token.clear();
        self.keeps = false;
    }

    fn end_message(&mut self, mut found: impl FnMut(MessageId)) {
        self.part = Part::Outside;
        if let Some(id) = self.id.take() {
            found(id);
        }
    }
}

/// Whether a name is `id`, escaped or not.
fn is_id(name: &[u8]) -> bool {
    name == b"\"id\""
        || name.contains(&b'\\') && serde_json::from_slice::<String>(name).is_ok_and(|name| name == "id")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts and the ids in them.
    const TEXTS: &[(&str, &[&str])] = &[
        (r#"{"id":1,"method":"ping"}"#, &["1"]),
        (r#"{"jsonrpc": "2.0", "id" : -7 , "method": "ping"}"#, &["-7"]),
        (r#"{"method":"ping","id":"a \" \\ } b"}"#, &[r#""a \" \\ } b""#]),
        (r#"{"params":{"id":2,"deep":[{"id":3},{"id":4}]},"id":5}"#, &["5"]),
        (r#"{"id":6,"params":{"id":7}}"#, &["6"]),
        (r#"{"text":"\"id\": 8, \\","\u0069d":9}"#, &["9"]),
        (r#"{"x":"id","id":10}"#, &["10"]),
        (r#"{"id":"x" ,"x":{"id":"y"},"x":[]}"#, &[r#""x""#]),
        // No JSON.
        (r#"{"x":NaN,"id":11}"#, &["11"]),
        (r#"{"x":NaN "id":12}"#, &["12"]),
        (r#"{"x":1e999,"y":],"id":13}"#, &["13"]),
        (r#"{"id":14,"x":"#, &["14"]),
        (r#"{"id":15"#, &[]), // cut off: it may have been longer
        (r#"{"id":"16"#, &[]),
        (r#"{"id":"17""#, &[r#""17""#]),
        (r#"{"x":[[[[,"id":18}"#, &[]),
        (r#"{"x":[},"id":18}"#, &["18"]),
        (r#"{"id":19,"x":[[[["#, &["19"]),
        // No ids.
        (r#"{"id":null}"#, &[]),
        (r#"{"id":{"id":20}}"#, &[]),
        (r#"{"id":[21]}"#, &[]),
        (r#"{"id":true,"x":1}"#, &[]),
        (r#"{"id":NaN}"#, &[]),
        (r#"{"id":1e999}"#, &[]),
        (r#"{"idx":22,"xid":23}"#, &[]),
        (r#""id":24"#, &[]),
        (r#"[["id",25]]"#, &[]),
        ("", &[]),
        ("nonsense", &[]),
        // The last one counts, if it is one.
        (r#"{"id":26,"id":27}"#, &["27"]),
        (r#"{"id":28,"id":{}}"#, &["28"]),
        // Batches, and what is none.
        (r#"[{"id":29},{"x":"]"},{"id":"30"},31,[{"id":32}]]"#, &["29", r#""30""#]),
        (r#"[{"id":33},{"id":34,"x":[[["#, &["33", "34"]),
        (r#"{"id":35}{"id":36}"#, &["35", "36"]),
        (r#"[{"id":37}] {"id":38}"#, &["37", "38"]),
    ];

    #[test]
    fn ids_are_found_wherever_the_text_is_cut() {
        for (text, ids) in TEXTS {
            let expected: Vec<_> = ids.iter().map(|id| MessageId((*id).to_owned())).collect();
            for cut in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(cut);
                let mut found = Vec::new();
                let mut finder = IdFinder::default();
                finder.read(head, |id| found.push(id));
                finder.read(tail, |id| found.push(id));
                finder.end(|id| found.push(id));
                assert_eq!(found, expected, "{text} cut at {cut}");
            }
            let mut found = Vec::new();
            let mut finder = IdFinder::default();
            for byte in text.bytes() {
                finder.read(&[byte], |id| found.push(id));
            }
            finder.end(|id| found.push(id));
            assert_eq!(found, expected, "{text} byte by byte");
        }
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (text, values) in [("{}", 1), (r#"{"a":1,"b":[2,3,"[,,,{"],"c":{}}"#, 7), ("[[],[[]]]", 5)] {
            let mut finder = IdFinder::default();
            finder.read(text.as_bytes(), |_| {});
            assert_eq!(finder.values(), values, "{text}");
        }
    }

    #[test]
    fn what_is_no_utf_8_hides_no_id() {
        let text = b"{\"x\":\"\xff\xfe\",\"id\":1,\"\xff\":\xff}";
        assert_eq!(IdFinder::find(text), [MessageId("1".to_owned())]);
        assert!(IdFinder::find(b"{\"id\":\"\xff\"}").is_empty(), "it can't be said in JSON");
    }

    #[test]
    fn a_long_text_takes_no_memory() {
        let long = "x".repeat(1 << 20);
        let long = long.as_str();
        let mut finder = IdFinder::default();
        for piece in ["{\"", long, "\":\"", long, "\",\"id\":\"", long, "\",\"id\":1,\"id\":", long] {
            finder.read(piece.as_bytes(), |id| panic!("{id:?}"));
        }
        assert!(finder.token.capacity() <= 2 * TOKEN_MAX_BYTES);
        let mut found = Vec::new();
        finder.end(|id| found.push(id));
        assert_eq!(found, [MessageId("1".to_owned())]);
    }
}
