//! A changed configuration on the disk: a copy of the old one beside it, then all of the new one at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const SUFFIX: &str = "govstore-backup";

/// Why a configuration was not read or not written. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("cannot write {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot keep a copy of {} beside it: {source}", path.display())]
    NoCopy { path: PathBuf, source: io::Error },
    #[error("{} has changed meanwhile, and was left as it is; run this again", path.display())]
    Changed { path: PathBuf },
}

/// The text of a file.
pub fn read(path: &Path) -> Result<String, FileError> {
    let unreadable = |reason: String| FileError::Unreadable { path: path.to_owned(), reason };
    let kind = fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if !kind.is_file() {
        return Err(unreadable("it is not a file".to_owned())); // to open a pipe would wait for its writer
    }
    let bytes = fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| {
        unreadable(format!("byte {} is not UTF-8; save it as UTF-8 first", e.utf8_error().valid_up_to() + 1))
    })
}

/// Puts `new` in the place of `old`, and returns where the copy of `old` is. A symbolic link stays one, and the file
/// that it leads to is replaced.
pub fn replace(path: &Path, old: &str, new: &str) -> Result<PathBuf, FileError> {
    let unwritable = |source| FileError::Unwritable { path: path.to_owned(), source };
    let real = fs::canonicalize(path).map_err(unwritable)?;
    let folder = real.parent().unwrap_or(Path::new("."));
    let permissions = fs::metadata(&real).map_err(unwritable)?.permissions();
    if permissions.readonly() {
        return Err(unwritable(io::Error::other("it is read-only; allow writing to it first")));
    }
    let mut staging =
        tempfile::Builder::new().prefix(".govstore-").tempfile_in(folder).map_err(unwritable)?;
    staging.write_all(new.as_bytes()).map_err(unwritable)?;
    staging.as_file().set_permissions(permissions).map_err(unwritable)?;
    staging.as_file().sync_all().map_err(unwritable)?;
    let copy = keep_copy(path, old).map_err(|source| FileError::NoCopy { path: path.to_owned(), source })?;
    if read(path)? != old {
        return Err(FileError::Changed { path: path.to_owned() });
    }
    staging.persist(&real).map_err(|e| unwritable(e.error))?;
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    }
    Ok(copy)
}

/// The copy beside the file: one that is there already with the same content, or a new one.
fn keep_copy(path: &Path, content: &str) -> io::Result<PathBuf> {
    let permissions = fs::metadata(path)?.permissions();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = std::iter::once(format!("{name}.{SUFFIX}"));
    for name in names.chain((2..1_000).map(|number| format!("{name}.{SUFFIX}-{number}"))) {
        let copy = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // it may have keys of services in it
        match options.open(&copy) {
            Ok(mut file) => {
                file.write_all(content.as_bytes())?;
                file.set_permissions(permissions)?;
                file.sync_all()?;
                return Ok(copy);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&copy).is_ok_and(|there| there == content.as_bytes()) {
                    return Ok(copy);
                }
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("there are 1000 copies already; remove some"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn names(folder: &Path) -> io::Result<Vec<String>> {
        let entries =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = entries.collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_alone() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("mcp.json");
        fs::write(&path, "newer")?;
        let refused = replace(&path, "older", "wrapped");
        assert!(matches!(refused, Err(FileError::Changed { .. })), "{refused:?}");
        assert_eq!(fs::read_to_string(&path)?, "newer");
        assert_eq!(names(folder.path())?, ["mcp.json", "mcp.json.govstore-backup"], "no staging file");
        Ok(())
    }

    #[test]
    fn a_copy_never_takes_the_place_of_another_one() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("mcp.json");
        fs::write(&path, "a")?;
        let first = replace(&path, "a", "b")?;
        let second = replace(&path, "b", "a")?;
        let third = replace(&path, "a", "c")?;
        assert_eq!((&first, fs::read(&first)?), (&third, b"a".to_vec()), "the same content needs one copy");
        assert_eq!(fs::read(&second)?, b"b");
        let expected = ["mcp.json", "mcp.json.govstore-backup", "mcp.json.govstore-backup-2"];
        assert_eq!(names(folder.path())?, expected);
        assert_eq!(fs::read(&path)?, b"c");
        Ok(())
    }
}
