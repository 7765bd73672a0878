//! Places: so many calls run at once, and none begins whose result would only wait to be read.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::outbox::Outbox;

/// The places of one server.
pub struct Places {
    free: Semaphore,
    outbox: Arc<Outbox>,
}

/// A call's place, until it is dropped.
pub type Place<'p> = SemaphorePermit<'p>;

impl Places {
    pub fn new(calls: usize, outbox: Arc<Outbox>) -> Self {
        Self { free: Semaphore::new(calls), outbox }
    }

    /// Waits for a place, and until the client has read enough of what there is. The first to wait gets it first.
    pub async fn wait(&self) -> Place<'_> {
        let place = self.free.acquire().await.expect("places are never closed");
        self.outbox.room().await;
        place
    }
}
