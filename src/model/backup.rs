//! What making and restoring a backup reports.

use std::path::PathBuf;

use serde::Serialize;

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Bytes copied so far.
    pub copied_bytes: u64,
    /// Bytes to copy altogether.
    pub total_bytes: u64,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Older backups that were removed.
    pub removed: Vec<PathBuf>,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The database, which is now what the backup was.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Where the database went that was there before; `None` if there was none.
    pub replaced: Option<PathBuf>,
}
