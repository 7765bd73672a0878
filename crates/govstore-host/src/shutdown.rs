//! What ends a server: its client hung up, its parent is gone, a signal, a reaper's claim, the loss of its database, a
//! commit in doubt.

use std::io;

use super::membership::MustEnd;
use super::parent::Parent;
use super::reason::Reason;

/// Resolves when the server should end. Signals are caught from the moment of the call on.
///
/// `client_gone` resolves when the transport has ended.
///
/// # Errors
///
/// The system's, where it refuses a thread or a signal handler.
pub fn shutdown(
    client_gone: impl Future<Output = ()>,
    parent: Parent,
    must_end: MustEnd,
) -> io::Result<impl Future<Output = Reason>> {
    let parent_gone = parent.watch()?;
    let signal = signal()?;
    Ok(async move {
        tokio::select! {
            () = client_gone => Reason::ClientGone,
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
