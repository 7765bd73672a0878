//! One governance update, and what to do with the answer.
//!
//! ```sh
//! cargo run --example update -- governance.db writer "All tests pass."
//! ```

use std::error::Error;

use govstore::{Action, Store, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, agent, text] = &arguments[..] else {
        return Err("usage: update DATABASE AGENT TEXT".into());
    };
    let store = Store::open(database)?;
    let update = Update::new().response_text(text).complexity(0.3);
    let report = store.process_update(agent, &update)?;
    // Committed: a power cut or a `kill -9` from here on loses nothing.
    match report.decision.action {
        Action::Approve => println!("let it pass: {}", report.decision.reason),
        Action::Revise => println!("improve it first: {}", report.decision.reason),
        Action::Reject => println!("stop, a person should look: {}", report.decision.reason),
    }
    println!("health {}: {}", report.metrics.health_status, report.metrics.health_message);
    Ok(())
}
