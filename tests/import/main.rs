//! Importing v1.0.3 folders: made-up ones, and in [`reference`] one that real servers left.

mod agents;
mod csv;
mod history;
mod reference;
mod spoiled;
mod times;
mod whole;

use std::fs;
use std::io;
use std::path::PathBuf;

use govstore::{ImportReport, Store};
use govstore_testkit::{Database, TestResult};
use serde_json::{Value, json};

/// A store, and beside it an empty data folder.
struct Setup {
    database: Database,
    store: Store,
}

impl Setup {
    fn new() -> TestResult<Self> {
        let database = Database::new(&[])?;
        fs::create_dir(database.folder().join("data"))?;
        let store = database.store()?;
        Ok(Self { database, store })
    }

    /// With these agents in `agent_metadata.json`.
    fn with_agents(agents: &Value) -> TestResult<Self> {
        let setup = Self::new()?;
        setup.put("agent_metadata.json", agents)?;
        Ok(setup)
    }

    fn data(&self) -> PathBuf {
        self.database.folder().join("data")
    }

    fn put(&self, name: &str, contents: &Value) -> io::Result<()> {
        fs::write(self.data().join(name), contents.to_string())
    }

    fn put_text(&self, name: &str, contents: impl AsRef<[u8]>) -> io::Result<()> {
        fs::write(self.data().join(name), contents)
    }

    fn import(&self) -> govstore::Result<ImportReport> {
        self.store.import_v1(self.data())
    }

    /// Rows of agents, updates and events together.
    fn rows(&self) -> TestResult<i64> {
        self.database.count(
            "SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM agent_updates)
                  + (SELECT count(*) FROM agent_events)",
        )
    }
}

/// An entry with nothing but what has no default.
fn entry() -> Value {
    json!({ "status": "active", "created_at": "2025-11-19T20:41:09.824739" })
}

fn entry_with(field: &str, value: Value) -> Value {
    let mut entry = entry();
    entry[field] = value;
    entry
}

/// An export of `agent_id` whose V has the values `void_integral`.
fn export(agent_id: &str, void_integral: &[f64]) -> Value {
    let updates = void_integral.len();
    json!({
        "agent_id": agent_id,
        "E_history": [0.6], "I_history": [0.8], "S_history": [0.2],
        "V_history": void_integral,
        "coherence_history": vec![1.0; updates],
        "risk_history": vec![0.1; updates],
        "decision_history": vec!["approve"; updates],
        "lambda1_final": 0.15, "total_updates": updates, "total_time": 0.5,
    })
}

/// The reasons given for `subject`.
fn reasons<'r>(report: &'r ImportReport, subject: &str) -> Vec<&'r str> {
    report.remarks.iter().filter(|r| r.subject == subject).map(|r| r.reason.as_str()).collect()
}
