//! Bringing in what a v1.0.3 server left in its data folder.

use std::path::Path;

use super::handle::Store;
use crate::error::Result;
use crate::import::{self, ImportOptions, ImportReport, V1Folder};

impl Store {
    /// Imports the data folder of a v1.0.3 server: the agents in its `agent_metadata.json`, and for each the
    /// history export beside it (`*.json`, `*.csv`) that has most of its history: most updates; of equals the one
    /// that counts more of them, then the one with more values of E, I, S and λ₁, then JSON before CSV, then the
    /// first by name. Other files are not looked at, nor are folders.
    ///
    /// All agents come in one transaction. An agent that the database has already is left as it is, so a
    /// second import changes nothing. Times without a zone are taken as UTC, unless [`ImportOptions`] say another
    /// zone.
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
        self.import_v1_folder(&ImportOptions::new().read_with(folder, progress)?)
    }

    /// Imports a folder that was read by [`ImportOptions::read`], as [`Self::import_v1`] does.
    pub fn import_v1_folder(&self, folder: &V1Folder) -> Result<ImportReport> {
        self.write(|tx| {
            let settings = tx.settings()?;
            self.follow(&settings);
            import::insert(tx, folder, &settings.health_thresholds())
        })
    }
}
