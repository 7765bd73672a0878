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

use govstore::{Beat, Error, Registration, Result};

use super::reason::Reason;

/// A registered server's heartbeat, until it leaves the registry.
pub struct Membership {
    task: JoinHandle<Result<()>>,
    leave: oneshot::Sender<()>,
}

/// Resolves when a beat has found that the server must end.
pub struct MustEnd(oneshot::Receiver<Reason>);

impl MustEnd {
    /// Returns why.
    pub async fn wait(self) -> Reason {
        match self.0.await {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await, // it left, and had no reason to say so
        }
    }
}

impl Membership {
    /// Beats from now on, and at once when `beat_now` is notified.
    pub fn begin(registration: Registration, beat_now: Arc<Notify>) -> Result<(Self, MustEnd)> {
        let (leave, told_to_leave) = oneshot::channel();
        let (end, must_end) = oneshot::channel();
        let first = registration.heartbeat_interval()?; // registering was a beat, too
        let task = tokio::spawn(live(registration, first, beat_now, told_to_leave, end));
        Ok((Self { task, leave }, MustEnd(must_end)))
    }

    /// Returns when the row is ended, or when that has failed.
    ///
    /// # Errors
    ///
    /// [`Error::Displaced`]: the server has lost its database. [`Error::CommitInDoubt`],
    /// [`Error::RefusedAfterDoubt`]: it may write no more.
    pub async fn leave(self) -> Result<()> {
        let _ = self.leave.send(()); // a task that is gone has left
        self.task.await.unwrap_or(Ok(()))
    }
}

async fn live(
    mut registration: Registration,
    interval: Duration,
    beat_now: Arc<Notify>,
    mut told_to_leave: oneshot::Receiver<()>,
    end: oneshot::Sender<Reason>,
) -> Result<()> {
    let (mut interval, mut wait) = (interval, interval);
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = beat_now.notified() => {}
            _ = &mut told_to_leave => break,
        }
        let beaten = spawn_blocking(move || {
            let outcome = beat(&registration);
            (registration, outcome)
        });
        let Ok((returned, outcome)) = beaten.await else { return Ok(()) }; // it panicked, and took the row with it
        registration = returned;
        wait = match outcome {
            Ok((Beat::Alive, next)) => {
                interval = next;
                next
            }
            Ok((Beat::Superseded, next)) => {
                tracing::warn!("this server's row in the registry was gone; it has registered again");
                interval = next;
                next
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
            Err(error @ (Error::CommitInDoubt { .. } | Error::RefusedAfterDoubt { .. })) => {
                let _ = end.send(Reason::InDoubt);
                let _ = told_to_leave.await;
                return Err(error); // the row can't be ended, and is found by a reaper
            }
            Err(error) => {
                tracing::warn!(%error, "no heartbeat");
                Registration::retry_after(interval)
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

fn beat(registration: &Registration) -> Result<(Beat, Duration)> {
    Ok((registration.beat()?, registration.heartbeat_interval()?))
}
