//! What JSON-RPC messages say, read from bytes as they pass by: no line is kept, whatever its length, and what is no JSON
//! says nothing and harms nothing.
//!
//! A message says who it is for, what it asks for, and whether it went well. All else is passed over as fast as its
//! quotes and brackets can be found.

use std::borrow::Cow;

use memchr::{memchr, memchr3};

/// Longest text that is looked at, in bytes. A longer one is as if it weren't there.
const LONGEST: usize = 1_024;

/// How deep the fields lie that are looked at.
const DEEPEST: usize = 4;

/// One message, as far as anybody here asks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id as it was written, and so with quotes if it is a text; `None` for a notification.
    pub id: Option<Vec<u8>>,
    pub method: Option<Method>,
    /// `params.name`: that of the tool, in a call.
    pub tool: Option<String>,
    /// `params.requestId`, as it was written: which request is cancelled.
    pub cancelled: Option<Vec<u8>>,
    /// From the handshake, or from what clients of today send with each request.
    pub client_name: Option<String>,
    pub client_version: Option<String>,
    pub protocol_version: Option<String>,
    /// Whether the version of the protocol came in `_meta`, as from clients of today.
    pub is_of_today: bool,
    /// How it answers a request, if it does.
    pub answer: Option<Answer>,
    /// Whether it is one of several in an array.
    pub is_in_batch: bool,
}

/// What a message asks for, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    CallTool,
    Initialize,
    Initialized,
    Other,
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "tools/call" => Self::CallTool,
            "initialize" => Self::Initialize,
            "notifications/initialized" => Self::Initialized,
            _ => Self::Other,
        }
    }
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// By a result.
    Well,
    /// By an error, or a result that calls itself one.
    Failed,
}

/// The names that matter. Any other is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Key {
    Id,
    Method,
    Params,
    Result,
    Error,
    Name,
    Version,
    RequestId,
    ProtocolVersion,
    ClientInfo,
    Meta,
    MetaClientInfo,
    MetaProtocolVersion,
    IsError,
    #[default]
    Other,
}

impl Key {
    fn of(name: &[u8]) -> Self {
        match name {
            b"id" => Self::Id,
            b"method" => Self::Method,
            b"params" => Self::Params,
            b"result" => Self::Result,
            b"error" => Self::Error,
            b"name" => Self::Name,
            b"version" => Self::Version,
            b"requestId" => Self::RequestId,
            b"protocolVersion" => Self::ProtocolVersion,
            b"clientInfo" => Self::ClientInfo,
            b"_meta" => Self::Meta,
            b"io.modelcontextprotocol/clientInfo" => Self::MetaClientInfo,
            b"io.modelcontextprotocol/protocolVersion" => Self::MetaProtocolVersion,
            b"isError" => Self::IsError,
            _ => Self::Other,
        }
    }
}

/// Where in a line the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between values, names and brackets.
    Structure,
    /// Inside of a text; `is_escaped`: after a backslash.
    Text { is_escaped: bool },
    /// Inside of a number or a word.
    Scalar,
}

/// Reads one direction of a conversation.
#[derive(Debug)]
pub struct Scanner {
    at: At,
    /// How many brackets are open.
    depth: usize,
    /// How many brackets are open around a message: 1 in a batch.
    base: usize,
    /// For the brackets of a message: whether it is an object, the name that was read last in it, and whether the next
    /// text is a name.
    is_object: [bool; DEEPEST],
    keys: [Key; DEEPEST],
    is_name_next: bool,
    /// The text or scalar that is being read, with its quotes; empty if it doesn't matter.
    kept: Vec<u8>,
    is_kept: bool,
    message: Message,
    is_begun: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            at: At::Structure,
            depth: 0,
            base: 0,
            is_object: [false; DEEPEST],
            keys: [Key::Other; DEEPEST],
            is_name_next: false,
            kept: Vec::new(),
            is_kept: false,
            message: Message::default(),
            is_begun: false,
        }
    }
}

impl Scanner {
    /// Reads on, and gives each message as soon as its last bracket was read.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Message)) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            rest = match self.at {
                At::Text { is_escaped: true } => {
                    self.keep(&rest[..1]);
                    self.at = At::Text { is_escaped: false };
                    if *first == b'\n' {
                        self.end_line();
                    }
                    &rest[1..]
                }
                At::Text { is_escaped: false } => self.text(rest),
                At::Scalar => self.scalar(rest),
                At::Structure => self.structure(rest, &mut each),
            };
        }
    }

    /// How many brackets are open around the next byte, those of a message counted from 1.
    const fn level(&self) -> usize {
        self.depth.saturating_sub(self.base)
    }

    /// Reads brackets, and the names and values between them that are all there.
    fn structure<'b>(&mut self, bytes: &'b [u8], each: &mut impl FnMut(Message)) -> &'b [u8] {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    self.begin();
                    match memchr3(b'"', b'\\', b'\n', &bytes[at + 1..]) {
                        Some(length) if bytes[at + 1 + length] == b'"' => {
                            if self.is_kept && length <= LONGEST {
                                self.end_value(&bytes[at..at + length + 2], false);
                            } else {
                                self.end_unknown();
                            }
                            at += length + 2;
                            continue;
                        }
                        _ => {
                            self.keep(b"\"");
                            self.at = At::Text { is_escaped: false };
                            return &bytes[at + 1..];
                        }
                    }
                }
                b',' => self.is_name_next = self.is_in_object(),
                b':' => self.is_name_next = false,
                b'{' | b'[' => self.open(*byte == b'{'),
                b'}' | b']' => {
                    let is_message = *byte == b'}' && self.level() == 1;
                    self.depth = self.depth.saturating_sub(1);
                    self.is_name_next = false;
                    if is_message {
                        self.is_begun = false;
                        let is_in_batch = self.base > 0;
                        each(Message { is_in_batch, ..std::mem::take(&mut self.message) });
                    }
                }
                b'\n' => self.end_line(),
                b' ' | b'\t' | b'\r' => {}
                _ => {
                    self.begin();
                    self.at = At::Scalar;
                    return &bytes[at..];
                }
            }
            at += 1;
        }
        &[]
    }

    fn open(&mut self, is_object: bool) {
        if self.depth == 0 {
            self.base = usize::from(!is_object);
        }
        self.begin();
        self.depth = self.depth.saturating_add(1);
        let level = self.level();
        if level == 1 && std::mem::replace(&mut self.is_begun, true) {
            self.message = Message::default(); // what was before it never ended
        }
        if (1..=DEEPEST).contains(&level) {
            self.is_object[level - 1] = is_object;
            self.keys[level - 1] = Key::Other;
        }
        self.is_name_next = is_object;
    }

    fn is_in_object(&self) -> bool {
        let level = self.level();
        (1..=DEEPEST).contains(&level) && self.is_object[level - 1]
    }

    /// A name or a value begins. It is kept if it may matter.
    fn begin(&mut self) {
        let level = self.level();
        self.is_kept = self.is_in_object() && (self.is_name_next || self.keys[level - 1] != Key::Other);
        self.kept.clear();
        if level == 1 && !self.is_name_next {
            match self.keys[0] {
                Key::Result => self.message.answer = Some(Answer::Well),
                Key::Error => self.message.answer = Some(Answer::Failed),
                _ => {}
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_kept && self.kept.len() + bytes.len() <= LONGEST {
            self.kept.extend_from_slice(bytes);
        } else {
            self.is_kept = false;
        }
    }

    /// Reads a text up to its quote, a backslash, or the end of the line, which no text goes beyond.
    fn text<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(found) = memchr3(b'"', b'\\', b'\n', bytes) else {
            self.keep(bytes);
            return &[];
        };
        self.keep(&bytes[..found]);
        match bytes[found] {
            b'\n' => self.end_line(),
            b'\\' => {
                self.keep(b"\\");
                self.at = At::Text { is_escaped: true };
            }
            _ => {
                self.keep(b"\"");
                self.at = At::Structure;
                self.end_kept();
            }
        }
        &bytes[found + 1..]
    }

    fn scalar<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'\n' | b' ' | b'\t' | b'\r');
        let length = bytes.iter().position(ends).unwrap_or(bytes.len());
        self.keep(&bytes[..length]);
        if length < bytes.len() {
            self.at = At::Structure;
            self.end_kept();
        }
        &bytes[length..]
    }

    /// What was kept of a name or a value is all of it.
    fn end_kept(&mut self) {
        if self.is_kept {
            let kept = std::mem::take(&mut self.kept);
            self.end_value(&kept, memchr(b'\\', &kept).is_some());
            self.kept = kept;
        } else {
            self.end_unknown();
        }
    }

    /// A name or a value has been read that nobody asks for.
    fn end_unknown(&mut self) {
        if self.is_name_next && self.is_in_object() {
            self.keys[self.level() - 1] = Key::Other; // too long a name to be one of ours
        }
    }

    /// A name or a value has been read that may matter.
    fn end_value(&mut self, value: &[u8], has_escapes: bool) {
        let text = |value| text(value, has_escapes);
        let level = self.level();
        if self.is_name_next {
            self.keys[level - 1] = match unquoted(value) {
                Some(name) if !has_escapes => Key::of(name),
                _ => text(value).map_or(Key::Other, |name| Key::of(name.as_bytes())),
            };
            return;
        }
        let message = &mut self.message;
        match &self.keys[..level] {
            [Key::Id] if value != b"null" => message.id = Some(plain(value, has_escapes)),
            [Key::Method] => message.method = text(value).map(|name| Method::of(&name)),
            [Key::Params, Key::Name] => message.tool = text(value).map(Cow::into_owned),
            [Key::Params, Key::RequestId] => message.cancelled = Some(plain(value, has_escapes)),
            [Key::Params, Key::ProtocolVersion] => {
                message.protocol_version = text(value).map(Cow::into_owned);
            }
            [Key::Params, Key::Meta, Key::MetaProtocolVersion] => {
                message.protocol_version = text(value).map(Cow::into_owned);
                message.is_of_today = true;
            }
            [Key::Params, Key::ClientInfo, Key::Name]
            | [Key::Params, Key::Meta, Key::MetaClientInfo, Key::Name] => {
                message.client_name = text(value).map(Cow::into_owned);
            }
            [Key::Params, Key::ClientInfo, Key::Version]
            | [Key::Params, Key::Meta, Key::MetaClientInfo, Key::Version] => {
                message.client_version = text(value).map(Cow::into_owned);
            }
            [Key::Result, Key::IsError] if value == b"true" => message.answer = Some(Answer::Failed),
            _ => {}
        }
    }

    /// The next byte begins another line, whatever was open in this one.
    fn end_line(&mut self) {
        self.at = At::Structure;
        (self.depth, self.base) = (0, 0);
        self.is_name_next = false;
    }
}

/// The text that a quoted one stands for.
fn text(quoted: &[u8], has_escapes: bool) -> Option<Cow<'_, str>> {
    let inner = unquoted(quoted)?;
    if has_escapes || inner.iter().any(u8::is_ascii_control) {
        return serde_json::from_slice(quoted).ok().map(Cow::Owned);
    }
    str::from_utf8(inner).ok().map(Cow::Borrowed)
}

fn unquoted(quoted: &[u8]) -> Option<&[u8]> {
    quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// An id such that the same one is the same bytes, whoever wrote it.
fn plain(id: &[u8], has_escapes: bool) -> Vec<u8> {
    if has_escapes
        && let Some(text) = text(id, has_escapes)
        && let Ok(written) = serde_json::to_vec(&text)
    {
        return written;
    }
    id.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Vec<Message> {
        let mut found = Vec::new();
        Scanner::default().feed(bytes, |message| found.push(message));
        found
    }

    #[test]
    fn a_call_says_its_id_and_its_tool() {
        let line = br#"{"jsonrpc":"2.0","params":{"arguments":{"name":"x","id":9,"deep":[{"a":{"b":[1,"}"]}}]},"name":"read\u005ffile"},"method":"tools/call","id":7}"#;
        let message = Message {
            id: Some(b"7".to_vec()),
            method: Some(Method::CallTool),
            tool: Some("read_file".to_owned()),
            ..Message::default()
        };
        assert_eq!(scan(line), [message]);
    }

    #[test]
    fn answers_say_whether_they_went_well() {
        let of = |line: &[u8]| scan(line).pop().map(|message| (message.id, message.answer));
        let (well, failed) = (Some(Answer::Well), Some(Answer::Failed));
        let id = |id: &[u8]| Some(id.to_vec());
        assert_eq!(of(br#"{"id":"a","result":{"isError":true,"content":[]}}"#), Some((id(b"\"a\""), failed)));
        assert_eq!(of(br#"{"result":{"isError":false},"id":-1}"#), Some((id(b"-1"), well)));
        assert_eq!(of(br#"{"id":1,"error":{"code":1}}"#), Some((id(b"1"), failed)));
        assert_eq!(of(br#"{"id":1,"result":{"x":{"isError":true}}}"#), Some((id(b"1"), well)));
        assert_eq!(of(br#"{"id":1,"result":null}"#), Some((id(b"1"), well)));
        assert_eq!(of(br#"{"id":null,"method":"x"}"#), Some((None, None)));
        assert_eq!(of(br#"{"id":"\u0061","result":1}"#), Some((id(b"\"a\""), well)), "as others write it");
    }

    #[test]
    fn a_handshake_says_who_the_client_is() {
        let old = br#"{"id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":"claude-code","version":"2.1"},"capabilities":{}}}"#;
        let today = br#"{"id":0,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"version":"2.1","name":"claude-code"}}}}"#;
        for (line, version, is_of_today) in
            [(&old[..], "2025-11-25", false), (&today[..], "2026-07-28", true)]
        {
            let message = scan(line).pop().expect("a message");
            assert_eq!(message.client_name.as_deref(), Some("claude-code"));
            assert_eq!(message.client_version.as_deref(), Some("2.1"));
            assert_eq!(message.protocol_version.as_deref(), Some(version));
            assert_eq!(message.is_of_today, is_of_today);
        }
    }

    #[test]
    fn what_is_no_message_ends_with_its_line() {
        for nonsense in [
            &b"{\"a\":\"unended"[..],
            b"{{{{[[[[",
            b"}}}]]]",
            b"hello",
            b"\xff\xfe\0",
            b"{\"id\":1,\"x\":\"\\",
            b"",
        ] {
            let lines = [nonsense, b"\n{\"id\":1,\"method\":\"m\"}\n"].concat();
            let found = scan(&lines);
            let last = found.last().expect("the message");
            assert_eq!(
                (last.id.as_deref(), last.method),
                (Some(&b"1"[..]), Some(Method::Other)),
                "{nonsense:?}"
            );
        }
    }

    #[test]
    fn what_does_not_matter_is_passed_over_and_what_comes_after_it_is_not() {
        let line = br#"{"x":{"id":1,"method":"a","deep":[[{"y":"}]"},"\"]"]]},"params":{"arguments":{"name":"b","q":[{}]},"_meta":{"z":{"name":"c"},"io.modelcontextprotocol/clientInfo":{"icons":[{"name":"d"}],"name":"client"}},"list":[{"name":"e"}],"name":"tool"},"id":[2],"id":"3","method":"tools/call"}"#;
        let message = scan(line).pop().expect("a message");
        assert_eq!(message.id.as_deref(), Some(&b"\"3\""[..]));
        assert_eq!(message.method, Some(Method::CallTool));
        assert_eq!(message.tool.as_deref(), Some("tool"));
        assert_eq!(message.client_name.as_deref(), Some("client"));
    }

    #[test]
    fn a_batch_is_several_messages() {
        let found = scan(br#"[{"id":1,"method":"a"},{"id":2,"method":"b","params":[{"x":1}]}]"#);
        let ids: Vec<_> = found.iter().map(|message| (message.id.as_deref(), message.is_in_batch)).collect();
        assert_eq!(ids, [(Some(&b"1"[..]), true), (Some(&b"2"[..]), true)]);
    }

    /// However the bytes are cut, and whatever they are, the same is found; and no text makes it keep more than it may.
    #[test]
    fn chunks_make_no_difference() {
        let mut random = fastrand::Rng::with_seed(16);
        let lines = br#"{"id":1,"method":"tools/call","params":{"name":"a\"\\b"}}
["x",{"id":"\n"}]{"error":{},"id":3}
{"result":{"isError" : true },"id" : 4 }"#;
        for round in 0..2_000 {
            let mut bytes = lines.to_vec();
            for _ in 0..round % 8 {
                let at = random.usize(..bytes.len());
                bytes[at] = *random.choice(b"{}[]\",:\\ tn0\n\xff").unwrap_or(&0);
            }
            let (mut scanner, mut found, mut rest) = (Scanner::default(), Vec::new(), &bytes[..]);
            while !rest.is_empty() {
                let (chunk, later) = rest.split_at(random.usize(1..=rest.len()));
                scanner.feed(chunk, |message| found.push(message));
                rest = later;
            }
            assert_eq!(found, scan(&bytes), "{}", String::from_utf8_lossy(&bytes));
            assert!(scanner.kept.capacity() <= 2 * LONGEST);
        }
    }
}
