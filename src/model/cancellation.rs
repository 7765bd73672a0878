//! Calling off a call that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one thread calls off the calls of another with. Clones are the same cancellation.
///
/// [`Store::cancelled_by`](crate::Store::cancelled_by) has an example.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// One that has called nothing off yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls off what is still waiting, for good. Returns at once; the call that waits returns a moment later.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether [`Cancellation::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
