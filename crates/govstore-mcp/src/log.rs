//! Logs: stderr, or a file for clients that swallow stderr. Never stdout, which belongs to the protocol.
//!
//! Lines are written by a thread of their own. A pipe that nobody reads takes some 250 of them, and then blocks who
//! writes; here what doesn't fit into [`KEPT_BYTES`] is dropped, and the log says how much that was.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::panic;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged unless `RUST_LOG` says otherwise: what this server does, and what goes wrong below it.
const USUAL: &str = "warn,govstore=info";

/// How much of the log waits to be written at most.
const KEPT_BYTES: usize = 1 << 20;

/// How long the end of the log waits for lines to be written.
const WRITE_WITHIN: Duration = Duration::from_millis(100);

/// The log. When it drops, what it has is written, if that takes no time worth mentioning.
pub struct Log {
    /// `None` if the program that links us has its logs already.
    lines: Option<Arc<Lines>>,
}

/// Sends logs and panics to `file`, else to stderr, at the levels that `RUST_LOG` asks for.
pub fn start(file: Option<&Path>) -> io::Result<Log> {
    let wanted = std::env::var("RUST_LOG").ok();
    let levels = wanted.as_deref().map(str::parse::<Targets>);
    let usual = || USUAL.parse().expect("well-formed levels");
    let filter = match &levels {
        Some(Ok(levels)) => levels.clone(),
        _ => usual(),
    };
    let output: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(append(path)?),
        None => Box::new(io::stderr()),
    };
    let lines = Arc::<Lines>::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // Else a client that closed stderr makes the complaint about it panic.
        .log_internal_errors(false)
        .with_writer(Adds(Arc::clone(&lines)));
    if tracing_subscriber::registry().with(filter).with(layer).try_init().is_err() {
        return Ok(Log { lines: None });
    }
    let to_write = Arc::clone(&lines);
    thread::Builder::new().name("log".to_owned()).spawn(move || to_write.write_to(output))?;
    if let (Some(Err(error)), Some(wanted)) = (levels, wanted) {
        tracing::warn!(RUST_LOG = wanted, %error, "not understood");
    }
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(Log { lines: Some(lines) })
}

/// Opens a log that several servers may write to. It may be read by its owner alone.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.wait_until_written();
        }
    }
}

/// Lines that are to be written.
#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines, with the one that is being written.
    bytes: usize,
    /// Lines that there was no room for, since one was written that says so.
    dropped: u64,
}

impl Lines {
    fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes + line.len() > KEPT_BYTES {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.changed.notify_all();
    }

    fn write_to(&self, mut output: impl Write) {
        loop {
            let line = self.next();
            let _ = output.write_all(&line); // a client may have closed stderr
            self.state().bytes -= line.len();
            self.changed.notify_all();
        }
    }

    /// The next line to be written, when there is one.
    fn next(&self) -> Vec<u8> {
        let mut state = self.state();
        loop {
            if let Some(line) = state.lines.pop_front() {
                return line;
            }
            if state.dropped > 0 {
                let notice = format!("{} log lines were dropped, since nobody read them\n", state.dropped);
                state.bytes += notice.len();
                state.dropped = 0;
                return notice.into_bytes();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_until_written(&self) {
        let has_lines = |state: &mut State| state.bytes > 0;
        drop(self.changed.wait_timeout_while(self.state(), WRITE_WITHIN, has_lines));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to the lines that are to be written, each with one call.
#[derive(Clone)]
struct Adds(Arc<Lines>);

impl Write for Adds {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Adds {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Blocks at every line until it is let go.
    struct Pipe(mpsc::Receiver<()>, mpsc::Sender<String>);

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        const LINE_BYTES: usize = 1 << 10;
        let lines = Arc::<Lines>::default();
        let (let_go, gate) = mpsc::channel();
        let (written, output) = mpsc::channel();
        let to_write = Arc::clone(&lines);
        thread::spawn(move || to_write.write_to(Pipe(gate, written)));
        let line = [b'x'; LINE_BYTES];
        for _ in 0..KEPT_BYTES / LINE_BYTES + 3 {
            lines.add(&line);
        }
        assert!(lines.state().bytes <= KEPT_BYTES);
        lines.wait_until_written(); // in vain
        drop(let_go);
        let written: Vec<String> = (0..=KEPT_BYTES / LINE_BYTES).filter_map(|_| output.recv().ok()).collect();
        assert_eq!(
            written.last().map(String::as_str),
            Some("3 log lines were dropped, since nobody read them\n")
        );
        lines.wait_until_written();
        assert_eq!(lines.state().bytes, 0);
        lines.add(b"and on\n");
        assert_eq!(output.recv().as_deref(), Ok("and on\n"));
    }
}
