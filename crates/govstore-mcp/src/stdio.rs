//! Messages on stdin and stdout, one JSON object a line.
//!
//! rmcp has a transport for this. Ours answers what it can't read with a JSON-RPC error instead of silence,
//! and has two threads of its own: stdin may be a pipe, a socket (as Node has it), a file or a terminal, of
//! which only the first can be read without a thread; and a client that doesn't read its answers must not
//! take the threads that calls run on.
//!
//! Nothing else writes to stdout. Logs go to stderr or to a file.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ErrorData, JsonRpcError, RequestId, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};

use super::lone_surrogates;
use super::under_way::UnderWay;
use crate::lines::{Line, Lines};

/// The longest line that is read. The largest call that fits its limits has about 13 MB, with every character
/// of it escaped; one that is over them should still hear which argument it is.
const LINE_MAX_BYTES: usize = 16 << 20;

/// A line that is parsed by the thread that reads it; a shorter one takes no time worth mentioning.
const LINE_LONG_BYTES: usize = 64 << 10;

/// The transport on this process's stdin and stdout.
pub struct Stdio {
    incoming: mpsc::UnboundedReceiver<Incoming>,
    outgoing: Option<mpsc::UnboundedSender<ServerJsonRpcMessage>>,
    under_way: UnderWay,
    written: oneshot::Receiver<()>,
    /// The client has made a request.
    begun: bool,
}

/// What the thread that reads hands over.
enum Incoming {
    /// A line that nobody has looked at yet. Until there is room for its request it stays that small.
    Line(Vec<u8>),
    /// What a long line means, or what is wrong with one.
    Parsed(Box<Parsed>),
}

type Parsed = Result<ClientJsonRpcMessage, JsonRpcError>;

/// Resolves when the client is gone: its end of stdin or stdout is closed.
pub struct Hangup(Arc<Notify>);

impl Hangup {
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}

/// Notifies when the thread that owns it ends, by whatever way.
struct HangsUp(Arc<Notify>);

impl Drop for HangsUp {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Stdio {
    /// Starts the two threads.
    pub fn open() -> io::Result<(Self, Hangup)> {
        Self::over(|| io::stdin().lock(), stdout()?)
    }

    /// As [`Stdio::open`], on any two streams. The one to read is opened by the thread that reads it.
    pub fn over<I: BufRead>(
        input: impl FnOnce() -> I + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> io::Result<(Self, Hangup)> {
        let (to_server, incoming) = mpsc::unbounded_channel();
        let (outgoing, to_client) = mpsc::unbounded_channel();
        let (all_written, written) = oneshot::channel();
        let hangup = Arc::new(Notify::new());

        let hangs_up = HangsUp(Arc::clone(&hangup));
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let _hangs_up = hangs_up;
            let mut lines = Lines::new(input(), LINE_MAX_BYTES);
            if let Err(error) = receive(&mut lines, &to_server) {
                tracing::warn!(%error, "cannot read stdin");
            }
        })?;
        let hangs_up = HangsUp(Arc::clone(&hangup));
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let _hangs_up = hangs_up;
            if let Err(error) = send(output, to_client) {
                tracing::info!(%error, "cannot write to stdout");
            }
            let _ = all_written.send(()); // nobody waits for it if the server is cut short
        })?;
        let under_way = UnderWay::default();
        Ok((Self { incoming, outgoing: Some(outgoing), under_way, written, begun: false }, Hangup(hangup)))
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
    fn write(&self, message: ServerJsonRpcMessage) -> io::Result<()> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.under_way.sent(&message);
        self.outgoing.as_ref().ok_or_else(closed)?.send(message).map_err(|_| closed())
    }
}

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        std::future::ready(self.write(message))
    }

    /// What comes before the first request is nothing to take note of, and rmcp would give up at it.
    ///
    /// rmcp drops this future whenever it has something else to do, so nothing is awaited with a line in hand.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            self.under_way.room().await;
            let parsed = match self.incoming.recv().await? {
                Incoming::Line(line) => parse(&line),
                Incoming::Parsed(parsed) => *parsed,
            };
            match parsed {
                Ok(message) => {
                    self.under_way.received(&message);
                    self.begun |= matches!(message, ClientJsonRpcMessage::Request(_));
                    if self.begun {
                        return Some(message);
                    }
                }
                Err(complaint) => {
                    tracing::info!(?complaint, "cannot read a message");
                    let _ = self.write(ServerJsonRpcMessage::Error(complaint)); // a client that is gone hears nothing
                }
            }
        }
    }

    /// Returns when everything that was sent is written.
    async fn close(&mut self) -> io::Result<()> {
        if self.outgoing.take().is_some() {
            let _ = (&mut self.written).await; // an error says that the thread is gone, and why is in the log
        }
        Ok(())
    }
}

/// Reads until the end of the stream, or until the server wants no more.
fn receive(lines: &mut Lines<impl BufRead>, to_server: &mpsc::UnboundedSender<Incoming>) -> io::Result<()> {
    while let Some(line) = lines.read_next()? {
        let incoming = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => continue,
            Line::Whole(line) if line.len() < LINE_LONG_BYTES => Incoming::Line(line.to_vec()),
            Line::Whole(line) => Incoming::Parsed(Box::new(parse(line))),
            Line::TooLong => {
                let reason = format!("a message may have {LINE_MAX_BYTES} bytes; this one has more");
                let complaint = JsonRpcError::new(None, ErrorData::invalid_request(reason, None));
                Incoming::Parsed(Box::new(Err(complaint)))
            }
        };
        if to_server.send(incoming).is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads one message, or says what is wrong with it, with the id of the request where it can be found.
fn parse(line: &[u8]) -> Parsed {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line); // some shells begin a pipe with it
    let unfit = match serde_json::from_slice(line) {
        Ok(message) => return Ok(message),
        Err(unfit) => unfit,
    };
    let mut mended = line.to_vec();
    if lone_surrogates::replace_halves(&mut mended) {
        return parse(&mended);
    }
    let (error, id) = match serde_json::from_slice::<Value>(line) {
        Err(malformed) => (ErrorData::parse_error(format!("this is not JSON: {malformed}"), None), None),
        Ok(value) => {
            let id = value.get("id").and_then(|id| serde_json::from_value::<RequestId>(id.clone()).ok());
            (ErrorData::invalid_request(format!("this is no MCP message: {unfit}"), None), id)
        }
    };
    Err(JsonRpcError::new(id, error))
}

/// Writes until there is nobody left who could send more.
fn send(
    mut output: impl Write,
    mut to_client: mpsc::UnboundedReceiver<ServerJsonRpcMessage>,
) -> io::Result<()> {
    while let Some(message) = to_client.blocking_recv() {
        let mut line = match &message {
            // rmcp leaves the id out. JSON-RPC wants it: null says that it could not be read.
            ServerJsonRpcMessage::Error(JsonRpcError { id: None, error, .. }) => {
                serde_json::to_vec(&json!({ "jsonrpc": "2.0", "id": null, "error": error }))?
            }
            message => serde_json::to_vec(message)?,
        };
        line.push(b'\n');
        output.write_all(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_message_is_said_with_its_id_if_it_has_one() {
        let complaint = |line: &str| {
            let complaint = parse(line.as_bytes()).expect_err(line);
            (complaint.error.code.0, complaint.id.map(|id| id.to_string()))
        };
        assert!(parse(b"\xef\xbb\xbf{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}\r").is_ok());
        assert_eq!(complaint("{"), (-32700, None));
        assert_eq!(complaint("NaN"), (-32700, None));
        assert_eq!(complaint("[]"), (-32600, None));
        assert_eq!(complaint("{}"), (-32600, None));
        assert_eq!(
            complaint(r#"{"jsonrpc": "1.0", "id": 7, "method": "ping"}"#),
            (-32600, Some("7".to_owned()))
        );
        assert_eq!(complaint(r#"{"jsonrpc": "2.0", "id": "a"}"#), (-32600, Some("a".to_owned())));
        assert_eq!(complaint(r#"{"jsonrpc": "2.0", "id": [], "method": "ping"}"#), (-32600, None));
        let deep = "[".repeat(100_000);
        assert_eq!(complaint(&deep), (-32700, None));
    }
}
