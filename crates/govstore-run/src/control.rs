//! What front and keeper say to each other, over a socket that each has one end of. Its end is the other's end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};

use crate::status::ServerStatus;

/// Longest message, in bytes.
const LONGEST: usize = 1_024;

/// One end of the socket.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// What the front tells the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToKeeper {
    /// The server's input has come to its end: it may end by itself now, and has to in a while.
    InputOver,
    /// The server is to end now.
    EndNow,
}

/// What the keeper tells the front.
#[derive(Debug)]
pub enum ToFront {
    /// The server was started with this PID; these are its input and its output.
    Started { pid: i32, input: OwnedFd, output: OwnedFd },
    /// It can't be started, because of this.
    Failed(String),
    /// Nothing is left of it.
    Ended(ServerStatus),
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Control {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<Control> for OwnedFd {
    fn from(control: Control) -> Self {
        control.0
    }
}

/// Both ends. Messages keep their bounds, and no child inherits them by accident.
pub fn pair() -> io::Result<(Control, Control)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Control(one), Control(other)))
}

impl Control {
    /// Tells the keeper. It may be gone, and then there is nobody to be told.
    pub fn tell(&self, what: ToKeeper) {
        let word: &[u8] = match what {
            ToKeeper::InputOver => b"input over",
            ToKeeper::EndNow => b"end now",
        };
        let _ = send(&self.0, word, SendFlags::NOSIGNAL);
    }

    /// The front's next word; `None` once the front is gone.
    pub fn receive(&self) -> rustix::io::Result<Option<ToKeeper>> {
        let mut word = [0; LONGEST];
        let (length, _) = patiently(|| recv(&self.0, &mut word[..], RecvFlags::empty()))?;
        Ok(match &word[..length] {
            b"" => None,
            b"end now" => Some(ToKeeper::EndNow),
            _ => Some(ToKeeper::InputOver),
        })
    }

    /// Tells the front. It may be gone, and then there is nobody to be told.
    pub fn report(&self, what: ToFront) {
        let _ = match what {
            ToFront::Started { pid, input, output } => {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                let descriptors = [input.as_fd(), output.as_fd()];
                ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
                let word = format!("started {pid}");
                sendmsg(&self.0, &[IoSlice::new(word.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)
            }
            ToFront::Failed(reason) => {
                let reason: String = reason.chars().take(LONGEST / 8).collect();
                send(&self.0, format!("failed {reason}").as_bytes(), SendFlags::NOSIGNAL)
            }
            ToFront::Ended(status) => {
                let word = match status {
                    ServerStatus::Exited(code) => format!("exited {code}"),
                    ServerStatus::Signaled(signal) => format!("signaled {signal}"),
                    ServerStatus::Unknown => "unknown".to_owned(),
                };
                send(&self.0, word.as_bytes(), SendFlags::NOSIGNAL)
            }
        };
    }

    /// The keeper's next word; `None` once it is gone.
    pub fn listen(&self) -> io::Result<Option<ToFront>> {
        let mut bytes = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = patiently(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        let length = received.bytes;
        if length == 0 {
            return Ok(None);
        }
        let mut descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        });
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let number = || rest.parse().map_err(io::Error::other);
        Ok(Some(match word {
            "started" => {
                let (Some(input), Some(output)) = (descriptors.next(), descriptors.next()) else {
                    return Err(io::Error::other("the server's pipes did not come along"));
                };
                ToFront::Started { pid: number()?, input, output }
            }
            "exited" => ToFront::Ended(ServerStatus::Exited(number()?)),
            "signaled" => ToFront::Ended(ServerStatus::Signaled(number()?)),
            "failed" => ToFront::Failed(rest.to_owned()),
            _ => ToFront::Ended(ServerStatus::Unknown),
        }))
    }
}

/// Receives again where that was interrupted. A peer that ended with something of ours unread is reported first, and what it
/// has said before that can be received all the same.
fn patiently<T>(mut receive: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match receive() {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            received => return received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_one_that_did_not_listen_are_heard() -> io::Result<()> {
        let (front, keeper) = pair()?;
        front.tell(ToKeeper::InputOver);
        keeper.report(ToFront::Ended(ServerStatus::Exited(3)));
        drop(keeper); // with a word unread
        let heard = front.listen()?;
        assert!(matches!(heard, Some(ToFront::Ended(ServerStatus::Exited(3)))), "{heard:?}");
        assert!(front.listen()?.is_none());
        Ok(())
    }
}
