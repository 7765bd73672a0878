//! This server's place in the registry while it serves.
//!
//! Beats come from a task of the runtime that answers the client, so that a server that hangs stops beating.
//! The registration goes from hand to hand and is nobody's twice: a beat under way at the end is waited for,
//! and then the row is ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::error::Result;
use crate::process::{Beat, Registration};

/// A registered server's heartbeat, until it leaves the registry.
pub struct Membership {
    task: JoinHandle<()>,
    leave: oneshot::Sender<()>,
    claimed: Arc<Notify>,
}

/// A beat found that a reaper has claimed this server, which must end.
pub struct Claimed(Arc<Notify>);

impl Claimed {
    pub async fn wait(self) {
        self.0.notified().await;
    }
}

impl Membership {
    /// Beats from now on, and whenever `used` is notified.
    pub fn begin(registration: Registration, used: Arc<Notify>) -> Result<Self> {
        let (leave, told_to_leave) = oneshot::channel();
        let claimed = Arc::new(Notify::new());
        let first = registration.heartbeat_interval()?; // registering was a beat, too
        let task = tokio::spawn(live(registration, first, used, told_to_leave, Arc::clone(&claimed)));
        Ok(Self { task, leave, claimed })
    }

    pub fn claimed(&self) -> Claimed {
        Claimed(Arc::clone(&self.claimed))
    }

    /// Returns when the row is ended, or when that has failed.
    pub async fn leave(self) {
        let _ = self.leave.send(()); // a task that is gone has left
        let _ = self.task.await;
    }
}

async fn live(
    mut registration: Registration,
    mut wait: Duration,
    used: Arc<Notify>,
    mut told_to_leave: oneshot::Receiver<()>,
    claimed: Arc<Notify>,
) {
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
        let Ok((returned, outcome)) = beaten.await else { return }; // it panicked, and took the row with it
        registration = returned;
        wait = match outcome {
            Ok((Beat::Alive, interval)) => interval,
            Ok((Beat::Superseded, interval)) => {
                tracing::warn!("this server's row in the registry was gone; it has registered again");
                interval
            }
            Ok((Beat::Terminating, _)) => {
                claimed.notify_one();
                let _ = told_to_leave.await;
                break;
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
}

/// When to beat again after a beat that failed, as of a busy or a full database. Short of any interval that is
/// sensible.
const RETRY_AFTER: Duration = Duration::from_secs(2);

fn beat(registration: &Registration, activity: bool) -> Result<(Beat, Duration)> {
    let beat = if activity { registration.record_activity()? } else { registration.beat()? };
    Ok((beat, registration.heartbeat_interval()?))
}
