//! Bringing in what a v1.0.3 server left in its data folder.

use std::path::Path;

use super::handle::Store;
use crate::error::Result;
use crate::import::{self, ImportReport};

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
        let found = import::read(folder.as_ref(), progress)?;
        self.write(|tx| {
            let settings = tx.settings()?;
            self.follow(&settings);
            import::insert(tx, &found, &settings.health_thresholds())
        })
    }
}
