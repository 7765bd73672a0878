//! What whoever waits for the server is told: it is a thread of this process.

use std::sync::mpsc::Sender;

/// Where it is told.
#[derive(Debug)]
pub struct Control(pub Sender<End>);

/// What makes a server end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its input has come to its end: it may end by itself now, and has to in a while.
    InputOver,
    /// It is to end now.
    Now,
}

/// As a keeper would be told.
pub use End as ToKeeper;

impl Control {
    /// Tells it. It may be gone, and then there is nobody to be told.
    pub fn tell(&self, what: End) {
        let _ = self.0.send(what);
    }
}
