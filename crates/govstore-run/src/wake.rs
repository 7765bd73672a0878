//! What a process waits for: descriptors that can be read, and signals as bytes in a socket, which can be too.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Is readable after one of `signals` has come. From now on they do nothing else.
pub fn on_signals(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Reads whatever is there.
pub fn drain(mut woken: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(io::Read::read(&mut woken, &mut bytes), Ok(read) if read == bytes.len()) {}
}

/// Waits until one of these can be read, or until a moment. Says of each whether it can.
pub fn wait_for<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    until: Option<Instant>,
) -> rustix::io::Result<[bool; N]> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().flatten().map(|fd| readable(*fd)).collect();
    let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(other) => return Err(other),
    }
    let mut polled = polled.into_iter();
    Ok(fds.map(|fd| fd.is_some() && polled.next().is_some_and(|polled| !polled.revents().is_empty())))
}

/// For a poll that wakes up when there is something to be read, or its end.
pub fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

/// A moment more, so that a deadline has passed when the poll returns.
fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration + Duration::from_millis(1)).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 })
}
