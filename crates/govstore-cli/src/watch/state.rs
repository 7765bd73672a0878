//! What the view remembers between two frames, and what a key changes about it.

use govstore::{Agent, Error, Lifecycle};
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::Failure;
use super::query::Query;
use super::reader::{Answer, Request};
use super::snapshot::{Snapshot, Table};
use super::visible::visible;
use crate::hint::Hinted;

/// Rows that a page key moves by.
const PAGE: usize = 10;

/// What keys do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each does what the help says.
    Keys,
    /// They are typed into the query's text.
    Typing,
    /// The help is shown; any of them closes it.
    Help,
}

/// One line for whoever watches: what a key did, or what is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    /// Whether something did not go as it was asked.
    pub bad: bool,
}

/// What is to be done beyond the view.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing but a new frame.
    Redraw,
    /// The reader's part.
    Ask(Request),
    /// The end.
    Quit,
}

pub struct State {
    /// What is wanted; the snapshot says what it shows.
    pub query: Query,
    pub snapshot: Option<Snapshot>,
    pub focus: Table,
    pub mode: Mode,
    pub notice: Option<Notice>,
    /// Why the last read failed, if it did.
    pub stuck: Option<String>,
    /// The selected row of each table, by its key: it is followed wherever it moves.
    selected: [Option<String>; Table::ALL.len()],
}

impl State {
    pub fn new(query: Query) -> Self {
        Self {
            query,
            snapshot: None,
            focus: Table::Agents,
            mode: Mode::Keys,
            notice: None,
            stuck: None,
            selected: Default::default(),
        }
    }

    /// The selected row of a table, where it is now.
    pub fn position(&self, table: Table) -> Option<usize> {
        let (snapshot, key) = (self.snapshot.as_ref()?, self.selected[table as usize].as_ref()?);
        (0..snapshot.len(table)).find(|row| snapshot.key(table, *row).as_ref() == Some(key))
    }

    /// Takes what the reader says. An error ends the view.
    pub fn take(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Read(snapshot) => self.show(*snapshot),
            Answer::Acted(Ok(agent)) => self.notice = Some(done(&agent)),
            Answer::Acted(Err(refusal)) => self.notice = Some(refused(&refusal)),
            Answer::NotRead(Failure::Store(error)) if error.is_busy() => {
                self.stuck = Some(visible(&Hinted(&error).to_string()).into_owned());
            }
            Answer::NotRead(failure) => return Err(failure),
        }
        Ok(())
    }

    fn show(&mut self, snapshot: Snapshot) {
        let same_query = self.snapshot.as_ref().is_some_and(|before| before.query == snapshot.query);
        self.snapshot = Some(snapshot);
        self.stuck = None;
        for table in Table::ALL {
            if self.position(table).is_some() {
                continue;
            }
            // Never let the selection fall to a neighbour, which the next key would then pause.
            if let Some(gone) = self.selected[table as usize].take()
                && table == Table::Agents
                && same_query
            {
                let text = format!("{} is no longer among those shown", visible(&gone));
                self.notice = Some(Notice { text, bad: false });
            }
        }
        if self.is_hidden(self.focus) {
            self.focus = Table::Agents;
        }
    }

    /// Takes what the terminal says.
    pub fn input(&mut self, input: &Input) -> Change {
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.press(*key),
            Input::Paste(text) if self.mode == Mode::Typing => {
                self.type_in(text);
                Change::Ask(Request::Show(self.query.clone()))
            }
            _ => Change::Redraw,
        }
    }

    fn press(&mut self, key: KeyEvent) -> Change {
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            let is_ctrl_c = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
            return if is_ctrl_c { Change::Quit } else { Change::Redraw };
        }
        self.notice = None;
        match self.mode {
            Mode::Keys => self.command(key.code),
            Mode::Typing => self.edit(key.code),
            Mode::Help if key.code == KeyCode::Char('q') => Change::Quit,
            Mode::Help => {
                self.mode = Mode::Keys;
                Change::Redraw
            }
        }
    }

    fn command(&mut self, key: KeyCode) -> Change {
        match key {
            KeyCode::Char('q') => return Change::Quit,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Typing,
            KeyCode::Esc => self.selected[self.focus as usize] = None,
            KeyCode::Tab => self.turn_focus(1),
            KeyCode::BackTab => self.turn_focus(Table::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.select(|row, _| row.map_or(0, |row| row + 1)),
            KeyCode::Up | KeyCode::Char('k') => self.select(|row, _| row.unwrap_or(0).saturating_sub(1)),
            KeyCode::PageDown => self.select(|row, _| row.unwrap_or(0) + PAGE),
            KeyCode::PageUp => self.select(|row, _| row.unwrap_or(0).saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.select(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.select(|_, last| last),
            KeyCode::Char('p') => return self.act(Request::Pause, "pausing"),
            KeyCode::Char('r') => return self.act(Request::Resume, "resuming"),
            KeyCode::Char('s') => return self.ask(|query| query.turn_order(false)),
            KeyCode::Char('S') => return self.ask(|query| query.turn_order(true)),
            KeyCode::Char('h') => return self.ask(Query::turn_health),
            KeyCode::Char('l') => return self.ask(Query::turn_lifecycle),
            _ => {}
        }
        Change::Redraw
    }

    fn edit(&mut self, key: KeyCode) -> Change {
        match key {
            KeyCode::Enter | KeyCode::Tab => {
                self.mode = Mode::Keys;
                Change::Redraw
            }
            KeyCode::Esc => {
                self.mode = Mode::Keys;
                self.ask(|query| query.text.clear())
            }
            KeyCode::Backspace => self.ask(|query| {
                query.text.pop();
            }),
            KeyCode::Char(c) => {
                self.type_in(c.encode_utf8(&mut [0; 4]));
                Change::Ask(Request::Show(self.query.clone()))
            }
            _ => Change::Redraw,
        }
    }

    /// An id has neither control characters nor more than 128 characters; a text to find one needs no more.
    fn type_in(&mut self, text: &str) {
        let room = 128_usize.saturating_sub(self.query.text.chars().count());
        self.query.text.extend(text.chars().filter(|c| !c.is_control()).take(room));
    }

    fn ask(&mut self, change: impl FnOnce(&mut Query)) -> Change {
        change(&mut self.query);
        Change::Ask(Request::Show(self.query.clone()))
    }

    /// Pauses or resumes the selected agent.
    fn act(&mut self, request: fn(String) -> Request, doing: &str) -> Change {
        let missing = if self.focus == Table::Agents {
            "select an agent with ↓ first"
        } else {
            "go to the agents with Tab first"
        };
        let position = self.position(Table::Agents).filter(|_| self.focus == Table::Agents);
        let agent = position.and_then(|row| self.snapshot.as_ref()?.key(Table::Agents, row));
        let Some(agent) = agent else {
            self.notice = Some(Notice { text: missing.to_owned(), bad: true });
            return Change::Redraw;
        };
        self.notice = Some(Notice { text: format!("{doing} {} …", visible(&agent)), bad: false });
        Change::Ask(request(agent))
    }

    /// Selects a row of the table in focus, given the one that is selected and the last one.
    fn select(&mut self, choose: impl FnOnce(Option<usize>, usize) -> usize) {
        let Some(snapshot) = &self.snapshot else { return };
        let Some(last) = snapshot.len(self.focus).checked_sub(1) else { return };
        let row = choose(self.position(self.focus), last).min(last);
        self.selected[self.focus as usize] = snapshot.key(self.focus, row);
    }

    /// Moves the focus this many tables on, past those that are not shown.
    fn turn_focus(&mut self, step: usize) {
        loop {
            self.focus = Table::ALL[(self.focus as usize + step) % Table::ALL.len()];
            if !self.is_hidden(self.focus) {
                return;
            }
        }
    }

    /// A table of locks without any has no place.
    pub fn is_hidden(&self, table: Table) -> bool {
        table == Table::Locks && self.snapshot.as_ref().is_none_or(|snapshot| snapshot.locks.is_empty())
    }
}

fn done(agent: &Agent) -> Notice {
    let is_now = match agent.lifecycle_status {
        Lifecycle::Paused => "is paused: updates are refused until it is resumed (r)",
        _ => "is active again",
    };
    Notice { text: format!("{} {is_now}", visible(&agent.agent_id)), bad: false }
}

fn refused(refusal: &Error) -> Notice {
    Notice { text: visible(&Hinted(refusal).to_string()).into_owned(), bad: true }
}

#[cfg(test)]
mod tests;
