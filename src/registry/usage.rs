//! What a registered process costs.

use crate::liveness;
use crate::model::Process;
use crate::os::{self, Sighting, System, Usage};

impl Process {
    /// What this process uses now; `None` if it can't be told, or if its PID is no longer its own.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let native = os::native().ok()?;
        if !liveness::is_near(self, native.here()) {
            return None;
        }
        match native.look_at(self.pid) {
            Sighting::Present(seen) if !seen.exited && seen.start_ticks == self.start_ticks => {
                os::usage(self.pid)
            }
            _ => None,
        }
    }
}
