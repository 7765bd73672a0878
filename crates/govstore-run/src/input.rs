//! The server's input: of the one that runs, and of nobody while it is started again.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::control::{Control, ToKeeper};
use crate::mutex::lock;

/// Where the client's words go.
#[derive(Debug, Default)]
pub struct Input {
    /// Whether a server that is gone is started again.
    comes_back: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    Open(Arc<File>, Arc<Control>),
    /// The server is being started.
    #[default]
    Away,
    /// It has come to its end.
    Over,
}

impl Input {
    /// There is no server yet.
    pub fn new(comes_back: bool) -> Self {
        Self { comes_back, ..Self::default() }
    }

    /// A server runs, and this is its input. If the client's words have come to their end meanwhile, so does this.
    pub fn open(&self, file: File, control: &Arc<Control>) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Over) {
            drop(file);
            control.tell(ToKeeper::InputOver);
            return;
        }
        *state = State::Open(Arc::new(file), Arc::clone(control));
        drop(state);
        self.changed.notify_all();
    }

    /// Writes all of it, once there is a server.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        let file = loop {
            match &*state {
                State::Open(file, _) => break Arc::clone(file),
                State::Away => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                State::Over => return Err(ErrorKind::BrokenPipe.into()),
            }
        };
        drop(state);
        let written = (&*file).write_all(bytes);
        if written.is_err() && self.comes_back {
            let mut state = lock(&self.state);
            if matches!(&*state, State::Open(open, _) if Arc::ptr_eq(open, &file)) {
                *state = State::Away;
            }
        }
        written
    }

    /// The server is gone, and is started again.
    pub fn lose(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Open(..)) {
            *state = State::Away;
        }
    }

    /// The client says no more, or nobody hears it any more.
    pub fn end(&self, is_told: bool) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Over);
        self.changed.notify_all();
        if let State::Open(file, control) = before {
            drop(file);
            if is_told {
                control.tell(ToKeeper::InputOver);
            }
        }
    }
}
