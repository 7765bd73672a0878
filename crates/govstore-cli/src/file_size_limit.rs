//! A limit on the size of files (`ulimit -f`): the system ends a process that passes it, in the middle of whatever it
//! does. With a handler in place the write fails instead, and the process can say so.

#[cfg(unix)]
pub fn outlive() {
    use std::sync::Arc;

    // Where there can be no handler the signal does what it did.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

#[cfg(not(unix))]
pub fn outlive() {}
