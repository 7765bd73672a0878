//! How a folder is read.

use std::path::Path;

use chrono::{TimeZone, Utc};

use super::folder::{self, V1Folder};
use super::local_time::LocalTime;
use crate::error::Result;

/// How the data folder of a v1.0.3 server is read.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
/// # let folder = dir.path();
/// # std::fs::write(
/// #     folder.join("agent_metadata.json"),
/// #     r#"{"writer": {"status": "active", "created_at": "2025-11-19T20:41:09.824739"}}"#,
/// # )?;
/// use chrono::FixedOffset;
/// use govstore::ImportOptions;
///
/// let berlin_in_winter = FixedOffset::east_opt(3600).ok_or("no offset")?;
/// let found = ImportOptions::new().time_zone(berlin_in_winter).read(folder)?;
/// store.import_v1_folder(&found)?;
/// assert_eq!(store.agent("writer")?.created_at.to_string(), "2025-11-19T19:41:09.824Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ImportOptions {
    local_time: LocalTime,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { local_time: LocalTime::of(Utc) }
    }
}

impl ImportOptions {
    /// The options that [`Store::import_v1`](crate::Store::import_v1) has.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time zone of the machine that v1.0.3 ran on: its times are local, and name none. UTC unless given.
    ///
    /// A zone of the crate `chrono-tz` knows when its clocks were changed. A time that came twice is taken as the
    /// first, and one that was skipped as what a clock would show that had not been set forward; there is a remark
    /// on each.
    pub fn time_zone(mut self, zone: impl TimeZone + Send + Sync + 'static) -> Self {
        self.local_time = LocalTime::of(zone);
        self
    }

    /// Reads and checks everything in the folder. Nothing is written: [`Store::import_v1_folder`] does that.
    ///
    /// [`Store::import_v1_folder`]: crate::Store::import_v1_folder
    ///
    /// # Errors
    ///
    /// [`Error::ImportFolder`](crate::Error::ImportFolder) if the folder or its `agent_metadata.json` cannot be
    /// read.
    pub fn read(&self, folder: impl AsRef<Path>) -> Result<V1Folder> {
        self.read_with(folder, |_, _| ())
    }

    /// As [`Self::read`], and calls `progress` after each file with how many were read and how many there are.
    pub fn read_with(
        &self,
        folder: impl AsRef<Path>,
        progress: impl FnMut(usize, usize),
    ) -> Result<V1Folder> {
        folder::read(folder.as_ref(), &self.local_time, progress)
    }
}
