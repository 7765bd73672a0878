//! `watch` on a terminal: what a key does, and how the terminal is left.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::support::Folder;
use super::terminal::terminal;
use govstore_testkit::wait_until;

const TAKEN: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";
const CURSOR_HIDDEN: &str = "\u{1b}[?25l";
const CURSOR_SHOWN: &str = "\u{1b}[?25h";

/// `govstore watch` on a terminal of 80 columns and 24 lines, with somebody who looks and types.
struct Watcher {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Watcher {
    /// Starts it, and waits until it shows this. The terminal's modes are printed before and after, and the exit
    /// code.
    fn start(folder: &Folder, awaited: &str) -> Option<Self> {
        let line = "stty -g; sh -c 'echo pid $$; exec $g watch'; echo code $?; stty -g";
        let mut command = terminal(folder, line)?;
        let mut script =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script worked a moment ago");
        let (keys, mut output) =
            (script.stdin.take().expect("a pipe"), script.stdout.take().expect("a pipe"));
        let shown = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&shown);
        thread::spawn(move || {
            let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = output.read(&mut part) {
                bytes.extend_from_slice(&part[..length]);
                *sink.lock().unwrap_or_else(PoisonError::into_inner) =
                    String::from_utf8_lossy(&bytes).into_owned();
            }
        });
        let watcher = Self { script, keys, shown };
        watcher.wait_for(awaited);
        Some(watcher)
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} on the terminal"), || self.shown().contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .and_then(|()| self.keys.flush())
            .expect("somebody reads the keys");
    }

    fn signal(&self, signal: Signal) {
        let shown = self.shown();
        let pid = shown.split("pid ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("the process said who it is");
        kill_process(pid, signal).expect("it lives");
    }

    /// Waits for the end, and checks that the terminal is as it was. What came after that, without the modes.
    #[track_caller]
    fn left_as_it_was(mut self, code: i32) -> String {
        self.wait_for(&format!("code {code}\r\n"));
        assert!(self.script.wait().expect("it ends").success());
        let mut shown = String::new();
        wait_until("the rest of the output", || {
            shown = self.shown();
            shown.lines().count() > 2 && shown.lines().next() == shown.lines().last()
        });
        assert_eq!((shown.matches(TAKEN).count(), shown.matches(GIVEN_BACK).count()), (1, 1), "{shown:?}");
        assert!(shown.rfind(CURSOR_SHOWN) > shown.rfind(CURSOR_HIDDEN), "{shown:?}");
        let (_, after) = shown.split_once(GIVEN_BACK).expect("it was given back");
        let after = after.split_once(&format!("code {code}\r\n")).expect("it has ended").0;
        assert!(!after.contains('\u{1b}'), "nothing is shown any more: {after:?}");
        after.to_owned()
    }
}

fn status(folder: &Folder, agent: &str) -> String {
    let sql = "SELECT lifecycle_status FROM agents WHERE agent_id = ?1";
    folder.sql().query_row(sql, [agent], |row| row.get(0)).expect("an agent")
}

#[test]
fn one_key_pauses_the_selected_agent_and_another_resumes_it() {
    let folder = Folder::with_writer();
    let Some(mut watcher) = Watcher::start(&folder, "writer") else { return };
    assert!(!watcher.shown().contains("paused"));
    watcher.press("jp");
    wait_until("the agent to be paused", || status(&folder, "writer") == "paused");
    watcher.wait_for("paused");
    watcher.press("r");
    wait_until("the agent to be active", || status(&folder, "writer") == "active");
    watcher.press("q");
    assert_eq!(watcher.left_as_it_was(0), "");
    let reasons = "SELECT count(*) FROM agent_events WHERE event = 'paused' AND reason LIKE 'by hand%'";
    assert_eq!(folder.number(reasons), 1);
}

#[test]
fn looking_around_changes_nothing() {
    let folder = Folder::with_writer();
    let before = folder.snapshot();
    let Some(mut watcher) = Watcher::start(&folder, "writer") else { return };
    watcher.press("\tjk\u{1b}[Z\u{1b}[B\u{1b}[A\u{1b}[6~\u{1b}[FgsShhhhlllll/xyz\r");
    watcher.wait_for("such"); // agents there are none
    watcher.press("?");
    watcher.wait_for("Shift-Tab");
    watcher.press("?\u{3}"); // Ctrl-C
    assert_eq!(watcher.left_as_it_was(0), "");
    assert_eq!(folder.snapshot(), before);
}

#[test]
fn a_locked_database_holds_no_key_up() {
    let folder = Folder::with_writer();
    let Some(mut watcher) = Watcher::start(&folder, "writer") else { return };
    let blocker = folder.sql();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    watcher.press("jp");
    watcher.wait_for("pausing");
    watcher.press("?");
    watcher.wait_for("Shift-Tab");
    watcher.wait_for("stayed");
    blocker.execute_batch("ROLLBACK").expect("a transaction");
    assert_eq!(status(&folder, "writer"), "active");
    watcher.press("qq");
    watcher.left_as_it_was(0);
}

#[test]
fn signals_end_it_and_it_leaves_the_terminal_as_it_was() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)] {
        let folder = Folder::with_writer();
        let Some(watcher) = Watcher::start(&folder, "writer") else { return };
        watcher.signal(signal);
        watcher.left_as_it_was(code);
    }
}

#[test]
fn a_database_that_is_gone_ends_it_with_a_sentence() {
    let folder = Folder::with_writer();
    let Some(watcher) = Watcher::start(&folder, "writer") else { return };
    fs::remove_file(folder.db()).expect("the database");
    let said = watcher.left_as_it_was(1);
    assert!(said.starts_with("govstore: ") && said.contains("was moved, deleted or replaced"), "{said:?}");
}

#[test]
fn it_says_where_it_cannot_be_shown() {
    let folder = Folder::with_writer();
    folder.run(&["watch"]).refused(2, &["standard output is no terminal", "events --follow"]);
    let ran = folder.run(&["watch", "--json"]).refused(2, &["events --follow --json"]);
    assert_eq!(ran.json()["success"], false);
    let Some(mut command) = terminal(&folder, "TERM=dumb $g watch") else { return };
    let output = command.stdin(Stdio::null()).output().expect("script worked a moment ago");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("TERM is dumb") && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(output.status.code(), Some(2));
    folder.run(&["watch", "--sort", "size"]).refused(2, &["none of worst, risk, coherence"]);
}
