//! Places: so many calls run at once, and none begins whose result would only wait to be read.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::outbox::Outbox;

/// Threads that calls run on, each with a connection when it needs one.
pub const CALLS_AT_ONCE: u32 = 8;

/// The places of one server.
pub struct Places {
    free: Semaphore,
    outbox: Arc<Outbox>,
}

/// A call's place, until it is dropped.
pub type Place<'p> = SemaphorePermit<'p>;

impl Places {
    pub fn new(outbox: Arc<Outbox>) -> Self {
        Self { free: Semaphore::new(CALLS_AT_ONCE as usize), outbox }
    }

    /// Waits for a place, and until the client has read enough of what there is. The first to wait gets it first.
    pub async fn wait(&self) -> Place<'_> {
        let place = self.free.acquire().await.expect("places are never closed");
        self.outbox.room().await;
        place
    }
}
