//! Sentences on standard error, which nobody may be reading: no sentence is worth a server that doesn't end.

#[cfg(all(target_os = "linux", not(govstore_portable)))]
pub fn say(sentence: &str) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// How much can be written to a pipe that has room without waiting for its reader, in bytes (`pipe(7)`).
    const LONGEST: usize = 4_096;

    /// For how long there may be no room.
    const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

    let line = format!("govstore run: {sentence}\n");
    let mut room = [PollFd::from_borrowed_fd(rustix::stdio::stderr(), PollFlags::OUT)];
    if line.len() <= LONGEST && poll(&mut room, Some(&PATIENCE)).is_ok_and(|ready| ready > 0) {
        let _ = crate::pipe::client::write_error(line.as_bytes());
    }
}

#[cfg(any(not(target_os = "linux"), govstore_portable))]
pub fn say(sentence: &str) {
    let _ = crate::pipe::client::write_error(format!("govstore run: {sentence}\n").as_bytes());
}
