//! One process of the storm: it is started, kept at work, killed, and what it had acknowledged is remembered.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::fate::{Fate, Signal};
use govstore_testkit::{Database, govstore, test_server, test_worker, wait_until};

/// The variable that arms a crash point.
pub const CRASH_AT: &str = "GOVSTORE_CRASH_AT";

/// Requests that may wait for their answers at once.
const WINDOW: usize = 3;

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `govstore serve`, which is asked in MCP.
    Serve,
    /// The example that links the library and is asked in words. It holds the lock of its own agent.
    Worker,
    /// The example that links the library, updates an agent of its own accord, and reaps.
    Server,
}

/// What is to be done with one process.
pub struct Order {
    pub program: Program,
    /// Processes of one slot have an agent of their own, one after the other.
    pub slot: usize,
    pub fate: Fate,
}

/// An update that a process said it had made.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    pub agent_id: String,
    pub update_no: i64,
    /// Tells this update from every other; the program `Server` doesn't say it.
    pub risk_score: Option<f64>,
}

/// What is left of a process that was killed.
#[derive(Debug)]
pub struct Remains {
    pub pid: u32,
    pub program: Program,
    /// How it died, in words.
    pub cause: String,
    pub acknowledged: Vec<Acknowledged>,
    /// Updates that it was asked for and said nothing of. They may have been made, each at most once.
    pub unanswered: usize,
}

impl Order {
    /// Starts the process, keeps it at work until its fate has come, and buries it.
    ///
    /// # Panics
    ///
    /// If it refuses an update, or ends by anything but SIGKILL.
    pub fn carry_out(self, database: &Database) -> Remains {
        let mut command = self.command(database);
        command.env_remove(CRASH_AT).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(point) = self.fate.crash_point() {
            command.env(CRASH_AT, point);
        }
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let at_work = Signal::default();
        let mut conversation = Conversation::new(self.program, self.slot);
        thread::scope(|scope| {
            scope.spawn(|| conversation.hold(stdin, stdout, &at_work));
            self.fate.fulfil(&mut child, &at_work);
            bury(&mut child, &self.fate);
        });
        Remains {
            pid: child.id(),
            program: self.program,
            cause: self.fate.to_string(),
            unanswered: conversation.unanswered(),
            acknowledged: conversation.acknowledged,
        }
    }

    fn command(&self, database: &Database) -> Command {
        let mut command;
        match self.program {
            Program::Serve => {
                command = Command::new(govstore());
                command.args(["--db", &database.address(), "serve"]).env("RUST_LOG", "off");
            }
            Program::Worker => {
                command = Command::new(test_worker());
                command.arg(database.address());
            }
            Program::Server => {
                command = Command::new(test_server());
                command.arg(database.address()).args([
                    "--every",
                    "1",
                    "--agent",
                    &own_agent(self.program, self.slot),
                ]);
            }
        }
        command
    }
}

/// Waits for the end of a child that was killed, or is about to kill itself.
fn bury(child: &mut Child, fate: &Fate) {
    wait_until("a child to die", || child.try_wait().unwrap().is_some());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "it was to die {fate}, and ended otherwise: {status}");
}

fn own_agent(program: Program, slot: usize) -> String {
    format!("{program:?}-{slot}").to_lowercase()
}

/// A complexity that no other update has. The risk score that is stored with the update follows from it.
pub fn unique_complexity() -> f64 {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    f64::from(COUNTER.fetch_add(1, Ordering::Relaxed)) / f64::from(1 << 22)
}

/// What is said to a process and what it answers.
struct Conversation {
    program: Program,
    own_agent: String,
    asked: usize,
    /// Agents of the requests that were not answered yet, for a program that doesn't repeat them.
    open: VecDeque<String>,
    acknowledged: Vec<Acknowledged>,
    refusals: Vec<String>,
}

impl Conversation {
    fn new(program: Program, slot: usize) -> Self {
        Self {
            program,
            own_agent: own_agent(program, slot),
            asked: 0,
            open: VecDeque::new(),
            acknowledged: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Goes on until the process is dead. Says when the first update was acknowledged.
    fn hold(&mut self, mut stdin: ChildStdin, stdout: ChildStdout, at_work: &Signal) {
        let _ = stdin.write_all(self.greeting().as_bytes()); // it may be dead already
        self.ask(&mut stdin);
        if self.program == Program::Worker {
            // The lock of its predecessor, who was killed with it, must be no hindrance.
            let _ = writeln!(stdin, "lock {}", self.own_agent);
        }
        (1..WINDOW).for_each(|_| self.ask(&mut stdin));
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        // A line that was cut by the kill was not said.
        while stdout.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            if let Some(update) = self.hear(line.trim_end()) {
                self.acknowledged.push(update);
                self.ask(&mut stdin);
                at_work.give();
            }
            line.clear();
        }
        at_work.give(); // it never will be
        assert!(self.refusals.is_empty(), "{:?} was refused: {:?}", self.program, self.refusals);
    }

    fn greeting(&self) -> String {
        match self.program {
            Program::Serve => {
                let client = json!({ "name": "storm", "version": "1" });
                let params =
                    json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
                let initialize =
                    json!({ "jsonrpc": "2.0", "id": "initialize", "method": "initialize", "params": params });
                let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
                format!("{initialize}\n{initialized}\n")
            }
            Program::Worker | Program::Server => String::new(),
        }
    }

    /// Asks for one more update: of an agent that all have in common, or of its own.
    fn ask(&mut self, stdin: &mut ChildStdin) {
        let agent_id = match self.asked % 3 {
            0 => self.own_agent.clone(),
            n => format!("common-{n}"),
        };
        let complexity = unique_complexity();
        let request = match self.program {
            Program::Serve => {
                let arguments = json!({ "agent_id": agent_id, "complexity": complexity });
                let params = json!({ "name": "process_agent_update", "arguments": arguments });
                json!({ "jsonrpc": "2.0", "id": self.asked, "method": "tools/call", "params": params })
                    .to_string()
            }
            Program::Worker => format!("update {agent_id} complexity {complexity}"),
            Program::Server => return, // it does so by itself
        };
        if stdin.write_all(format!("{request}\n").as_bytes()).is_ok() {
            self.asked += 1;
            self.open.push_back(agent_id);
        }
    }

    /// The update that this line acknowledges, if it does.
    fn hear(&mut self, line: &str) -> Option<Acknowledged> {
        let heard = match self.program {
            Program::Serve => acknowledged_in_json(line),
            Program::Worker => acknowledged_in_words(line, self.open.front().map(String::as_str)),
            Program::Server => acknowledged_in_words(line, Some(&self.own_agent)),
        };
        if let Ok(Some(_)) = heard {
            self.open.pop_front();
        }
        heard.unwrap_or_else(|Refused| {
            self.refusals.push(line.to_owned());
            None
        })
    }

    fn unanswered(&self) -> usize {
        match self.program {
            Program::Serve | Program::Worker => self.asked - self.acknowledged.len(),
            Program::Server => 1, // at most, since it says of one before it makes the next
        }
    }
}

/// The line says that something was not done.
#[derive(Debug)]
pub struct Refused;

/// `None` if the line speaks of something else.
type Heard = Result<Option<Acknowledged>, Refused>;

fn acknowledged_in_json(line: &str) -> Heard {
    let answer: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    if answer["id"] == "initialize" {
        return Ok(None);
    }
    let result = &answer["result"]["structuredContent"];
    if result["success"] != true {
        return Err(Refused);
    }
    let metrics = &result["metrics"];
    Ok(Some(Acknowledged {
        agent_id: result["agent_id"].as_str().ok_or(Refused)?.to_owned(),
        update_no: metrics["updates"].as_i64().ok_or(Refused)?,
        risk_score: Some(metrics["risk_score"].as_f64().ok_or(Refused)?),
    }))
}

/// What an example says, that was asked to update this agent.
pub fn acknowledged_in_words(line: &str, agent_id: Option<&str>) -> Heard {
    let words: Vec<&str> = line.split(' ').collect();
    let (update_no, risk_score) = match words[..] {
        ["updated", update_no] => (update_no, None),
        ["updated", update_no, risk_score] => (update_no, Some(risk_score)),
        ["failed" | "busy:" | "ended:", ..] => return Err(Refused),
        _ => return Ok(None),
    };
    Ok(Some(Acknowledged {
        agent_id: agent_id.ok_or(Refused)?.to_owned(),
        update_no: update_no.parse().map_err(|_| Refused)?,
        risk_score: risk_score.map(str::parse).transpose().map_err(|_| Refused)?,
    }))
}
