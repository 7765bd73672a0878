//! Ctrl-Z: a command stops between two transactions.
//!
//! These commands are not registered, so no reaper would wake one that was stopped while it holds the write lock.

use std::fs;
use std::sync::mpsc;
use std::thread;

use govstore::pause_writes;
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGTTOU};
use signal_hook::iterator::Signals;
use signal_hook::low_level::raise;

/// From here on SIGTSTP stops this process as soon as it holds no lock. Where that can't be had, for want of a thread
/// or of descriptors, SIGTSTP does what it does to any program.
pub fn between_transactions() {
    if is_ignored() {
        return; // whoever started this process wants it so
    }
    // The thread first: once the signals are caught, somebody must be there to obey them.
    let (hand_over, handed_over) = mpsc::channel();
    let started = thread::Builder::new().name("govstore-suspend".to_owned()).spawn(move || {
        if let Ok(signals) = handed_over.recv() {
            obey(signals);
        }
    });
    if started.is_ok()
        && let Ok(signals) = Signals::new([SIGTSTP, SIGCONT])
    {
        let _ = hand_over.send(signals); // the thread waits for it
    }
}

fn obey(mut signals: Signals) {
    loop {
        let stop = signals.wait().any(|signal| signal == SIGTSTP);
        if !stop {
            continue;
        }
        let pause = pause_writes();
        if !signals.pending().any(|signal| signal == SIGCONT) {
            // Sent to this thread, so that it goes no further. Stops all of them as SIGTSTP would, and as with that
            // one nothing happens where nobody is there to wake the process.
            let _ = raise(SIGTTOU);
        }
        drop(pause);
    }
}

/// Whether this process was started with SIGTSTP ignored; `false` where the system doesn't tell.
fn is_ignored() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SIGTSTP - 1)) != 0)
}
