//! Named places in the code where a test can have this process killed, as by `kill -9`.
//!
//! A process that is killed at a random instant nearly always dies between two transactions or in the middle of
//! one. The instants that matter most, such as the one between a reaper's claim and its signal, last microseconds
//! and would hardly ever be hit. So the code names them, and `tests/crash_storm` asks for them:
//! `GOVSTORE_CRASH_AT="after the commit:3"` kills a process when it gets there for the third time.
//!
//! A build without debug assertions, such as an installed program, has none of this: the calls are empty there,
//! and the variable means nothing.

#[cfg(debug_assertions)]
pub(crate) use armed::reach;

/// Nothing at all.
#[cfg(not(debug_assertions))]
pub(crate) const fn reach(_name: &str) {}

#[cfg(debug_assertions)]
mod armed {
    use std::env;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    const VARIABLE: &str = "GOVSTORE_CRASH_AT";

    /// Where this process is to die.
    struct Armed {
        name: String,
        /// How many times it may still get there and live.
        spared: AtomicU32,
    }

    /// This process is at the place that is called so, and may be killed here.
    pub(crate) fn reach(name: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| env::var(VARIABLE).ok().as_deref().and_then(parse));
        let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else { return };
        let is_due = armed
            .spared
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_err();
        if is_due {
            die();
        }
    }

    /// `NAME` or `NAME:TIME`, the first time being 1.
    fn parse(text: &str) -> Option<Armed> {
        let (name, time) = match text.rsplit_once(':') {
            Some((name, time)) => (name, time.parse().ok()?),
            None => (text, 1_u32),
        };
        Some(Armed { name: name.to_owned(), spared: AtomicU32::new(time.checked_sub(1)?) })
    }

    /// Ends this process without another instruction of its own: nothing is flushed, closed or rolled back.
    #[cfg(unix)]
    fn die() {
        use rustix::process::{Signal, getpid, kill_process};

        if kill_process(getpid(), Signal::KILL).is_err() {
            std::process::abort();
        }
        loop {
            std::thread::park(); // the signal ends every thread before this call returns, or just after
        }
    }

    #[cfg(not(unix))]
    fn die() {
        std::process::abort();
    }
}
