//! Signals as bytes in a socket, so that a poll wakes up for them.

use std::io;
use std::os::unix::net::UnixStream;

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
