//! Bringing in what a v1.0.3 server left in its data folder.

use std::path::Path;

use serde::Serialize;

use crate::agent::Lifecycle;
use crate::error::Result;
use crate::store::Store;

/// What [`Store::import_v1`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Agents that are new in the database.
    pub imported: Vec<ImportedAgent>,
    /// Agents that the database had already, left as they are.
    pub unchanged: Vec<String>,
    /// What could not be used, or was corrected, and why.
    pub remarks: Vec<ImportRemark>,
}

/// One agent that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportedAgent {
    /// The agent.
    pub agent_id: String,
    /// Its lifecycle status.
    pub lifecycle_status: Lifecycle,
    /// Updates in its lifetime.
    pub total_updates: i64,
    /// Lifecycle events brought in.
    pub events: usize,
    /// Updates whose figures were brought in: those of its longest export.
    pub history_rows: usize,
    /// The export they came from.
    pub history_file: Option<String>,
}

/// Something in the folder that could not be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportRemark {
    /// The file, or the agent in `agent_metadata.json`.
    pub subject: String,
    /// Why, and what was done instead.
    pub reason: String,
}

impl Store {
    /// Imports a v1.0.3 data folder.
    pub fn import_v1(&self, folder: impl AsRef<Path>) -> Result<ImportReport> {
        let _ = folder.as_ref();
        todo!()
    }
}
