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

/// The longest line that is read. The largest call that fits its limits has about 6 MB, with every character
/// of it escaped; a call that is over them should still hear which argument it is.
const LINE_MAX_BYTES: usize = 16 << 20;

/// A line's buffer that is kept for the next one. A longer one is given back.
const LINE_KEPT_BYTES: usize = 64 << 10;

/// Messages that wait on either side before whoever produces them waits, too.
const WAITING_MAX: usize = 64;

/// The transport on this process's stdin and stdout.
pub struct Stdio {
    incoming: mpsc::Receiver<ClientJsonRpcMessage>,
    outgoing: Option<mpsc::Sender<ServerJsonRpcMessage>>,
    written: oneshot::Receiver<()>,
}

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
        let stdout = stdout()?;
        let (to_server, incoming) = mpsc::channel(WAITING_MAX);
        let (outgoing, to_client) = mpsc::channel(WAITING_MAX);
        let (all_written, written) = oneshot::channel();
        let hangup = Arc::new(Notify::new());

        let hangs_up = HangsUp(Arc::clone(&hangup));
        let complaints = outgoing.downgrade();
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let _hangs_up = hangs_up;
            let mut lines = Lines::new(io::stdin().lock());
            if let Err(error) = receive(&mut lines, &to_server, &complaints) {
                tracing::warn!(%error, "cannot read stdin");
            }
        })?;
        let hangs_up = HangsUp(Arc::clone(&hangup));
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let _hangs_up = hangs_up;
            if let Err(error) = send(stdout, to_client) {
                tracing::info!(%error, "cannot write to stdout");
            }
            let _ = all_written.send(()); // nobody waits for it if the server is cut short
        })?;
        Ok((Self { incoming, outgoing: Some(outgoing), written }, Hangup(hangup)))
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

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        async move {
            let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
            outgoing.ok_or_else(closed)?.send(message).await.map_err(|_| closed())
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.incoming.recv().await
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
fn receive(
    lines: &mut Lines<impl BufRead>,
    to_server: &mpsc::Sender<ClientJsonRpcMessage>,
    complaints: &mpsc::WeakSender<ServerJsonRpcMessage>,
) -> io::Result<()> {
    loop {
        let message = match lines.next()? {
            Line::End => return Ok(()),
            Line::Whole(line) => parse(line),
            Line::TooLong => {
                let reason = format!("a message may have {LINE_MAX_BYTES} bytes; this one has more");
                Err(JsonRpcError::new(None, ErrorData::invalid_request(reason, None)))
            }
        };
        let gone = match message {
            Ok(message) => to_server.blocking_send(message).is_err(),
            Err(complaint) => {
                tracing::info!(?complaint, "cannot read a message");
                let complaint = ServerJsonRpcMessage::Error(complaint);
                complaints.upgrade().is_none_or(|client| client.blocking_send(complaint).is_err())
            }
        };
        if gone {
            return Ok(());
        }
    }
}

/// Reads one message, or says what is wrong with it, with the id of the request where it can be found.
fn parse(line: &[u8]) -> Result<ClientJsonRpcMessage, JsonRpcError> {
    let unfit = match serde_json::from_slice(line) {
        Ok(message) => return Ok(message),
        Err(unfit) => unfit,
    };
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
fn send(mut output: impl Write, mut to_client: mpsc::Receiver<ServerJsonRpcMessage>) -> io::Result<()> {
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

/// Lines of a bounded length.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// It was skipped.
    TooLong,
    /// There are no more.
    End,
}

impl<R: BufRead> Lines<R> {
    const fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// The next line that is not blank. The last one needs no end.
    fn next(&mut self) -> io::Result<Line<'_>> {
        loop {
            self.line.clear();
            self.line.shrink_to(LINE_KEPT_BYTES);
            let mut limited = io::Read::take(&mut self.input, LINE_MAX_BYTES as u64 + 1);
            if limited.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(Line::End);
            }
            if self.line.len() > LINE_MAX_BYTES && !self.line.ends_with(b"\n") {
                self.line = Vec::new();
                self.input.skip_until(b'\n')?;
                return Ok(Line::TooLong);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Line::Whole(self.line.trim_ascii()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    #[test]
    fn lines_are_cut_at_any_line_end_and_blank_ones_are_skipped() -> io::Result<()> {
        let mut lines = Lines::new(&b"{}\r\n\n  \n[]\nlast"[..]);
        assert_eq!(lines.next()?, Line::Whole(b"{}"));
        assert_eq!(lines.next()?, Line::Whole(b"[]"));
        assert_eq!(lines.next()?, Line::Whole(b"last"));
        assert_eq!(lines.next()?, Line::End);
        Ok(())
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_being_kept() -> io::Result<()> {
        let endless = io::repeat(b'x').take(10 * LINE_MAX_BYTES as u64);
        let mut lines = Lines::new(BufReader::new(endless.chain(&b"\n{}\n"[..])));
        assert_eq!(lines.next()?, Line::TooLong);
        assert_eq!(lines.line.capacity(), 0);
        assert_eq!(lines.next()?, Line::Whole(b"{}"));
        assert_eq!(lines.next()?, Line::End);
        Ok(())
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said_with_its_id_if_it_has_one() {
        let complaint = |line: &str| {
            let complaint = parse(line.as_bytes()).expect_err(line);
            (complaint.error.code.0, complaint.id.map(|id| id.to_string()))
        };
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
