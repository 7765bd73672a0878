//! Names of files that lie beside another one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// `path` with `suffix` after its name.
pub(crate) fn with_suffix(path: &Path, suffix: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
