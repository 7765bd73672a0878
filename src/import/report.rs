//! What an import reports.

use serde::Serialize;

use crate::model::Lifecycle;

/// What [`Store::import_v1`](crate::Store::import_v1) did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Agents that are new in the database.
    pub imported: Vec<ImportedAgent>,
    /// Agents that the database had already, left as they are.
    pub unchanged: Vec<String>,
    /// What could not be used, or was corrected, and why; in the order of the subjects.
    pub remarks: Vec<ImportRemark>,
}

/// One agent that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportedAgent {
    /// The agent.
    pub agent_id: String,
    /// Its lifecycle status.
    pub lifecycle_status: Lifecycle,
    /// Updates in its lifetime.
    pub total_updates: i64,
    /// Lifecycle events brought in.
    pub events: usize,
    /// Updates whose figures were brought in: those of the export that has most of them.
    pub history_rows: usize,
    /// The export they came from.
    pub history_file: Option<String>,
}

/// Something in the folder that could not be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportRemark {
    /// The file, the folder, or the agent in `agent_metadata.json`.
    pub subject: String,
    /// Why, and what was done instead.
    pub reason: String,
}
