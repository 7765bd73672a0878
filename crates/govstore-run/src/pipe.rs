//! The server's pipes, and the client's: no buffer between, and nothing that is lost.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

/// Reads once: what is there, or waits for it. 0: its end.
pub fn read(mut from: &File, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Windows: nobody writes any more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
            read => return read,
        }
    }
}

/// As [`read`], for one who probably doesn't have to wait for long.
///
/// A processor with nothing to do sleeps, and takes 15 µs or more to wake up: longer than quick servers take to answer, and
/// clients to ask again. So what comes within a moment is waited for awake. Where nothing comes, nobody is.
pub fn read_soon(from: &File, into: &mut [u8]) -> io::Result<usize> {
    #[cfg(all(target_os = "linux", not(govstore_portable)))]
    client::is_there_soon(&mut [crate::wake::readable(std::os::fd::AsFd::as_fd(from))]);
    read(from, into)
}

/// The client's end, which this process has as its standard streams.
#[cfg(all(target_os = "linux", not(govstore_portable)))]
pub mod client {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::stdio;

    use crate::wake::readable;

    /// How long the next bytes are waited for awake.
    const AWAKE: Duration = Duration::from_micros(50);

    /// Whether there is something to be read, at once or within a moment. Whoever else has something to do goes first.
    pub fn is_there_soon(fds: &mut [PollFd<'_>]) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut began = None;
        loop {
            match poll(fds, Some(&at_once)) {
                Ok(1..) => return true,
                Ok(0) if began.get_or_insert_with(Instant::now).elapsed() < AWAKE => thread::yield_now(),
                _ => return false,
            }
        }
    }

    /// Can be read once the client's words are to be taken as at their end.
    pub type Stop = UnixStream;

    /// Reads once. 0: the client's end, or that of this process has come.
    pub fn read(into: &mut [u8], stop: Option<&Stop>) -> io::Result<usize> {
        let client = stdio::stdin();
        let mut fds = [readable(client), readable(stop.map_or(client, AsFd::as_fd))];
        let fds = &mut fds[..=usize::from(stop.is_some())];
        loop {
            if !is_there_soon(fds) {
                match poll(fds, None) {
                    Ok(_) => {}
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if fds.get(1).is_some_and(|stop| !stop.revents().is_empty()) {
                return Ok(0);
            }
            match rustix::io::read(client, &mut *into) {
                Ok(length) => return Ok(length),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return Ok(0), // a client that resets its end is gone
            }
        }
    }

    /// Writes all of it. The client decides how fast.
    pub fn write(bytes: &[u8]) -> io::Result<()> {
        write_all(stdio::stdout(), bytes)
    }

    /// Likewise, to people.
    pub fn write_error(bytes: &[u8]) -> io::Result<()> {
        write_all(stdio::stderr(), bytes)
    }

    /// Nobody listens to the client any more, and it is told.
    pub fn close_input() {
        if let Ok(null) = null() {
            let _ = stdio::dup2_stdin(&null);
        }
    }

    /// Nothing is said to the client any more, and it is told.
    pub fn close_output() {
        if let Ok(null) = null() {
            let _ = stdio::dup2_stdout(&null);
        }
    }

    fn null() -> io::Result<File> {
        File::options().read(true).write(true).open("/dev/null")
    }

    fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(to, bytes) {
                Ok(length) => bytes = &bytes[length..],
                // Whoever gave us this pipe doesn't want to wait for it; this thread does.
                Err(Errno::AGAIN) => drop(poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The client's end, where a standard stream can be neither watched nor closed.
#[cfg(any(not(target_os = "linux"), govstore_portable))]
pub mod client {
    use std::io::{self, ErrorKind, Read, Write};

    /// Nothing ends the client's words but the client.
    #[derive(Debug)]
    pub struct Stop;

    /// Reads once. 0: the client's end.
    pub fn read(into: &mut [u8], _stop: Option<&Stop>) -> io::Result<usize> {
        loop {
            match io::stdin().lock().read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(0), // a client that resets its end is gone
                read => return read,
            }
        }
    }

    /// Writes all of it. The client decides how fast.
    pub fn write(bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Likewise, to people.
    pub fn write_error(bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }

    /// It closes with this process.
    pub const fn close_input() {}

    /// It closes with this process.
    pub const fn close_output() {}
}
