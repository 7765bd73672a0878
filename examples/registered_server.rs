//! A server that registers, beats, and ends in good order: one update for each line of its input.
//!
//! ```sh
//! printf 'one\ntwo\n' | cargo run --example registered_server -- governance.db
//! ```

use std::error::Error;
use std::io;

use govstore::{ProcessInfo, Store, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let database = std::env::args().nth(1).ok_or("usage: registered_server DATABASE")?;
    let store = Store::open(database)?;
    let registration = store.register(ProcessInfo::new("example", env!("CARGO_PKG_VERSION")))?;
    registration.start_heartbeat()?; // from here on in the background
    for event in store.reap()?.events {
        eprintln!("PID {}: {} because {}", event.pid, event.outcome, event.evidence);
    }
    for line in io::stdin().lines() {
        let update = Update::new().response_text(line?);
        let report = store.process_update("example", &update)?; // a heartbeat and a use as well
        println!("{}: {}", report.decision.action, report.decision.reason);
        if registration.must_exit() {
            break; // a reaper has claimed this process, or its database is gone
        }
    }
    registration.deregister()?;
    Ok(())
}
