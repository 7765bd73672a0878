//! A worker that does as it is told on stdin, one command a line, and says on stdout how it went. The tests of
//! locks use it as the process that holds one, waits for one, or is stopped in the middle of something.
//!
//! ```sh
//! printf 'update writer\nlock writer\nrelease writer\n' | cargo run --example test-worker -- governance.db
//! ```

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::io::{self, Lines, StdinLock};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use govstore::{AgentLock, Durability, ProcessInfo, Registration, Store, Update};
use serde_json::Value;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let db = args.next().ok_or("which database? worker DB [NAME] [--no-heartbeat] [--full]")?;
    let name = args.next().unwrap_or_else(|| "example-worker".to_owned());
    let (mut heartbeat, mut durability) = (true, Durability::Normal);
    for option in args {
        match option.as_str() {
            "--no-heartbeat" => heartbeat = false,
            "--full" => durability = Durability::Full,
            _ => return Err(format!("{option} is no option").into()),
        }
    }
    let store = Store::options().durability(durability).open(db)?;
    let registration = store.register(ProcessInfo::new(name, env!("CARGO_PKG_VERSION")))?;
    if heartbeat {
        registration.start_heartbeat()?;
    }
    println!("registered {}", registration.process_id());

    let mut worker = Worker { store, registration, locks: HashMap::new(), lines: io::stdin().lines() };
    while let Some(line) = worker.lines.next() {
        let began = Instant::now();
        match worker.obey(&line?) {
            Ok(done) => println!("{done}"),
            Err(error) => println!("failed after {} ms: {error}", began.elapsed().as_millis()),
        }
    }
    println!("ended: stdin closed");
    Ok(())
}

struct Worker {
    store: Store,
    registration: Registration,
    locks: HashMap<String, AgentLock>,
    lines: Lines<StdinLock<'static>>,
}

impl Worker {
    fn obey(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words[..] {
            ["patience", ms] => {
                self.store = self.store.with_lock_timeout(Duration::from_millis(ms.parse()?));
                "patient".to_owned()
            }
            ["lock", agent] => {
                let lock = self.store.lock_agent(agent, Some("told to"))?;
                let token = lock.token();
                self.locks.insert(agent.to_owned(), lock);
                format!("locked {token}")
            }
            ["release", agent] => {
                self.locks.remove(agent).ok_or("not locked")?.release()?;
                "released".to_owned()
            }
            ["update", agent] => {
                let report = self.store.process_update(agent, &Update::default())?;
                format!("updated {}", report.metrics.total_updates)
            }
            ["update", agent, "complexity", complexity] => {
                let update = Update::new().complexity(complexity.parse()?);
                let metrics = self.store.process_update(agent, &update)?.metrics;
                format!("updated {} {}", metrics.total_updates, metrics.risk_score)
            }
            ["update", agent, "key", key] => {
                let metrics = self.store.process_update(agent, &Update::new().key(key))?.metrics;
                format!("updated {}", metrics.total_updates)
            }
            ["total", agent] => format!("total {}", self.store.agent(agent)?.total_updates),
            ["must-exit"] => format!("must exit {}", self.registration.must_exit()),
            ["beat"] => format!("beat {:?}", self.registration.beat()?),
            ["write-slowly", agent] => self.write_slowly(agent)?,
            ["increment", agent, times] => {
                for _ in 0..times.parse()? {
                    self.increment(agent)?;
                }
                "incremented".to_owned()
            }
            _ => return Err(format!("{line:?} is no command").into()),
        })
    }

    /// Stays inside a transaction until it reads another line.
    fn write_slowly(&mut self, agent: &str) -> Result<String, Box<dyn Error>> {
        let lines = &mut self.lines;
        self.store.update_agent(agent, |agent| {
            println!("inside");
            let go_on = lines.next();
            agent.notes.push_str("written slowly");
            Ok::<_, govstore::Error>(go_on)
        })?;
        Ok("written".to_owned())
    }

    /// Reads a counter and writes it back one higher, in two transactions: the lock alone keeps others from
    /// doing the same in between.
    fn increment(&self, agent: &str) -> govstore::Result<()> {
        let _lock = self.store.lock_agent(agent, Some("to count"))?;
        let counter = self.store.agent(agent)?.attributes.get("counter").and_then(Value::as_u64).unwrap_or(0);
        self.store.update_agent(agent, |agent| {
            agent.attributes.insert("counter".to_owned(), (counter + 1).into());
            Ok(())
        })
    }
}
