//! Named places in the code where a test can have this process killed, as by `kill -9`, or stopped.
//!
//! A process that is killed at a random instant nearly always dies between two transactions or in the middle of
//! one. The instants that matter most, such as the one between a reaper's claim and its signal, last microseconds
//! and would hardly ever be hit. So the code names them, and `tests/crash_storm` asks for them:
//! `GOVSTORE_CRASH_AT="after the commit:3"` kills a process when it gets there for the third time. Likewise
//! `GOVSTORE_STOP_AT` stops it there, as by `kill -STOP`, until somebody continues it; and `GOVSTORE_STAY_STOPPED_AT`
//! makes it stop again whenever it is continued there.
//!
//! A build without debug assertions, such as an installed program, has none of this: the calls are empty there,
//! and the variables mean nothing.

#[cfg(debug_assertions)]
pub(crate) use armed::reach;

/// Nothing at all.
#[cfg(not(debug_assertions))]
pub(crate) const fn reach(_name: &str) {}

#[cfg(debug_assertions)]
mod armed {
    use std::env;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// What a variable makes of a process that gets where it says.
    const VARIABLES: [(&str, fn()); 3] =
        [("GOVSTORE_CRASH_AT", die), ("GOVSTORE_STOP_AT", stop), ("GOVSTORE_STAY_STOPPED_AT", stay_stopped)];

    /// Where something is to happen to this process.
    struct Armed {
        name: String,
        /// At which time that it gets there, counted down.
        time: AtomicI64,
        happens: fn(),
    }

    /// This process is at the place that is called so, and may be killed or stopped here.
    pub(crate) fn reach(name: &str) {
        static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| {
            let set =
                VARIABLES.iter().filter_map(|(variable, happens)| Some((env::var(variable).ok()?, *happens)));
            set.filter_map(|(text, happens)| parse(&text, happens)).collect()
        });
        for armed in armed.iter().filter(|armed| armed.name == name) {
            if armed.time.fetch_sub(1, Ordering::Relaxed) == 1 {
                (armed.happens)();
            }
        }
    }

    /// `NAME` or `NAME:TIME`, the first time being 1.
    fn parse(text: &str, happens: fn()) -> Option<Armed> {
        let (name, time) = match text.rsplit_once(':') {
            Some((name, time)) => (name, time.parse().ok()?),
            None => (text, 1),
        };
        Some(Armed { name: name.to_owned(), time: AtomicI64::new(time), happens })
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
    fn stay_stopped() {
        loop {
            stop();
        }
    }

    /// Stops this process until somebody continues it.
    #[cfg(unix)]
    fn stop() {
        use std::thread;
        use std::time::Duration;

        use rustix::process::{Signal, getpid, kill_process};

        let _ = kill_process(getpid(), Signal::STOP);
        // The signal stops every thread, though this one perhaps a moment later.
        thread::sleep(Duration::from_millis(20));
    }

    #[cfg(not(unix))]
    fn stop() {}
}
