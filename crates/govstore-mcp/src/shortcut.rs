//! Writes a line at once where that can't make anybody wait, which spares the answer the way through another thread.

use std::fs::File;
use std::io::Write;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

/// The longest line that is written so. A pipe that can be written to takes as much without waiting (`PIPE_BUF` in
/// `pipe(7)`), and so does a socket.
const LONGEST: usize = if cfg!(target_os = "linux") { 4_096 } else { 512 };

/// An output that may be written to at once; a terminal or a file isn't one.
pub struct Shortcut(File);

impl Shortcut {
    /// `None` if the output is neither a pipe nor a socket.
    pub fn to(output: &File) -> Option<Self> {
        let kind = FileType::from_raw_mode(fstat(output).ok()?.st_mode);
        let output = output.try_clone().ok().filter(|_| matches!(kind, FileType::Fifo | FileType::Socket))?;
        Some(Self(output))
    }

    /// Writes what can be written without waiting, and says how much that was. What is wrong with the output is for the
    /// one to find who writes the rest.
    pub fn write(&self, line: &[u8]) -> usize {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.0, PollFlags::OUT)];
        let may_write = line.len() <= LONGEST
            && poll(&mut fds, Some(&at_once)).is_ok()
            && fds[0].revents() == PollFlags::OUT;
        if may_write { (&self.0).write(line).unwrap_or_default() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn what_would_have_to_wait_is_left_to_others() -> io::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        let writer = File::from(OwnedFd::from(writer));
        let shortcut = Shortcut::to(&writer).expect("a pipe");
        let line = [b'x'; LONGEST];
        let mut written = 0;
        while shortcut.write(&line) == LONGEST {
            written += LONGEST;
            assert!(written < 100 << 20, "a pipe has an end");
        }
        assert!(written > 0);
        assert_eq!(shortcut.write(b"\n"), 0, "it returns though nobody reads");
        let mut read = vec![0; written];
        reader.read_exact(&mut read)?;
        assert_eq!(shortcut.write(b"\n"), 1);
        assert_eq!(shortcut.write(&[b'x'; LONGEST + 1]), 0, "so much might wait");
        drop(reader);
        assert_eq!(shortcut.write(b"\n"), 0, "and so much fails");
        Ok(())
    }

    #[test]
    fn a_file_and_a_terminal_are_left_to_others() -> io::Result<()> {
        assert!(Shortcut::to(&tempfile::tempfile()?).is_none());
        assert!(Shortcut::to(&File::options().write(true).open("/dev/null")?).is_none());
        Ok(())
    }
}
