//! Messages on stdin and stdout, one JSON object a line.
//!
//! rmcp has a transport for this. Ours answers what it can't read with a JSON-RPC error instead of silence,
//! and has two threads of its own: stdin may be a pipe, a socket (as Node has it), a file or a terminal, of
//! which only the first can be read without a thread; and a client that doesn't read its answers must not
//! take the threads that calls run on. What they have read and are to write is in `inbox` and `outbox`, which have bounds.
//!
//! Nothing else writes to stdout. Logs go to stderr or to a file.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, ProtocolVersion, ServerJsonRpcMessage,
    ServerResult,
};
use rmcp::transport::Transport;
use tokio::time::timeout;

use super::lone_surrogates;
use crate::batch::{Batches, Members, is_batch};
use crate::inbox::{Inbox, Incoming, MAX_BYTES, answered, cancelled};
use crate::lines::{Line, Lines};
use crate::message_id::{IdFinder, MessageId};
use crate::outbox::{Outbox, WriteAtOnce};
#[cfg(unix)]
use crate::shortcut::Shortcut;

/// The longest line that is read. The largest call that fits its limits has about 13 MB, with every character
/// of it escaped; one that is over them should still hear which argument it is.
const LINE_MAX_BYTES: usize = MAX_BYTES;

/// A line that is parsed by the thread that reads it; a shorter one takes no time worth mentioning.
const LINE_LONG_BYTES: usize = 64 << 10;

/// The most values in a message. One takes 200 bytes while it is read, and two of its text: a long line of them would
/// take more than a gigabyte. A hundred times what is allowed should still hear which argument it is.
const VALUES_MAX: usize = 1 << 20;

/// Room for an answer, so that it rarely has to grow.
const USUAL_BYTES: usize = 2 << 10;

/// The longest line that may be a ping or a cancellation.
const FIRST_MAX_BYTES: usize = 1 << 10;

/// How long the next answer may take after the end of input: a little longer than calls wait for a lock unless
/// configured. Clients give the server two seconds, and then send SIGTERM.
const ANSWER_AFTER_END: Duration = Duration::from_secs(6);

/// How long the client may take to read on after the end of input. A script may be busy; a client that has forgotten
/// the server must not keep it.
const READ_AFTER_END: Duration = Duration::from_mins(2);

/// The transport on this process's stdin and stdout.
pub struct Stdio {
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    batches: Batches,
    /// Whether the version of the protocol that was agreed upon has batches.
    has_batches: bool,
    /// The client has made a request.
    begun: bool,
}

/// Resolves when the client is gone.
pub struct Hangup {
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
}

impl Hangup {
    /// Returns when nobody can read what is written, or when input has ended and all that was read is answered. Answers
    /// that don't come, or that the client doesn't read, are waited for until patience is over.
    pub async fn wait(&self) {
        tokio::select! {
            () = self.outbox.over() => {}
            () = self.answered() => {}
        }
    }

    async fn answered(&self) {
        self.inbox.ended().await;
        while !(self.inbox.is_answered() && self.outbox.is_empty()) {
            let progress = async {
                tokio::select! {
                    () = self.outbox.progress() => {}
                    () = self.inbox.ended() => {}
                }
            };
            let patience = if self.outbox.is_empty() { ANSWER_AFTER_END } else { READ_AFTER_END };
            if timeout(patience, progress).await.is_err() {
                tracing::warn!("input has ended, and calls that it had are not answered");
                return;
            }
        }
    }
}

/// Ends the inbox when the thread that owns it ends, by whatever way.
struct Ends(Arc<Inbox>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Stdio {
    /// Starts the two threads.
    pub fn open() -> io::Result<(Self, Hangup)> {
        let stdout = stdout()?;
        #[cfg(unix)]
        let at_once = Shortcut::to(&stdout)
            .map(|shortcut| -> WriteAtOnce { Box::new(move |line| shortcut.write(line)) });
        #[cfg(not(unix))]
        let at_once = None;
        Self::over_with(|| io::stdin().lock(), stdout, at_once)
    }

    /// As [`Stdio::open`], on any two streams. The one to read is opened by the thread that reads it.
    pub fn over<I: BufRead>(
        input: impl FnOnce() -> I + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> io::Result<(Self, Hangup)> {
        Self::over_with(input, output, None)
    }

    fn over_with<I: BufRead>(
        input: impl FnOnce() -> I + Send + 'static,
        output: impl Write + Send + 'static,
        at_once: Option<WriteAtOnce>,
    ) -> io::Result<(Self, Hangup)> {
        let (inbox, outbox) = (Arc::<Inbox>::default(), Arc::new(Outbox::new(at_once)));
        let ends = Ends(Arc::clone(&inbox));
        let complaints = Arc::clone(&outbox);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut lines = Lines::new(input(), LINE_MAX_BYTES);
            if let Err(error) = receive(&mut lines, &ends.0, &complaints) {
                tracing::warn!(%error, "cannot read stdin");
            }
        })?;
        let to_client = Arc::clone(&outbox);
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            if let Err(error) = to_client.write_to(output) {
                tracing::info!(%error, "cannot write to stdout");
            }
        })?;
        let hangup = Hangup { inbox: Arc::clone(&inbox), outbox: Arc::clone(&outbox) };
        Ok((Self { inbox, outbox, batches: Batches::default(), has_batches: false, begun: false }, hangup))
    }

    /// What is to be written. No call needs to begin whose result would only wait there.
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }
}

/// A handle of our own on stdout: whoever called us may hold the lock of the usual one.
fn stdout() -> io::Result<File> {
    #[cfg(unix)]
    let stdout = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let stdout = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(stdout.into())
}

impl Stdio {
    fn write(&mut self, message: &ServerJsonRpcMessage) -> io::Result<()> {
        self.inbox.sent(message);
        if let JsonRpcMessage::Response(response) = message
            && let ServerResult::InitializeResult(initialized) = &response.result
        {
            self.has_batches = initialized.protocol_version == ProtocolVersion::V_2025_03_26;
        }
        let mut text = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut text, message)?;
        match answered(message) {
            Some(id) if self.batches.expects(id) => {
                self.batches.answer(id, Some(&text)).map_or(Ok(()), |answers| self.outbox.push(answers))
            }
            _ => self.outbox.push(text),
        }
    }

    /// What a message means, if that can be said; otherwise the client hears what is wrong with it.
    fn read(&mut self, incoming: Incoming) -> Option<ClientJsonRpcMessage> {
        let (message, bytes) = match incoming {
            Incoming::Parsed(message, bytes) => (*message, bytes),
            Incoming::Line(line) => match parse(&line) {
                Ok(message) => (message, line.len()),
                Err(error) => {
                    complain_of(&line, &error, |complaint| self.outbox.push_or_drop(complaint));
                    return None;
                }
            },
            Incoming::Batch(members) => return self.read_member(members),
        };
        self.take_note(&message, bytes);
        Some(message)
    }

    fn take_note(&mut self, message: &ClientJsonRpcMessage, bytes: usize) {
        self.inbox.received(message, bytes);
        if let Some(id) = cancelled(message) {
            self.write_gathered(|batches| batches.answer(id, None));
        }
    }

    /// The next member of a batch, as [`Self::read`]. The others are put back.
    fn read_member(&mut self, mut members: Members) -> Option<ClientJsonRpcMessage> {
        if self.has_batches {
            self.batches.begin();
        }
        let Some(text) = members.next() else {
            if !members.is_answered {
                self.outbox.push_or_drop(complaint(None, &refusal_of_batch(self.has_batches)));
            }
            self.write_gathered(Batches::end);
            return None;
        };
        let read = if self.has_batches { parse(&text) } else { Err(refusal_of_batch(false)) };
        let message = match read {
            Ok(message) => {
                members.is_answered = true; // a notification needs no answer
                if let JsonRpcMessage::Request(request) = &message {
                    self.batches.expect(&request.id);
                }
                self.take_note(&message, text.len());
                Some(message)
            }
            Err(error) if self.has_batches => {
                members.is_answered = true;
                let mut add =
                    |complaint: Vec<u8>| self.write_gathered(|batches| batches.add_to_last(&complaint));
                complain_of(&text, &error, &mut add);
                None
            }
            Err(error) => {
                for id in IdFinder::find(&text) {
                    members.is_answered = true;
                    self.outbox.push_or_drop(complaint(Some(&id), &error));
                }
                None
            }
        };
        self.inbox.put_back(Incoming::Batch(members));
        message
    }

    /// Writes what is to be written now of the answers to batches. A client that is gone hears nothing.
    fn write_gathered(&mut self, change: impl FnOnce(&mut Batches) -> Option<Vec<u8>>) {
        if let Some(answers) = change(&mut self.batches) {
            self.outbox.push_or_drop(answers);
        }
    }
}

/// What is wrong with a batch that has no members, or that may not be one.
fn refusal_of_batch(is_spoken: bool) -> ErrorData {
    let reason = if is_spoken {
        "a batch has at least one message"
    } else {
        "this version of the protocol has no batches: send one message a line"
    };
    ErrorData::invalid_request(reason, None)
}

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        std::future::ready(self.write(&message))
    }

    /// What comes before the first request is nothing to take note of, and rmcp would give up at it.
    ///
    /// rmcp drops this future whenever it has something else to do, so nothing is awaited with a line in hand.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let incoming = self.inbox.next(&self.outbox).await?;
            let Some(message) = self.read(incoming) else { continue };
            self.begun |= matches!(message, ClientJsonRpcMessage::Request(_));
            if self.begun {
                return Some(message);
            }
        }
    }

    /// Returns when everything that was sent is written.
    async fn close(&mut self) -> io::Result<()> {
        self.inbox.close();
        self.outbox.close();
        self.outbox.over().await;
        Ok(())
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        self.inbox.close();
        self.outbox.close();
    }
}

/// Reads until the end of the stream, or until the server wants no more.
fn receive(lines: &mut Lines<impl BufRead>, inbox: &Inbox, outbox: &Outbox) -> io::Result<()> {
    let too_long = format!("a message may have {LINE_MAX_BYTES} bytes; this one has more");
    let too_long = ErrorData::invalid_request(too_long, None);
    loop {
        let mut complaints = Complaints::new(&too_long, |complaint| outbox.push_when_room(complaint));
        let mut finder = IdFinder::default();
        match lines.read_next_or_pass(|piece| finder.read(piece, |id| complaints.add(&id)))? {
            Some(Line::TooLong) => {
                finder.end(|id| complaints.add(&id));
                complaints.end();
            }
            Some(Line::Whole(line)) if take_in(line, inbox, outbox) => {}
            None | Some(Line::Whole(_)) => return Ok(()),
        }
    }
}

/// Hands a line over; `false` if nobody wants it any more.
fn take_in(line: &[u8], inbox: &Inbox, outbox: &Outbox) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line); // some shells begin a pipe with it
    if line.trim_ascii().is_empty() {
        return true;
    }
    if is_batch(line) || line.len() >= LINE_LONG_BYTES {
        let read = if is_batch(line) {
            Members::parse(line).map(Incoming::Batch).map_err(|malformed| no_json(&malformed))
        } else {
            parse(line).map(|message| Incoming::Parsed(Box::new(message), line.len()))
        };
        return match read {
            Ok(incoming) => inbox.push(incoming),
            Err(error) => {
                complain_of(line, &error, |complaint| outbox.push_when_room(complaint));
                true
            }
        };
    }
    if may_come_first(line)
        && let Ok(message) = parse(line)
    {
        let is_ping = matches!(&message, JsonRpcMessage::Request(request)
            if matches!(request.request, ClientRequest::PingRequest(_)));
        if is_ping {
            return inbox.push_first(message);
        }
        if cancelled(&message).is_some() {
            return inbox.push_cancellation(message);
        }
    }
    inbox.push(Incoming::Line(line.to_vec()))
}

/// Whether a line is worth a look if it is a ping or a cancellation.
fn may_come_first(line: &[u8]) -> bool {
    let has = |name: &[u8]| line.windows(name.len()).any(|part| part == name);
    line.len() <= FIRST_MAX_BYTES && (has(b"\"ping\"") || has(b"cancelled\""))
}

/// Reads one message, or says what is wrong with it.
fn parse(line: &[u8]) -> Result<ClientJsonRpcMessage, ErrorData> {
    if line.len() > VALUES_MAX {
        let mut finder = IdFinder::default();
        finder.read(line, drop);
        if finder.values() > VALUES_MAX {
            let reason = format!("a message may have {VALUES_MAX} values; this one has more");
            return Err(ErrorData::invalid_request(reason, None));
        }
    }
    let unfit = match serde_json::from_slice(line) {
        Ok(message) => return Ok(message),
        Err(unfit) => unfit,
    };
    let mut mended = line.to_vec();
    if lone_surrogates::replace_halves(&mut mended) {
        return parse(&mended);
    }
    Err(match serde_json::from_slice::<serde_json::Value>(line) {
        Err(malformed) => no_json(&malformed),
        Ok(_) => ErrorData::invalid_request(format!("this is no MCP message: {unfit}"), None),
    })
}

fn no_json(malformed: &serde_json::Error) -> ErrorData {
    ErrorData::parse_error(format!("this is not JSON: {malformed}"), None)
}

/// Answers a text that can't be read.
fn complain_of(text: &[u8], error: &ErrorData, write: impl FnMut(Vec<u8>)) {
    let mut complaints = Complaints::new(error, write);
    let mut finder = IdFinder::default();
    finder.read(text, |id| complaints.add(&id));
    finder.end(|id| complaints.add(&id));
    complaints.end();
}

/// The answers to a text that can't be read: one for each id in it, or one without an id if there is none.
struct Complaints<'e, W> {
    error: &'e ErrorData,
    write: W,
    has_id: bool,
}

impl<'e, W: FnMut(Vec<u8>)> Complaints<'e, W> {
    const fn new(error: &'e ErrorData, write: W) -> Self {
        Self { error, write, has_id: false }
    }

    fn add(&mut self, id: &MessageId) {
        self.has_id = true;
        (self.write)(complaint(Some(id), self.error));
    }

    fn end(mut self) {
        if !self.has_id {
            (self.write)(complaint(None, self.error));
        }
        tracing::info!(error = ?self.error, "cannot read a message");
    }
}

/// An answer that no message of rmcp can be: its id is any that JSON has, or null.
fn complaint(id: Option<&MessageId>, error: &ErrorData) -> Vec<u8> {
    let error = serde_json::to_string(error).expect("an error has no map but of strings");
    let id = id.map_or("null", MessageId::as_str);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_wrong_with_a_message_is_said_with_its_id_if_it_has_one() {
        let complaint = |line: &str| {
            let error = parse(line.as_bytes()).expect_err(line);
            let mut answers = Vec::new();
            complain_of(line.as_bytes(), &error, |answer| answers.push(answer));
            let answers: Vec<Value> =
                answers.iter().map(|answer| serde_json::from_slice(answer).expect(line)).collect();
            assert_eq!(answers.len(), 1, "{line}");
            (answers[0]["error"]["code"].clone(), answers[0]["id"].clone())
        };
        let null = Value::Null;
        assert_eq!(complaint("{"), (json!(-32700), null.clone()));
        assert_eq!(complaint("NaN"), (json!(-32700), null.clone()));
        assert_eq!(complaint("{}"), (json!(-32600), null.clone()));
        assert_eq!(complaint(r#"{"jsonrpc": "1.0", "id": 7, "method": "ping"}"#), (json!(-32600), json!(7)));
        assert_eq!(complaint(r#"{"jsonrpc": "2.0", "id": "a"}"#), (json!(-32600), json!("a")));
        assert_eq!(
            complaint(r#"{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}"#),
            (json!(-32600), json!(1.5))
        );
        let large = r#"{"jsonrpc": "2.0", "id": 18446744073709551615, "method": "ping"}"#;
        assert_eq!(complaint(large), (json!(-32600), json!(u64::MAX)));
        assert_eq!(
            complaint(r#"{"jsonrpc": "2.0", "id": [], "method": "ping"}"#),
            (json!(-32600), null.clone())
        );
        assert_eq!(complaint(r#"{"id": 8, "method": NaN}"#), (json!(-32700), json!(8)));
        let deep = format!(r#"{{"params": {}, "id": 9}}"#, "[".repeat(10_000) + &"]".repeat(10_000));
        assert_eq!(complaint(&deep), (json!(-32700), json!(9)));
        assert_eq!(complaint(&"[".repeat(100_000)), (json!(-32700), null));
    }

    #[test]
    fn only_short_lines_that_name_it_are_looked_at_for_what_comes_first() {
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"method": "notifications/cancelled"}"#,
            r#"{"method": "notifications\/cancelled"}"#,
        ] {
            assert!(may_come_first(line.as_bytes()), "{line}");
        }
        assert!(!may_come_first(br#"{"method":"tools/call","params":{"name":"pinging"}}"#));
        assert!(!may_come_first(&[br#""ping""#, [b' '; FIRST_MAX_BYTES].as_slice()].concat()));
    }
}
