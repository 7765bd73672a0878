//! What JSON-RPC messages say, read from bytes as they pass by: no line is kept, whatever its length, and what is no JSON
//! says nothing and harms nothing.
//!
//! A message says who it is for, what it asks for, and whether it went well. All else is passed over as fast as its
//! quotes and brackets can be found.

use std::borrow::Cow;

use memchr::{memchr, memchr3};
use smallvec::SmallVec;

/// Longest text that is looked at, in bytes. A longer one is as if it weren't there.
const LONGEST: usize = 1_024;

/// How deep the fields lie that are looked at.
const DEEPEST: usize = 4;

/// An id, or the name of a tool: few bytes, mostly.
pub type Short = SmallVec<[u8; 24]>;

/// One message, as far as anybody here asks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id as it was written, and so with quotes if it is a text; `None` for a notification.
    pub id: Option<Short>,
    pub method: Option<Method>,
    /// `params.name`: that of the tool, in a call.
    pub tool: Option<Short>,
    /// `params.requestId`, as it was written: which request is cancelled.
    pub cancelled: Option<Box<Short>>,
    /// From the handshake, or from what clients of today send with each request.
    pub introduction: Option<Box<Introduction>>,
    /// Whether the version of the protocol came in `_meta`, as from clients of today.
    pub is_of_today: bool,
    /// How it answers a request, if it does.
    pub answer: Option<Answer>,
    /// Whether it is one of several in an array.
    pub is_in_batch: bool,
}

/// What a client says of itself. Few messages do, and all of them are moved about: so it is kept apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Introduction {
    pub name: Option<String>,
    pub version: Option<String>,
    pub protocol_version: Option<String>,
}

impl Message {
    fn introduction(&mut self) -> &mut Introduction {
        self.introduction.get_or_insert_default()
    }
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
    fn of(name: &[u8]) -> Self {
        match name {
            b"tools/call" => Self::CallTool,
            b"initialize" => Self::Initialize,
            b"notifications/initialized" => Self::Initialized,
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

    /// The name that these bytes begin with, if it is one that most messages have and written as by most; and its length with
    /// quotes and colon, or with the value that is always the same: so its end need not be looked for.
    fn at(bytes: &[u8]) -> Option<(Self, usize)> {
        const OFTEN: [(&[u8], Key); 9] = [
            (b"\"jsonrpc\":\"2.0\"", Key::Other),
            (b"\"id\":", Key::Id),
            (b"\"method\":", Key::Method),
            (b"\"params\":", Key::Params),
            (b"\"name\":", Key::Name),
            (b"\"arguments\":", Key::Other),
            (b"\"result\":", Key::Result),
            (b"\"content\":", Key::Other),
            (b"\"isError\":", Key::IsError),
        ];
        OFTEN
            .iter()
            .find(|(written, _)| bytes.starts_with(written))
            .map(|(written, key)| (*key, written.len()))
    }
}

/// Where in a line the next byte lies.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between values, names and brackets.
    #[default]
    Structure,
    /// Inside of a text; `is_escaped`: after a backslash.
    Text { is_escaped: bool },
    /// Inside of a number or a word.
    Scalar,
}

/// Reads one direction of a conversation.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The member of a message in whose value something matters.
    matters_in: Key,
    at: At,
    /// Whether the bracket of a batch is open.
    is_in_batch: bool,
    /// How many objects of a message are open, those aside that are passed over.
    level: usize,
    /// How many brackets are open in a value in which nothing matters, its own included; 0 outside of one.
    passed_over: usize,
    /// For the open objects, from the outermost: the name that was read last; and whether the next text is a name.
    keys: [Key; DEEPEST],
    is_name_next: bool,
    /// The text or scalar of which a part was read, with its quotes; empty if it doesn't matter.
    kept: Vec<u8>,
    is_kept: bool,
    message: Message,
}

impl Scanner {
    /// For what the client says: of its answers no more matters than that they are some.
    pub fn of_client() -> Self {
        Self { matters_in: Key::Params, ..Self::default() }
    }

    /// For what the server says: of what it asks its client no more matters than the method.
    pub fn of_server() -> Self {
        Self { matters_in: Key::Result, ..Self::default() }
    }

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
                At::Structure if self.passed_over > 0 => self.pass_over(rest),
                At::Structure => self.structure(rest, &mut each),
            };
        }
    }

    /// Reads brackets, and the names and values between them that are all there.
    fn structure<'b>(&mut self, bytes: &'b [u8], each: &mut impl FnMut(Message)) -> &'b [u8] {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    if self.is_name_next
                        && let Some((key, length)) = Key::at(&bytes[at..])
                    {
                        self.keys[self.level - 1] = key;
                        self.is_name_next = false;
                        at += length;
                        continue;
                    }
                    let Some(length) = plain_text(&bytes[at..]) else {
                        self.begin_text();
                        return &bytes[at + 1..];
                    };
                    self.note(&bytes[at..at + length]);
                    at += length;
                    continue;
                }
                b',' => self.is_name_next = self.level > 0,
                b':' => self.is_name_next = false,
                b'{' | b'[' => {
                    self.open(*byte == b'{');
                    if self.passed_over > 0 {
                        return &bytes[at + 1..];
                    }
                }
                b'}' | b']' => {
                    self.is_name_next = false;
                    match self.level {
                        0 => self.is_in_batch = false,
                        1 if *byte == b'}' => {
                            self.level = 0;
                            each(Message {
                                is_in_batch: self.is_in_batch,
                                ..std::mem::take(&mut self.message)
                            });
                        }
                        _ => self.level -= 1,
                    }
                }
                b'\n' => self.end_line(),
                b' ' | b'\t' | b'\r' => {}
                _ => {
                    let length = length_of_scalar(&bytes[at..]);
                    if at + length == bytes.len() {
                        self.begin();
                        self.at = At::Scalar;
                        return &bytes[at..];
                    }
                    self.note(&bytes[at..at + length]);
                    at += length;
                    continue;
                }
            }
            at += 1;
        }
        &[]
    }

    /// Reads the rest of a value in which nothing matters, as far as it is there.
    fn pass_over<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    let Some(length) = plain_text(&bytes[at..]) else {
                        self.begin_text();
                        return &bytes[at + 1..];
                    };
                    at += length;
                    continue;
                }
                b'{' | b'[' => self.passed_over += 1,
                b'}' | b']' => {
                    self.passed_over -= 1;
                    if self.passed_over == 0 {
                        return &bytes[at + 1..];
                    }
                }
                b'\n' => {
                    self.end_line();
                    return &bytes[at + 1..];
                }
                _ => {}
            }
            at += 1;
        }
        &[]
    }

    fn open(&mut self, is_object: bool) {
        self.note_answer();
        let may_matter = match (self.level, &self.keys) {
            (0, _) if is_object => true,
            (0, _) => !std::mem::replace(&mut self.is_in_batch, true),
            (1, [key, ..]) if *key == self.matters_in => is_object,
            (2, [Key::Params, Key::Meta | Key::ClientInfo, ..])
            | (3, [Key::Params, Key::Meta, Key::MetaClientInfo, ..]) => is_object,
            _ => false,
        };
        self.is_name_next = is_object && may_matter;
        if !may_matter {
            self.passed_over = 1;
        } else if is_object {
            if self.level == 0 {
                self.message = Message::default(); // one before it may never have ended
            }
            self.keys[self.level] = Key::Other;
            self.level += 1;
        }
    }

    /// A value begins. What it is called may say all that matters of it.
    fn note_answer(&mut self) {
        if self.level == 1 && self.passed_over == 0 && !self.is_name_next {
            match self.keys[0] {
                Key::Result => self.message.answer = Some(Answer::Well),
                Key::Error => self.message.answer = Some(Answer::Failed),
                _ => {}
            }
        }
    }

    /// Whether what is read next may matter, if it is no bracket.
    fn may_matter(&self) -> bool {
        self.level > 0
            && self.passed_over == 0
            && (self.is_name_next || self.keys[self.level - 1] != Key::Other)
    }

    /// A name or a value begins of which a part is there. It is kept if it may matter.
    fn begin(&mut self) {
        self.note_answer();
        self.is_kept = self.may_matter();
        self.kept.clear();
    }

    fn begin_text(&mut self) {
        self.begin();
        self.keep(b"\"");
        self.at = At::Text { is_escaped: false };
    }

    /// A name or a value was read that is all there.
    fn note(&mut self, value: &[u8]) {
        if self.may_matter() {
            self.note_answer();
            if value.len() <= LONGEST { self.end_value(value, false) } else { self.end_unknown() }
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
        let Some(found) = end_of_text(bytes) else {
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
        let length = length_of_scalar(bytes);
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
        if self.is_name_next && self.level > 0 {
            self.keys[self.level - 1] = Key::Other; // too long a name to be one of ours
        }
    }

    /// A name or a value has been read that may matter.
    fn end_value(&mut self, value: &[u8], has_escapes: bool) {
        if self.is_name_next {
            self.keys[self.level - 1] = name(value, has_escapes, Key::of).unwrap_or_default();
            return;
        }
        let text = || text(value, has_escapes);
        let level = self.level;
        let message = &mut self.message;
        let (around, key) = (&self.keys[..level - 1], self.keys[level - 1]);
        match (key, around) {
            (Key::Id, []) if value != b"null" => message.id = Some(plain(value, has_escapes)),
            (Key::Method, []) => message.method = name(value, has_escapes, Method::of),
            (Key::Name, [Key::Params]) => message.tool = name(value, has_escapes, Short::from_slice),
            (Key::IsError, [Key::Result]) if value == b"true" => message.answer = Some(Answer::Failed),
            (Key::RequestId, [Key::Params]) => message.cancelled = Some(Box::new(plain(value, has_escapes))),
            (Key::ProtocolVersion, [Key::Params]) => {
                message.introduction().protocol_version = text().map(Cow::into_owned);
            }
            (Key::MetaProtocolVersion, [Key::Params, Key::Meta]) => {
                message.introduction().protocol_version = text().map(Cow::into_owned);
                message.is_of_today = true;
            }
            (Key::Name, [Key::Params, Key::ClientInfo] | [Key::Params, Key::Meta, Key::MetaClientInfo]) => {
                message.introduction().name = text().map(Cow::into_owned);
            }
            (
                Key::Version,
                [Key::Params, Key::ClientInfo] | [Key::Params, Key::Meta, Key::MetaClientInfo],
            ) => message.introduction().version = text().map(Cow::into_owned),
            _ => {}
        }
    }

    /// The next byte begins another line, whatever was open in this one.
    fn end_line(&mut self) {
        self.at = At::Structure;
        (self.level, self.passed_over, self.is_in_batch) = (0, 0, false);
        self.is_name_next = false;
    }
}

/// How far it is to the end of a text: to its quote, or to a backslash or the end of the line. Most texts are short, so the
/// first bytes are looked at eight at a time, which is over before a search by many more at once has begun.
fn end_of_text(bytes: &[u8]) -> Option<usize> {
    const SHORT: usize = 32;
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let mut at = 0;
    while at < SHORT
        && let Some(eight) = bytes[at..].first_chunk()
    {
        let eight = u64::from_le_bytes(*eight);
        let mut found = 0;
        for end in [b'"', b'\\', b'\n'] {
            let zero_where_it_is = eight ^ all(end);
            found |= zero_where_it_is.wrapping_sub(all(1)) & !zero_where_it_is;
        }
        found &= all(0x80); // right up to the first
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    Some(at + memchr3(b'"', b'\\', b'\n', &bytes[at..])?)
}

/// As many bytes belong to the text that these begin with, with its quotes; `None` if it isn't all there or has an escape.
fn plain_text(bytes: &[u8]) -> Option<usize> {
    let length = end_of_text(&bytes[1..])?;
    (bytes[1 + length] == b'"').then_some(length + 2)
}

/// As many bytes belong to the number or word that these begin with.
fn length_of_scalar(bytes: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'\n' | b' ' | b'\t' | b'\r');
    bytes.iter().position(ends).unwrap_or(bytes.len())
}

/// What a quoted text is the name of. One that is only compared, or kept for people, need not be proved a text.
fn name<T>(quoted: &[u8], has_escapes: bool, of: impl Fn(&[u8]) -> T) -> Option<T> {
    match unquoted(quoted) {
        Some(name) if !has_escapes => Some(of(name)),
        _ => text(quoted, has_escapes).map(|name| of(name.as_bytes())),
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
fn plain(id: &[u8], has_escapes: bool) -> Short {
    if has_escapes
        && let Some(text) = text(id, has_escapes)
        && let Ok(written) = serde_json::to_vec(&text)
    {
        return Short::from_vec(written);
    }
    Short::from_slice(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(mut scanner: Scanner, bytes: &[u8]) -> Vec<Message> {
        let mut found = Vec::new();
        scanner.feed(bytes, |message| found.push(message));
        found
    }

    fn of_client(bytes: &[u8]) -> Vec<Message> {
        scan(Scanner::of_client(), bytes)
    }

    #[test]
    fn a_call_says_its_id_and_its_tool() {
        let line = br#"{"jsonrpc":"2.0","params":{"arguments":{"name":"x","id":9,"deep":[{"a":{"b":[1,"}"]}}]},"name":"read\u005ffile"},"method":"tools/call","id":7}"#;
        let message = Message {
            id: Some(Short::from_slice(b"7")),
            method: Some(Method::CallTool),
            tool: Some(Short::from_slice(b"read_file")),
            ..Message::default()
        };
        assert_eq!(of_client(line), [message]);
    }

    #[test]
    fn answers_say_whether_they_went_well() {
        let of =
            |line: &[u8]| scan(Scanner::of_server(), line).pop().map(|message| (message.id, message.answer));
        let (well, failed) = (Some(Answer::Well), Some(Answer::Failed));
        let id = |id: &[u8]| Some(Short::from_slice(id));
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
            let message = of_client(line).pop().expect("a message");
            let said = message.introduction.expect("an introduction");
            assert_eq!(said.name.as_deref(), Some("claude-code"));
            assert_eq!(said.version.as_deref(), Some("2.1"));
            assert_eq!(said.protocol_version.as_deref(), Some(version));
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
            let found = of_client(&lines);
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
        let message = of_client(line).pop().expect("a message");
        assert_eq!(message.id.as_deref(), Some(&b"\"3\""[..]));
        assert_eq!(message.method, Some(Method::CallTool));
        assert_eq!(message.tool.as_deref(), Some(&b"tool"[..]));
        assert_eq!(message.introduction.and_then(|said| said.name).as_deref(), Some("client"));
    }

    #[test]
    fn a_batch_is_several_messages() {
        let found = of_client(br#"[{"id":1,"method":"a"},{"id":2,"method":"b","params":[{"x":1}]}]"#);
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
            for side in [Scanner::of_client, Scanner::of_server] {
                let (mut scanner, mut found, mut rest) = (side(), Vec::new(), &bytes[..]);
                while !rest.is_empty() {
                    let (chunk, later) = rest.split_at(random.usize(1..=rest.len()));
                    scanner.feed(chunk, |message| found.push(message));
                    rest = later;
                }
                assert_eq!(found, scan(side(), &bytes), "{}", String::from_utf8_lossy(&bytes));
                assert!(scanner.kept.capacity() <= 2 * LONGEST);
            }
        }
    }
}
