//! The terminal, taken for a while and given back as it was, whatever happens.
//!
//! What is shown goes to a descriptor of our own, a frame at a time and under a lock. So a panic of any thread can
//! give the terminal back in that thread's panic hook, before the panic is told of, and no part of a frame comes
//! after that.

use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::prelude::CrosstermBackend;
use ratatui::{Frame, Terminal};

/// The terminal while it is taken. A process has one.
static TAKEN: Mutex<Option<File>> = Mutex::new(None);

/// The terminal, in raw mode and on its alternate screen, until this drops.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Frames>>,
}

impl Screen {
    /// Takes the terminal that standard output is.
    pub fn take() -> io::Result<Self> {
        let mut file = standard_output()?;
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back(); // nothing, from when the screen has dropped on
            earlier(panic);
        }));
        enable_raw_mode()?;
        // A paste comes as a whole, and not as keys that pause agents.
        let entered = execute!(file, EnterAlternateScreen, EnableBracketedPaste, Hide);
        *taken() = Some(file);
        let screen = entered
            .and_then(|()| Ok(Self { terminal: Terminal::new(CrosstermBackend::new(Frames::default()))? }));
        if screen.is_err() {
            give_back();
        }
        screen
    }

    /// Shows a frame. An error where the terminal is gone, or was given back because a thread panicked.
    pub fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if taken().is_none() {
            return Err(io::Error::other("a thread has panicked"));
        }
        self.terminal.draw(frame).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Puts the terminal back as it was, once.
fn give_back() {
    if let Some(mut file) = taken().take() {
        // Without a terminal there is nothing to give back.
        let _ = execute!(file, Show, DisableBracketedPaste, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn taken() -> MutexGuard<'static, Option<File>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames, each of which is written at once.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Write for Frames {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0.write(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = taken().as_mut().map_or(Ok(()), |file| file.write_all(&self.0));
        self.0.clear();
        written
    }
}

/// A descriptor of our own for standard output, whose lock this program holds for as long as it runs.
#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// As above.
#[cfg(windows)]
fn standard_output() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(io::stdout().as_handle().try_clone_to_owned()?.into())
}

#[cfg(all(test, unix))]
mod tests {
    use std::env;
    use std::process::{Command, Stdio};
    use std::thread;

    use super::*;

    /// What a test of this file does on a terminal of its own: the whole of what appears there.
    fn on_a_terminal(test: &str) -> Option<String> {
        let this = env::current_exe().expect("the test program");
        let line = format!(
            "stty cols 80 rows 24; before=$(stty -g); \"$TESTS\" --exact watch::screen::tests::{test} --ignored --nocapture; \
             echo \"exit $?\"; test \"$(stty -g)\" = \"$before\" && echo as before"
        );
        let output = Command::new("script")
            .args(["-qefc", &line, "/dev/null"])
            .env("TESTS", this)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: there is no `script` here to make a terminal");
            return None;
        };
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where each of these is in a text, one after the other.
    #[track_caller]
    fn in_order(text: &str, parts: &[&str]) {
        let mut rest = text;
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or too early: {text:?}"));
            rest = &rest[at + part.len()..];
        }
    }

    const TAKEN: &str = "\u{1b}[?1049h";
    const GIVEN_BACK: &str = "\u{1b}[?1049l";
    const CURSOR: &str = "\u{1b}[?25h";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told_of() {
        let Some(shown) = on_a_terminal("panics_with_the_terminal") else { return };
        in_order(&shown, &[TAKEN, "shown", CURSOR, GIVEN_BACK, "while drawing", "exit 101", "as before"]);
        assert_eq!(shown.matches(GIVEN_BACK).count(), 1, "{shown:?}");
    }

    #[test]
    fn a_panic_of_another_thread_does_so_too_and_no_frame_follows() {
        let Some(shown) = on_a_terminal("panics_beside_the_terminal") else { return };
        in_order(&shown, &[TAKEN, "shown", CURSOR, GIVEN_BACK, "in another thread", "exit 0", "as before"]);
        assert!(!shown.contains("late"), "{shown:?}");
    }

    #[test]
    #[ignore = "run by another test, on a terminal"]
    fn panics_with_the_terminal() {
        let mut screen = Screen::take().expect("a terminal");
        screen.draw(|frame| frame.render_widget("shown", frame.area())).expect("a frame");
        let _ = screen.draw(|_| panic!("while drawing"));
    }

    #[test]
    #[ignore = "run by another test, on a terminal"]
    fn panics_beside_the_terminal() {
        let mut screen = Screen::take().expect("a terminal");
        screen.draw(|frame| frame.render_widget("shown", frame.area())).expect("a frame");
        let panicked = thread::spawn(|| panic!("in another thread")).join();
        assert!(panicked.is_err());
        let drawn = screen.draw(|frame| frame.render_widget("late", frame.area()));
        assert!(drawn.is_err());
    }
}
