//! What is to be written to the client, and who writes it.
//!
//! Nobody who has something to say waits here: what it adds up to holds back requests that were not begun (see
//! [`Outbox::room`]), so a client that reads nothing costs a few MiB and not what all its calls result in.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// With so much to be written, no request is begun.
const FULL_BYTES: usize = 4 << 20;

/// With so much, nothing at all is begun.
const STUFFED_BYTES: usize = 2 * FULL_BYTES;

/// Writes a line without waiting, as much of it as can be, and says how much that was.
pub type WriteAtOnce = Box<dyn Fn(&[u8]) -> usize + Send + Sync>;

/// Lines that are to be written.
pub struct Outbox {
    /// Where a line that nothing waits before may go at once, if it may.
    at_once: Option<WriteAtOnce>,
    state: Mutex<State>,
    /// The thread that writes waits for it, and one that complains.
    changed: Condvar,
    has_room: watch::Sender<bool>,
    /// Nothing more will be written.
    is_over: watch::Sender<bool>,
    /// A line was written.
    written: Notify,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines, with the one that is being written.
    bytes: usize,
    /// Nothing more is added.
    is_closed: bool,
    /// The client does not read any more.
    is_broken: bool,
}

impl Default for Outbox {
    fn default() -> Self {
        let (has_room, is_over) = (watch::Sender::new(true), watch::Sender::new(false));
        Self {
            at_once: None,
            state: Mutex::default(),
            changed: Condvar::new(),
            has_room,
            is_over,
            written: Notify::new(),
        }
    }
}

impl Outbox {
    /// One whose lines go at once where they can.
    pub fn new(at_once: Option<WriteAtOnce>) -> Self {
        Self { at_once, ..Self::default() }
    }

    /// Adds a message.
    pub fn push(&self, message: Vec<u8>) -> io::Result<()> {
        self.add(self.state(), message)
    }

    /// Adds a message that nobody is told about if the client doesn't read any more.
    pub fn push_or_drop(&self, message: Vec<u8>) {
        let _ = self.push(message); // the thread that writes has said why
    }

    /// Adds a message once there is room for it. For the thread that reads, which meanwhile reads no further.
    pub fn push_when_room(&self, message: Vec<u8>) {
        let mut state = self.state();
        while state.bytes >= STUFFED_BYTES && !state.is_over() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let _ = self.add(state, message); // as above
    }

    fn add(&self, mut state: MutexGuard<'_, State>, mut message: Vec<u8>) -> io::Result<()> {
        if state.is_over() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        message.push(b'\n');
        if state.bytes == 0
            && let Some(write_at_once) = &self.at_once
        {
            // Nobody writes now: what is being written counts until it is. Nor does anybody begin, without the state.
            let written = write_at_once(&message);
            if written == message.len() {
                drop(state);
                self.written.notify_one();
                return Ok(());
            }
            message.drain(..written);
        }
        state.bytes += message.len();
        state.lines.push_back(message);
        self.note_room(&state);
        drop(state); // else whoever wakes waits for it at once
        self.changed.notify_all();
        Ok(())
    }

    /// Whether a request may be begun.
    pub fn has_room(&self) -> bool {
        *self.has_room.borrow()
    }

    /// Returns when a request may be begun.
    pub async fn room(&self) {
        if !self.has_room() {
            let _ = self.has_room.subscribe().wait_for(|has_room| *has_room).await; // the sender is ours
        }
    }

    /// Whether there is no room even for the answer to a ping.
    pub fn is_stuffed(&self) -> bool {
        self.state().bytes >= STUFFED_BYTES
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.state().bytes == 0
    }

    /// Returns when one more line is written. For one who waits.
    pub async fn progress(&self) {
        self.written.notified().await;
    }

    /// Returns when nothing more will be written: all is, or the client doesn't read any more.
    pub async fn over(&self) {
        let _ = self.is_over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// Nothing more is added.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Writes until nothing more is added.
    pub fn write_to(&self, output: impl Write) -> io::Result<()> {
        let written = self.write_all_to(output);
        let mut state = self.state();
        state.is_broken = true;
        state.lines.clear();
        state.bytes = 0;
        self.note_room(&state);
        self.changed.notify_all();
        self.is_over.send_replace(true);
        written
    }

    fn write_all_to(&self, mut output: impl Write) -> io::Result<()> {
        while let Some(line) = self.next() {
            output.write_all(&line)?;
            let mut state = self.state();
            state.bytes -= line.len();
            self.note_room(&state);
            self.written.notify_one();
            if state.bytes + line.len() >= STUFFED_BYTES {
                self.changed.notify_all();
            }
        }
        output.flush()
    }

    /// The next line to be written, when there is one.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        loop {
            match state.lines.pop_front() {
                Some(line) => return Some(line),
                None if state.is_closed => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn note_room(&self, state: &State) {
        let room = state.bytes < FULL_BYTES;
        self.has_room.send_if_modified(|has_room| std::mem::replace(has_room, room) != room);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn is_over(&self) -> bool {
        self.is_closed || self.is_broken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    /// Takes a line each time that it is let, and fails when nobody lets it any more.
    struct Pipe(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.1.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn there_is_room_again_once_enough_is_read_and_all_is_written() -> io::Result<()> {
        let outbox = Arc::new(Outbox::default());
        let (read, reads) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (writer, pipe) = (Arc::clone(&outbox), Pipe(reads, Arc::clone(&written)));
        let writing = thread::spawn(move || writer.write_to(pipe));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        outbox.push(vec![b'a'; FULL_BYTES / 2])?;
        assert!(outbox.has_room());
        outbox.push(vec![b'b'; FULL_BYTES / 2])?;
        assert!(!outbox.has_room() && !outbox.is_stuffed() && !outbox.is_empty());
        read.send(()).expect("a writer");
        runtime.block_on(outbox.room());
        outbox.push(b"c".to_vec())?;
        outbox.close();
        assert!(outbox.push(b"d".to_vec()).is_err());
        for _ in 0..2 {
            read.send(()).expect("a writer");
        }
        runtime.block_on(outbox.over());
        writing.join().expect("no panic")?;
        assert!(outbox.is_empty());
        let written = written.lock().expect("no panic");
        assert_eq!(written.len(), FULL_BYTES + 4);
        assert!(written.ends_with(b"b\nc\n"));
        Ok(())
    }

    #[test]
    fn nobody_waits_for_a_client_that_is_gone() -> io::Result<()> {
        let outbox = Arc::new(Outbox::default());
        let (read, reads) = mpsc::channel();
        let (writer, pipe) = (Arc::clone(&outbox), Pipe(reads, Arc::default()));
        let writing = thread::spawn(move || writer.write_to(pipe));
        outbox.push(vec![b'a'; STUFFED_BYTES])?;
        let complaining = Arc::clone(&outbox);
        let complaint = thread::spawn(move || complaining.push_when_room(b"b".to_vec()));
        drop(read);
        complaint.join().expect("no panic");
        assert!(writing.join().expect("no panic").is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            outbox.room().await;
            outbox.over().await;
        });
        assert!(outbox.push(b"c".to_vec()).is_err());
        Ok(())
    }
}
