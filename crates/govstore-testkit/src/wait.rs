//! Waiting for what is sure to happen.

use std::thread;
use std::time::{Duration, Instant};

/// Patience for what is sure to happen: generous, for machines that are busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `done` says so.
///
/// # Panics
///
/// With what was waited for, when patience is over.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    wait_for(what, || done().then_some(()));
}

/// Looks again and again until there is something.
///
/// # Panics
///
/// With what was waited for, when patience is over.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
