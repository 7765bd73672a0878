use std::error::Error as AnyError;

use govstore::{AgentOrder, Store, Update};

use super::*;

type TestResult = Result<(), Box<dyn AnyError>>;

struct Watched {
    _folder: tempfile::TempDir,
    store: Store,
    state: State,
}

impl Watched {
    /// A view of agents with these complexities, from which their risk follows.
    fn new(agents: &[(&str, f64)]) -> Result<Self, Box<dyn AnyError>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        let state = State::new(Query::new(AgentOrder::Risk, 3));
        let mut watched = Self { _folder: folder, store, state };
        watched.update(agents)?;
        Ok(watched)
    }

    fn update(&mut self, agents: &[(&str, f64)]) -> TestResult {
        for (agent, complexity) in agents {
            self.store.process_update(agent, &Update::new().complexity(*complexity))?;
        }
        self.read()
    }

    fn read(&mut self) -> TestResult {
        let snapshot = Snapshot::read(&self.store, &self.state.query)?;
        self.state.take(Answer::Read(Box::new(snapshot)))?;
        Ok(())
    }

    fn press(&mut self, key: KeyCode) -> Change {
        self.state.input(&Input::Key(key.into()))
    }

    fn keys(&mut self, keys: &str) -> Change {
        keys.chars().map(|key| self.press(KeyCode::Char(key))).last().expect("a key")
    }

    fn notice(&self) -> &str {
        self.state.notice.as_ref().map_or("", |notice| &notice.text)
    }
}

fn pause(agent: &str) -> Change {
    Change::Ask(Request::Pause(agent.to_owned()))
}

#[test]
fn the_selection_follows_its_agent() -> TestResult {
    let mut watched = Watched::new(&[("a", 0.9), ("b", 0.5), ("c", 0.1)])?;
    watched.keys("jj");
    assert_eq!(watched.state.position(Table::Agents), Some(1));
    watched.update(&[("b", 1.0)])?;
    assert_eq!(watched.state.position(Table::Agents), Some(0));
    assert_eq!(watched.keys("p"), pause("b"));
    assert_eq!(watched.notice(), "pausing b …");
    Ok(())
}

#[test]
fn what_is_out_of_sight_is_not_paused_and_nor_is_its_neighbour() -> TestResult {
    let mut watched = Watched::new(&[("a", 0.9), ("b", 0.5), ("c", 0.1)])?;
    assert_eq!(watched.keys("p"), Change::Redraw);
    assert_eq!(watched.notice(), "select an agent with ↓ first");
    watched.press(KeyCode::End);
    watched.update(&[("d", 0.7)])?; // three are listed
    assert_eq!(watched.notice(), "c is no longer among those shown");
    assert_eq!(watched.keys("p"), Change::Redraw);
    watched.keys("j");
    assert_eq!(watched.keys("p"), pause("a"));
    watched.press(KeyCode::Esc);
    assert_eq!(watched.keys("p"), Change::Redraw);
    watched.keys("jj");
    watched.press(KeyCode::Tab);
    assert_eq!(watched.keys("p"), Change::Redraw);
    assert_eq!(watched.notice(), "go to the agents with Tab first");
    Ok(())
}

#[test]
fn answers_and_refusals_are_told() -> TestResult {
    let mut watched = Watched::new(&[("writer", 0.5)])?;
    let paused = watched.store.pause("writer", None)?;
    watched.state.take(Answer::Acted(Ok(Box::new(paused))))?;
    assert_eq!(watched.notice(), "writer is paused: updates are refused until it is resumed (r)");
    let refusal = watched.store.pause("writer", None).expect_err("it is paused already");
    watched.state.take(Answer::Acted(Err(refusal)))?;
    assert_eq!(watched.notice(), "agent \"writer\" is paused: it cannot be paused");
    assert!(watched.state.notice.as_ref().is_some_and(|notice| notice.bad));
    watched.keys("j");
    assert_eq!(watched.notice(), "", "until the next key");

    // Somebody is in the way: it is told, and the view goes on until that is over.
    let busy = Error::LockTimeout { waited: std::time::Duration::from_secs(2), holder: None };
    watched.state.take(Answer::NotRead(busy.into()))?;
    assert!(watched.state.stuck.as_ref().is_some_and(|stuck| stuck.contains("stayed locked for 2.0 s")));
    watched.read()?;
    assert_eq!(watched.state.stuck, None);
    let gone = Error::Displaced { path: watched.store.path().to_owned() };
    assert!(watched.state.take(Answer::NotRead(gone.into())).is_err());
    Ok(())
}

#[test]
fn typed_keys_are_text() -> TestResult {
    let mut watched = Watched::new(&[("a", 0.5)])?;
    watched.keys("j/");
    assert!(matches!(watched.keys("qpr?"), Change::Ask(Request::Show(query)) if query.text == "qpr?"));
    watched.state.input(&Input::Paste("x\u{1b}[2J\ny".to_owned()));
    assert_eq!(watched.state.query.text, "qpr?x[2Jy");
    watched.press(KeyCode::Backspace);
    watched.press(KeyCode::Enter);
    assert_eq!((watched.state.mode, watched.state.query.text.as_str()), (Mode::Keys, "qpr?x[2J"));
    watched.keys("/");
    watched.state.input(&Input::Paste("é".repeat(500)));
    assert_eq!(watched.state.query.text.chars().count(), 128);
    watched.press(KeyCode::Esc);
    assert_eq!((watched.state.mode, watched.state.query.text.as_str()), (Mode::Keys, ""));
    // A paste is no row of keys.
    assert_eq!(watched.state.input(&Input::Paste("jpq".to_owned())), Change::Redraw);
    assert_eq!(watched.keys("q"), Change::Quit);
    Ok(())
}

#[test]
fn ctrl_c_quits_always_and_no_other_key_does_anything_by_accident() -> TestResult {
    let mut watched = Watched::new(&[("a", 0.5)])?;
    let ctrl_c = Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    for key in ["", "/", "?"] {
        watched.state.mode = Mode::Keys;
        key.chars().for_each(|key| drop(watched.press(KeyCode::Char(key))));
        assert_eq!(watched.state.input(&ctrl_c), Change::Quit, "{key}");
    }
    watched.state.mode = Mode::Help;
    assert_eq!(watched.keys("p"), Change::Redraw, "it closes the help, and does nothing else");
    watched.keys("j");
    let with_alt = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::ALT);
    assert_eq!(watched.state.input(&Input::Key(with_alt)), Change::Redraw);
    let released = KeyEvent::new_with_kind(KeyCode::Char('p'), KeyModifiers::NONE, KeyEventKind::Release);
    assert_eq!(watched.state.input(&Input::Key(released)), Change::Redraw);
    Ok(())
}

#[test]
fn tab_goes_round_the_tables_that_are_shown() -> TestResult {
    let mut watched = Watched::new(&[("a", 0.5)])?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        watched.press(KeyCode::Tab);
        seen.push(watched.state.focus);
    }
    assert_eq!(seen, [Table::Processes, Table::Events, Table::Agents], "nobody has a lock");
    watched.press(KeyCode::BackTab);
    assert_eq!(watched.state.focus, Table::Events);
    watched.keys("jk");
    assert_eq!(watched.state.position(Table::Events), Some(0));
    watched.press(KeyCode::BackTab);
    watched.keys("j"); // a table without rows
    assert_eq!(watched.state.position(Table::Processes), None);
    Ok(())
}
