//! What tells one file from another, whatever their names. Files are only looked at: to open and close one would cost
//! this process its locks on it.

use std::fs::{self, Metadata};
use std::path::PathBuf;

/// Device and inode, as `stat` gives them.
pub(crate) type FileId = (u64, u64);

/// The identity of a file; `None` where the system tells none.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it isn't known")]
pub(crate) fn file_id(found: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
pub(crate) fn file_id(_found: &Metadata) -> Option<FileId> {
    None
}

/// The identities of those files that are there.
pub(crate) fn file_ids(paths: &[PathBuf]) -> Vec<FileId> {
    paths.iter().filter_map(|path| file_id(&fs::metadata(path).ok()?)).collect()
}
