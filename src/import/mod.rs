//! Bringing in what a v1.0.3 server left in its data folder.
//!
//! [`folder`] reads and judges every file before anything is written: [`metadata`] the agents, [`export`] one
//! history. [`rows`] then writes the agents that the database does not have, in one transaction. What cannot
//! be used becomes a remark, and the rest goes on; only a folder whose `agent_metadata.json` cannot be read
//! is refused.

mod export;
mod folder;
mod metadata;
mod rows;

use std::path::Path;

use serde::Serialize;

use crate::agent::Lifecycle;
use crate::error::Result;
use crate::store::{Store, settings};

/// What [`Store::import_v1`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// Imports the data folder of a v1.0.3 server: the agents in its `agent_metadata.json`, and for each the
    /// longest of the history exports (`*.json`) beside it. Other files are not looked at.
    ///
    /// All agents come in one transaction. An agent that the database has already is left as it is, so a
    /// second import changes nothing. Times without a zone are taken as UTC.
    ///
    /// An imported agent goes on from the state that its export ends with; without an export, from the
    /// initial state. Its next update is number `total_updates + 1`, and the last row of its history has the
    /// number `total_updates`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// # let folder = dir.path().join("data");
    /// # std::fs::create_dir(&folder)?;
    /// # std::fs::write(
    /// #     folder.join("agent_metadata.json"),
    /// #     r#"{"writer": {"status": "active", "created_at": "2025-11-19T20:41:09.824739", "total_updates": 29}}"#,
    /// # )?;
    /// let report = store.import_v1(&folder)?;
    /// assert_eq!(report.imported[0].agent_id, "writer");
    /// assert_eq!(store.import_v1(&folder)?.unchanged, ["writer"]);
    /// assert_eq!(store.process_update("writer", &govstore::Update::default())?.metrics.total_updates, 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ImportFolder`](crate::Error::ImportFolder) if the folder or its `agent_metadata.json` cannot
    /// be read, and what any write may meet. Nothing was imported then, unless it is
    /// [`Error::CommitInDoubt`](crate::Error::CommitInDoubt); to import again is safe in any case.
    pub fn import_v1(&self, folder: impl AsRef<Path>) -> Result<ImportReport> {
        self.import_v1_with(folder, |_, _| ())
    }

    /// As [`Self::import_v1`], and calls `progress` after each file with how many were read and how many there
    /// are. No transaction is open then.
    pub fn import_v1_with(
        &self,
        folder: impl AsRef<Path>,
        progress: impl FnMut(usize, usize),
    ) -> Result<ImportReport> {
        let found = folder::read(folder.as_ref(), progress)?;
        self.write(|tx| {
            let settings = settings::read(tx)?;
            self.follow(&settings);
            rows::insert(tx, found, &settings.health_thresholds())
        })
    }
}
