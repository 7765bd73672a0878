//! This server's place in the registry while it serves.
//!
//! Beats come from a task of the runtime that answers the client, so that a server that hangs stops beating.
//! The registration goes from hand to hand and is nobody's twice: a beat under way at the end is waited for,
//! and then the row is ended. A beat may find that there is no use in going on, and then the server ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::ending::Reason;
use crate::error::{Error, Result};
use crate::process::{Beat, Registration};

/// A registered server's heartbeat, until it leaves the registry.
pub struct Membership {
    task: JoinHandle<Result<()>>,
    leave: oneshot::Sender<()>,
}

/// Resolves when a beat has found that the server must end.
pub struct MustEnd(oneshot::Receiver<Reason>);

impl MustEnd {
    pub async fn wait(self) -> Reason {
        match self.0.await {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await, // it left, and had no reason to say so
        }
    }
}

impl Membership {
    /// Beats from now on, and whenever `used` is notified.
    pub fn begin(registration: Registration, used: Arc<Notify>) -> Result<(Self, MustEnd)> {
        let (leave, told_to_leave) = oneshot::channel();
        let (end, must_end) = oneshot::channel();
        let first = registration.heartbeat_interval()?; // registering was a beat, too
        let task = tokio::spawn(live(registration, first, used, told_to_leave, end));
        Ok((Self { task, leave }, MustEnd(must_end)))
    }

    /// Returns when the row is ended, or when that has failed.
    ///
    /// # Errors
    ///
    /// [`Error::Displaced`]: the server has lost its database.
    pub async fn leave(self) -> Result<()> {
        let _ = self.leave.send(()); // a task that is gone has left
        self.task.await.unwrap_or(Ok(()))
    }
}

async fn live(
    mut registration: Registration,
    mut wait: Duration,
    used: Arc<Notify>,
    mut told_to_leave: oneshot::Receiver<()>,
    end: oneshot::Sender<Reason>,
) -> Result<()> {
    loop {
        let activity = tokio::select! {
            () = sleep(wait) => false,
            () = used.notified() => true,
            _ = &mut told_to_leave => break,
        };
        let beaten = spawn_blocking(move || {
            let outcome = beat(&registration, activity);
            (registration, outcome)
        });
        let Ok((returned, outcome)) = beaten.await else { return Ok(()) }; // it panicked, and took the row with it
        registration = returned;
        wait = match outcome {
            Ok((Beat::Alive, interval)) => interval,
            Ok((Beat::Superseded, interval)) => {
                tracing::warn!("this server's row in the registry was gone; it has registered again");
                interval
            }
            Ok((Beat::Terminating, _)) => {
                let _ = end.send(Reason::Claimed); // a server that ends already needs no telling
                let _ = told_to_leave.await;
                break;
            }
            Err(error @ Error::Displaced { .. }) => {
                let _ = end.send(Reason::Displaced);
                let _ = told_to_leave.await;
                return Err(error); // there is no row to be ended
            }
            Err(error) => {
                tracing::warn!(%error, "no heartbeat");
                RETRY_AFTER
            }
        };
    }
    match spawn_blocking(move || registration.deregister()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "this server's row stays in the registry until it is reaped");
        }
        Err(error) => tracing::error!(%error, "cannot leave the registry"),
    }
    Ok(())
}

/// When to beat again after a beat that failed, as of a busy or a full database. Short of any interval that is
/// sensible.
const RETRY_AFTER: Duration = Duration::from_secs(2);

fn beat(registration: &Registration, activity: bool) -> Result<(Beat, Duration)> {
    let beat = if activity { registration.record_activity()? } else { registration.beat()? };
    Ok((beat, registration.heartbeat_interval()?))
}
