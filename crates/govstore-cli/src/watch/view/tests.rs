use std::error::Error;

use govstore::{AgentOrder, Judgement, ProcessInfo, Store, Update, Verdict};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event as Input, KeyCode};
use ratatui::style::{Color, Modifier};

use super::*;
use crate::visible::acts;
use crate::watch::query::Query;
use crate::watch::reader::Answer;
use crate::watch::snapshot::urgency;

type TestResult = Result<(), Box<dyn Error>>;

const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "\u{202e}evil\u{2066}",
    "שלום עולם",
    "👩\u{200d}🚀👩\u{200d}🚀👩\u{200d}🚀",
    "❤\u{fe0f} heart",
    "e\u{301}a\u{302}z\u{337}\u{327}",
    "a\u{200b}b\u{ad}c\u{2060}d",
    "🇩🇪",
    "é",
];

struct Fleet {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Fleet {
    fn new() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        Ok(Self { _folder: folder, store })
    }

    /// Agents with some updates each, the last of them the riskiest.
    fn of(agents: &[&str]) -> Result<Self, Box<dyn Error>> {
        let fleet = Self::new()?;
        let number = u32::try_from(agents.len())?;
        for (step, agent) in (1_u32..).zip(agents) {
            let complexity = f64::from(step) / f64::from(number);
            for _ in 0..3 {
                fleet.store.process_update(agent, &Update::new().complexity(complexity))?;
            }
        }
        Ok(fleet)
    }

    fn state(&self, query: Query) -> Result<State, Box<dyn Error>> {
        let mut state = State::new(query);
        self.read(&mut state)?;
        Ok(state)
    }

    fn read(&self, state: &mut State) -> TestResult {
        let snapshot = Snapshot::read(&self.store, &state.query)?;
        state.take(Answer::Read(Box::new(snapshot)))?;
        Ok(())
    }
}

fn worst() -> Query {
    Query::new(AgentOrder::Worst, 100)
}

fn frame(state: &State, width: u16, height: u16, colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    let now = state.snapshot.as_ref().map_or_else(Timestamp::now, |snapshot| snapshot.read_at);
    terminal.draw(|frame| draw(frame, state, now, Palette { colour })).expect("a frame").buffer.clone()
}

/// The lines of a frame, without blanks at their ends.
fn lines(state: &State, width: u16, height: u16) -> Vec<String> {
    let buffer = frame(state, width, height, false);
    (0..height).map(|y| line(&buffer, y).trim_end().to_owned()).collect()
}

fn line(buffer: &Buffer, y: u16) -> String {
    (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect()
}

fn press(state: &mut State, keys: &[KeyCode]) {
    for key in keys {
        state.input(&Input::Key((*key).into()));
    }
}

#[test]
fn a_large_terminal_has_all_of_it() -> TestResult {
    let fleet = Fleet::of(&["calm", "middling", "daring"])?;
    fleet.store.pause("calm", Some("for now"))?;
    let lines = lines(&fleet.state(worst())?, 120, 30);
    assert!(lines[0].starts_with("fleet critical   "), "{lines:#?}");
    assert!(lines[0].contains("governance.db  ") && lines[0].ends_with(" UTC"), "{lines:#?}");
    assert!(
        lines[1].starts_with("3 agents, worst first  ") && lines[1].ends_with("2 active, 1 paused"),
        "{lines:#?}"
    );
    let titles: Vec<_> = lines[2].split_whitespace().collect();
    assert_eq!(titles, ["AGENT", "STATUS", "HEALTH", "RISK", "COHERENCE", "UPDATES", "LAST"]);
    let agents: Vec<Vec<_>> = lines[3..6].iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(agents[0][..4], ["daring", "active", "critical", "30.36%"]);
    assert_eq!(agents[2][..4], ["calm", "paused", "healthy", "10.36%"]);
    assert_eq!(agents[0][4..8], ["▃▃▃", "1.0000", "███", "3"]);
    let bar = |title: &str| lines.iter().position(|line| line.trim_start().starts_with(title));
    let (processes, events) = (bar("PROCESS").ok_or("processes")?, bar("AGO").ok_or("events")?);
    assert_eq!(lines[processes + 1], "  no processes are registered");
    assert!(lines[events + 1].contains("paused               calm"), "{lines:#?}");
    assert!(lines[events + 1].ends_with("for now") && lines[29].starts_with("q quit  ? help"), "{lines:#?}");
    assert!(bar("LOCKED").is_none(), "a table of locks without any has no place");
    Ok(())
}

#[test]
fn the_selected_agent_has_what_its_risk_is_made_of() -> TestResult {
    let fleet = Fleet::of(&["calm", "daring"])?;
    let mut state = fleet.state(worst())?;
    press(&mut state, &[KeyCode::Down]);
    let lines = lines(&state, 130, 20);
    let about = "daring: critical: risk 30.4 % is 30 % or more; most of it complexity, 30.0 %; revise: risk 30.4 % is from 30 % up, below 70 %";
    assert!(lines.iter().any(|line| line.trim() == about), "{lines:#?}");
    Ok(())
}

#[test]
fn lines_that_the_agents_do_not_need_are_for_the_others() -> TestResult {
    let fleet = Fleet::of(&["writer"])?;
    for _ in 0..10 {
        fleet.store.pause("writer", None)?;
        fleet.store.resume("writer")?;
    }
    let state = fleet.state(worst())?;
    let lines = lines(&state, 100, 40);
    let events = lines.iter().filter(|line| line.contains("paused") || line.contains("resumed")).count();
    assert_eq!(events, 20, "{lines:#?}");
    let many: Vec<String> = (0..100).map(|number| format!("agent-{number}")).collect();
    let fleet = Fleet::of(&many.iter().map(String::as_str).collect::<Vec<_>>())?;
    let state = fleet.state(worst())?;
    for height in 16..60 {
        let lines = self::lines(&state, 100, height);
        assert!(!lines[..lines.len() - 2].iter().any(String::is_empty), "{lines:#?}");
    }
    Ok(())
}

#[test]
fn an_empty_database_says_so() -> TestResult {
    let lines = lines(&Fleet::new()?.state(worst())?, 80, 24);
    for word in [
        "no agents in service",
        "0 agents",
        "no agents yet",
        "no processes are registered",
        "nothing has happened yet",
    ] {
        assert!(lines.iter().any(|line| line.contains(word)), "{word}: {lines:#?}");
    }
    Ok(())
}

#[test]
fn before_the_first_read_there_is_a_frame_too() {
    let lines = lines(&State::new(worst()), 80, 24);
    assert_eq!((lines[0].as_str(), &lines[23][..6]), ("reading …", "q quit"));
}

#[test]
fn stranger_names_move_no_column_and_do_nothing() -> TestResult {
    let (long, wide) = ("x".repeat(128), "測".repeat(128));
    let names: Vec<&str> = HOSTILE.into_iter().chain([long.as_str(), wide.as_str()]).collect();
    let fleet = Fleet::of(&names)?;
    for name in &names {
        fleet.store.pause(name, Some("\u{1b}[2J\n\u{9b}31m\r\u{202e}"))?;
    }
    let mut state = fleet.state(worst())?;
    press(&mut state, &[KeyCode::Down]);
    for (width, height, least) in [(120, 40, names.len()), (80, 24, 5), (61, 30, 5), (40, 20, names.len())] {
        let buffer = frame(&state, width, height, true);
        let column = |title: &str| {
            let bar = line(&buffer, 2);
            bar.find(title).map(|at| u16::try_from(bar[..at].chars().count()).expect("a column"))
        };
        let at = column("STATUS").ok_or("a bar")?;
        let rows = (3..height).take_while(|y| line(&buffer, *y).contains("paused")).count();
        assert!(rows >= least, "{rows} at {width} × {height}");
        for y in (3..).take(rows) {
            let word: String = (at..at + 6).map(|x| buffer[(x, y)].symbol()).collect();
            assert_eq!(word, "paused", "{}", line(&buffer, y));
            assert_eq!(buffer[(at - 1, y)].symbol(), " ", "{}", line(&buffer, y));
        }
        let acting = buffer.content.iter().find(|cell| cell.symbol().chars().any(acts));
        assert_eq!(acting, None);
    }
    let shown = lines(&state, 120, 40).join("\n");
    assert!(shown.contains(r"\u{1b}[2J\n\u{9b}31m\r\u{202e}") && shown.contains(r"\u{202e}evil"), "{shown}");
    Ok(())
}

#[test]
fn no_size_is_too_small() -> TestResult {
    let names: Vec<String> = (0..30).map(|number| format!("測試{number}")).collect();
    let fleet = Fleet::of(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut state = fleet.state(worst())?;
    press(&mut state, &[KeyCode::End]);
    for mode in [Mode::Keys, Mode::Typing, Mode::Help] {
        state.mode = mode;
        for table in Table::ALL {
            state.focus = table;
            let widths = [0, 1, 2, 3, 4, 7, 11, 19, 28];
            for (width, height) in
                widths.into_iter().flat_map(|width| (0..13).map(move |height| (width, height)))
            {
                frame(&state, width, height, true);
            }
            for size in [(1, 200), (200, 1), (300, 100)] {
                frame(&state, size.0, size.1, true);
            }
        }
    }
    // And on a small one the selected agent is in sight.
    state.focus = Table::Agents;
    state.mode = Mode::Keys;
    for (width, height) in [(40, 12), (20, 5), (20, 3)] {
        let lines = lines(&state, width, height);
        assert!(lines.iter().any(|line| line.starts_with("› 測")), "{lines:#?}");
    }
    Ok(())
}

#[test]
fn the_first_of_many_are_listed_as_such() -> TestResult {
    let fleet = Fleet::of(&["a", "b", "c", "writer-1", "writer-2"])?;
    fleet.store.pause("writer-1", None)?;
    let mut state = fleet.state(Query::new(AgentOrder::Worst, 2))?;
    let listed = |state: &State| {
        let lines = lines(state, 100, 30);
        let names = lines[3..].iter().map_while(|line| line.split_whitespace().next());
        (
            lines[1].split("  ").next().unwrap_or_default().to_owned(),
            names.take(2).map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        listed(&state),
        ("first 2 of 5 agents, worst first".to_owned(), vec!["writer-2".into(), "writer-1".into()])
    );

    press(&mut state, &[KeyCode::Char('S')]);
    assert_eq!(listed(&state).0, "first 2 of 5 agents, by id …", "what is shown was read before");
    fleet.read(&mut state)?;
    assert_eq!(listed(&state), ("first 2 of 5 agents, by id".to_owned(), vec!["a".into(), "b".into()]));

    press(&mut state, &[KeyCode::Char('l'), KeyCode::Char('l')]);
    fleet.read(&mut state)?;
    let (head, names) = listed(&state);
    assert_eq!((head.as_str(), names[0].as_str()), ("1 agent, by id, only paused", "writer-1"));

    press(&mut state, &"lll/WRIT".chars().map(KeyCode::Char).collect::<Vec<_>>());
    fleet.read(&mut state)?;
    assert_eq!(
        listed(&state),
        ("2 agents, by id, find: WRIT▏".to_owned(), vec!["writer-1".into(), "writer-2".into()])
    );
    press(&mut state, &[KeyCode::Enter]);
    assert_eq!(listed(&state).0, "2 agents, by id, found by “WRIT”");
    press(&mut state, &"/x".chars().map(KeyCode::Char).collect::<Vec<_>>());
    fleet.read(&mut state)?;
    assert!(lines(&state, 100, 30)[3].contains("no such agents"));
    Ok(())
}

#[test]
fn colours_are_extra() -> TestResult {
    let fleet = Fleet::of(&["calm", "daring"])?;
    let mut state = fleet.state(worst())?;
    press(&mut state, &[KeyCode::Down]);
    let (coloured, plain) = (frame(&state, 120, 30, true), frame(&state, 120, 30, false));
    assert!(plain.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    assert!(coloured.content.iter().any(|cell| cell.fg == Color::Red));
    for y in 0..30 {
        assert_eq!(line(&coloured, y), line(&plain, y));
    }
    // The selected row is marked in two ways.
    assert_eq!(plain[(0, 3)].symbol(), "›");
    assert!(plain[(50, 3)].modifier.contains(Modifier::REVERSED));
    Ok(())
}

#[test]
fn what_is_in_the_way_is_said_and_old_figures_are_called_old() -> TestResult {
    let fleet = Fleet::of(&["writer"])?;
    let mut state = fleet.state(worst())?;
    state.stuck = Some("the database stayed locked for 2.0 s: PID 7 holds its write lock".to_owned());
    assert_eq!(lines(&state, 120, 24)[22], format!("not read: {}", state.stuck.clone().unwrap_or_default()));

    // In full, where that needs the place of the keys.
    let narrow = lines(&state, 60, 24);
    assert_eq!(narrow[22..].join(" "), format!("not read: {}", state.stuck.clone().unwrap_or_default()));

    let snapshot = state.snapshot.as_ref().ok_or("a snapshot")?;
    let later = Timestamp::from(snapshot.read_at.to_utc() + std::time::Duration::from_secs(17));
    let mut terminal = Terminal::new(TestBackend::new(120, 24))?;
    terminal.draw(|frame| draw(frame, &state, later, Palette { colour: false }))?;
    assert!(line(terminal.backend().buffer(), 0).trim_end().ends_with("UTC, 17 s ago"));

    // A notice has its place even where there is but one line.
    press(&mut state, &[KeyCode::Char('p')]);
    assert_eq!(lines(&state, 40, 5)[4], "select an agent with ↓ first");
    Ok(())
}

/// A fleet of one server, this process, whose judgement is taken for those of many.
fn many_processes(state: &mut State, fleet: &Fleet, change: impl Fn(u32, &mut Judgement)) -> TestResult {
    let registration = fleet.store.register(ProcessInfo::new("server", "1"))?;
    let judgement = fleet.store.reap_plan()?.judgements.pop().ok_or("a process")?;
    drop(registration);
    let snapshot = state.snapshot.as_mut().ok_or("a snapshot")?;
    snapshot.processes = (1..=20)
        .map(|pid| {
            let mut judgement = judgement.clone();
            judgement.process.pid = pid;
            judgement.process.process_id = pid.into();
            change(pid, &mut judgement);
            judgement
        })
        .collect();
    snapshot.processes.sort_by_key(urgency);
    Ok(())
}

#[test]
fn who_is_not_well_comes_first_and_what_is_cut_off_is_counted() -> TestResult {
    let fleet = Fleet::of(&["writer"])?;
    let mut state = fleet.state(worst())?;
    many_processes(&mut state, &fleet, |pid, judgement| match pid {
        5 => judgement.verdict = Verdict::Unverifiable,
        12 => {
            judgement.verdict = Verdict::Suspect;
            judgement.process.client_name = Some("ed\u{1b}".to_owned());
            judgement.process.client_version = Some("2".to_owned());
        }
        20 => judgement.stopped = true,
        _ => {}
    })?;
    let shown = lines(&state, 100, 24);
    let bar = shown.iter().position(|line| line.trim_start().starts_with("PROCESS")).ok_or("processes")?;
    let rows: Vec<Vec<&str>> =
        shown[bar + 1..].iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][1..5], [r"ed\u{1b}", "2", "suspect", "12"], "{shown:#?}");
    assert_eq!(rows[1][1..5], ["–", "alive,", "stopped", "20"], "{shown:#?}");
    assert_eq!(rows[2][1..4], ["–", "unverifiable", "5"], "{shown:#?}");
    let more = rows.iter().position(|row| row.starts_with(&["…", "and"])).ok_or("a word about the others")?;
    assert_eq!(rows[more][2..], [(20 - more).to_string().as_str(), "more"], "{shown:#?}");
    assert!(more >= 3, "{shown:#?}");

    state.focus = Table::Processes;
    press(&mut state, &[KeyCode::Down, KeyCode::Down]);
    assert!(lines(&state, 100, 24)[22].contains("is alive, stopped; `kill -CONT 20` wakes it"), "{shown:#?}");
    Ok(())
}

#[test]
fn what_the_reaper_did_is_an_event() -> TestResult {
    let fleet = Fleet::of(&["writer"])?;
    rusqlite::Connection::open(fleet.store.path())?.execute_batch(
        "INSERT INTO reap_events (recorded_at, process_id, name, version, pid, boot_id, start_ticks, verdict, evidence,
           signals, outcome, reaper_pid)
         VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '1 second'), 7, 'editor', '1', 4711, 'boot', 7, 'stale',
           'its heartbeat is old', 'TERM CONT KILL', 'killed', 99)",
    )?;
    let mut state = fleet.state(worst())?;
    let shown = lines(&state, 100, 30);
    let bar = shown.iter().position(|line| line.trim_start().starts_with("AGO")).ok_or("events")?;
    let newest: Vec<&str> = shown[bar + 1].split_whitespace().collect();
    assert_eq!(newest[2..6], ["killed", "PID", "4711", "editor"], "{shown:#?}");
    assert!(shown[bar + 1].ends_with("its heartbeat is old"), "{shown:#?}");
    state.focus = Table::Events;
    press(&mut state, &[KeyCode::Down]);
    let about = &lines(&state, 120, 30)[28];
    assert!(
        about.ends_with("PID 4711 (editor) was stale, and killed by PID 99: its heartbeat is old"),
        "{about}"
    );
    Ok(())
}
