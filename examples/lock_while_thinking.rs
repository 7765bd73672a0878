//! Owning an agent for longer than a transaction, as while a model is asked.
//!
//! ```sh
//! cargo run --example lock_while_thinking -- governance.db writer
//! ```

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use govstore::{ProcessInfo, Store, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, agent] = &arguments[..] else {
        return Err("usage: lock_while_thinking DATABASE AGENT".into());
    };
    let store = Store::open(database)?;
    let registration = store.register(ProcessInfo::new("example", "1"))?; // so that others can tell whether it lives
    registration.start_heartbeat()?;
    store.process_update(agent, &Update::default())?; // the agent must be there

    let lock = store.lock_agent(agent, Some("asking the model"))?;
    println!("{agent} is locked, fencing token {}", lock.token());
    sleep(Duration::from_millis(200)); // the model thinks; no transaction is open
    let update = Update::new().response_text("an answer");
    // If the lock was lost meanwhile this fails with Error::Fenced, and nothing is written.
    let report = store.process_update(agent, &update)?;
    lock.release()?;
    println!("update {} is kept", report.metrics.total_updates);
    Ok(())
}
