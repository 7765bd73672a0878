//! Signals that end the view: they come as events, so that the terminal is given back first.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Event;

/// Sends an event for the first of them. The next one ends the process there and then: the view may be writing to a
/// terminal that takes nothing.
pub fn forward(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::Builder::new().name("govstore-watch-signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        if let Some(first) = signals.next() {
            let _ = events.send(Event::Signal(first)); // nobody waits for it if the view is at its end anyway
        }
        signals.for_each(die_of);
    })?;
    Ok(())
}

/// Ends the process as the signal would have.
pub fn die_of(signal: i32) {
    let _ = emulate_default_handler(signal);
}
