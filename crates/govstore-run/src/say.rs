//! Sentences on standard error, which nobody may be reading: no sentence is worth a server that doesn't end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::pipe::write_all;

/// How much can be written to a pipe that has room without waiting for its reader, in bytes (`pipe(7)`).
const LONGEST: usize = 4_096;

/// For how long there may be no room.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Writes a sentence, unless there is no room for it.
pub fn say(sentence: &str) {
    let error = rustix::stdio::stderr();
    let line = format!("govstore run: {sentence}\n");
    let mut room = [PollFd::from_borrowed_fd(error, PollFlags::OUT)];
    if line.len() <= LONGEST && poll(&mut room, Some(&PATIENCE)).is_ok_and(|ready| ready > 0) {
        let _ = write_all(error, line.as_bytes());
    }
}
