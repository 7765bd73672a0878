//! The live view: the fleet on a terminal, read once a second.
//!
//! [`reader`] has the database and a thread of its own; what it reads is a [`snapshot`] of plain data for one
//! [`query`]. [`state`] is what the view remembers, and what a key changes about it; [`view`] makes a frame of it,
//! with [`tables`] laid out by [`grid`]; both are pure. [`screen`] takes the terminal, and gives it back whatever
//! happens. [`watch`] waits for keys, answers and signals in one place, and shows a frame after each.

mod grid;
mod palette;
mod query;
mod reader;
mod screen;
#[cfg(unix)]
mod signals;
mod snapshot;
mod state;
mod tables;
mod view;

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use govstore::{Store, Timestamp};
use ratatui::crossterm::event as terminal;

use super::command::agents;
use super::{Exit, Failure, figures, paint, sparkline, timeline, visible};
use palette::Palette;
pub use query::Query;
use reader::{Answer, Reader};
use screen::Screen;
use state::{Change, State};

/// Without anything new there is a frame this often, since figures grow old.
const FRAME_EVERY: Duration = Duration::from_secs(1);

/// What the view waits for.
enum Event {
    /// A key, a paste, another size; or the terminal has none to give any more.
    Input(io::Result<terminal::Event>),
    /// From the reader.
    Answer(Answer),
    /// The number of a signal that ends processes.
    #[cfg(unix)]
    Signal(i32),
}

/// How the view ended, where nothing went wrong.
enum Ended {
    ByKey,
    #[cfg(unix)]
    BySignal(i32),
}

/// Shows the fleet on standard output, which is a terminal, until a key or a signal ends it.
pub fn watch(store: Store, query: Query, colour: bool) -> Result<Exit, Failure> {
    let (events, inbox) = mpsc::channel();
    let ended = {
        let screen = Screen::take()?;
        #[cfg(unix)]
        signals::forward(events.clone())?;
        forward_input(events.clone())?;
        let reader = Reader::start(&store, query.clone(), events)?;
        let ended = show(screen, State::new(query), &reader, &inbox, Palette { colour });
        reader.end();
        ended?
    };
    drop(store); // closed as any command closes it, before a signal ends the process
    match ended {
        Ended::ByKey => Ok(Exit::DONE),
        #[cfg(unix)]
        Ended::BySignal(signal) => {
            signals::die_of(signal);
            Ok(Exit::FAILED) // not reached: each of them ends a process
        }
    }
}

/// Gives the screen back as soon as the end is known: the reader may have to wait for a lock.
fn show(
    mut screen: Screen,
    mut state: State,
    reader: &Reader,
    inbox: &mpsc::Receiver<Event>,
    palette: Palette,
) -> Result<Ended, Failure> {
    loop {
        screen.draw(|frame| view::draw(frame, &state, Timestamp::now(), palette))?;
        let mut next = match inbox.recv_timeout(FRAME_EVERY) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // All who send have panicked.
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("nothing comes any more").into());
            }
        };
        while let Some(event) = next {
            match event {
                Event::Input(input) => {
                    let input = input.map_err(|error| Failure::Input {
                        what: "the terminal".to_owned(),
                        reason: error.to_string(),
                    })?;
                    match state.input(&input) {
                        Change::Redraw => {}
                        Change::Ask(request) => reader.ask(request),
                        Change::Quit => return Ok(Ended::ByKey),
                    }
                }
                Event::Answer(answer) => state.take(answer)?,
                #[cfg(unix)]
                Event::Signal(signal) => return Ok(Ended::BySignal(signal)),
            }
            next = inbox.try_recv().ok(); // keys that were held down need no frame each
        }
    }
}

/// Sends an event for each input, from a thread that nobody waits for: on a terminal that has gone, crossterm reads
/// on and on.
fn forward_input(events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new().name("govstore-watch-input".to_owned()).spawn(move || {
        loop {
            let input = terminal::read();
            let is_last = input.is_err();
            if events.send(Event::Input(input)).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}
