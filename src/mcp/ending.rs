//! What ends a server: its client hung up, its parent is gone, a signal, a reaper's claim, the loss of its database, a
//! commit in doubt.

use std::fmt;
use std::io;

use super::membership::MustEnd;
use super::parent::Parent;
use super::stdio::Hangup;

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// stdin or stdout is closed.
    ClientGone,
    /// The process that started this one is gone, though stdin may still be open elsewhere.
    ParentGone,
    /// SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// A reaper has claimed this process, and may be about to signal it.
    Claimed,
    /// The database was moved, deleted or replaced. Calls would be refused from here on; the server that the client
    /// starts next opens what is there then.
    Displaced,
    /// A commit is in doubt. Calls that write would be refused from here on; the server that the client starts next
    /// opens the database again.
    InDoubt,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientGone => "the client is gone",
            Self::ParentGone => "the parent process is gone",
            Self::Signal => "a signal says so",
            Self::Claimed => "a reaper has claimed this server",
            Self::Displaced => "the database is not where it was",
            Self::InDoubt => "a commit is in doubt",
        })
    }
}

/// Resolves when the server should end. Signals are caught from the moment of the call on.
pub fn ending(hangup: Hangup, parent: Parent, must_end: MustEnd) -> io::Result<impl Future<Output = Reason>> {
    let parent_gone = parent.watch()?;
    let signal = signal()?;
    Ok(async move {
        tokio::select! {
            () = hangup.wait() => Reason::ClientGone,
            () = parent_gone => Reason::ParentGone,
            () = signal => Reason::Signal,
            reason = must_end.wait() => reason,
        }
    })
}

/// Resolves when a signal asks this process to end.
#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Resolves when a signal asks this process to end.
#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await; // no signals here; the other reasons remain
        }
    })
}
