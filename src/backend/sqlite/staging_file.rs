//! A database file in the making, under a name that nobody takes for a finished one.
//!
//! It lies in the folder of its final name, so that giving it that name is one step. It is locked for as long as
//! it is being made; so one whose maker was killed can be told from one under way, and goes with the next.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::os::with_suffix;

/// How the name of a staging file begins and ends.
const PREFIX: &str = ".";
const SUFFIX: &str = ".govstore-partial";

/// What SQLite may put beside a database.
pub(super) const SIDE_FILES: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Dropping it removes the file, unless it got its final name.
pub(super) struct StagingFile {
    path: PathBuf,
    /// Locked; also what `fsync` needs.
    file: File,
}

impl StagingFile {
    /// Begins a file that is to become `target`: empty, for its owner alone.
    pub fn begin(target: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let folder = folder_of(target);
        remove_abandoned(folder)?;
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let mut unique = OsString::from(PREFIX);
            unique.push(name);
            unique.push(format!(".{}-{number}{SUFFIX}", std::process::id()));
            let path = folder.join(unique);
            let file = match options.open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            let staging = Self { path, file };
            // Between its making and its locking another process may have taken it for abandoned.
            if staging.lock()? && staging.path.exists() {
                return Ok(staging);
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings what was written so far to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file its final name, which must be free unless `overwrite`. A reader of that name sees what was
    /// there before or the whole new file, and after a power cut one of both is there: the new one for certain
    /// after [`sync_folder`]. If it fails, the name means what it did.
    pub fn publish(mut self, target: &Path, overwrite: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if overwrite {
            fs::rename(&self.path, target)?;
        } else if fs::hard_link(&self.path, target).is_ok() {
            return Ok(()); // the other name goes with `self`
        } else {
            rename_to_free_name(&self.path, target)?;
        }
        self.path.clear(); // nothing is left to remove
        Ok(())
    }

    /// A lock of `flock`, which doesn't meet those that SQLite takes. Where files can only be locked against
    /// everybody, there is none.
    #[cfg(unix)]
    fn lock(&self) -> io::Result<bool> {
        try_lock(&self.file)
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on unix")]
    fn lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            remove(&self.path);
        }
    }
}

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Moves a file to a name that nobody has, or fails with `AlreadyExists`.
///
/// A hard link never replaces anything. FAT has none: there, look first, and accept that another process may be faster.
pub(super) fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// Makes names that were given in a folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Whether a file that is to become `target` is being made just now, or may be.
#[cfg(unix)]
pub(super) fn is_any_under_way(target: &Path) -> io::Result<bool> {
    let mut prefix = OsString::from(PREFIX);
    prefix.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    prefix.push(".");
    for entry in fs::read_dir(folder_of(target))? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) || !is_partial(&entry)
        {
            continue;
        }
        match File::open(entry.path()) {
            Ok(file) if file.try_lock().is_ok() => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            _ => return Ok(true), // locked; or somebody else's, or no file system for locks
        }
    }
    Ok(false)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on unix")]
pub(super) fn is_any_under_way(_target: &Path) -> io::Result<bool> {
    Ok(true)
}

/// The file that is replaced, or made, when something is put under this name: the name itself, or what a symbolic
/// link there points to, so that the link stays. Anything but a regular file is refused: a rename would put a file
/// in the place of a device or a pipe, which its reader would never see.
pub(super) fn replaceable(path: &Path) -> io::Result<PathBuf> {
    let real = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(path.to_owned()),
        Err(e) => return Err(e),
        Ok(found) if found.is_symlink() => fs::canonicalize(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => io::Error::other(
                "it is a symbolic link that leads nowhere; remove it, or name the file itself",
            ),
            _ => e,
        })?,
        Ok(_) => path.to_owned(),
    };
    match fs::metadata(&real)? {
        found if found.is_file() => Ok(real),
        found if found.is_dir() => Err(io::Error::other("it is a folder")),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// Removes what makers that were killed have left behind.
#[cfg(unix)]
fn remove_abandoned(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_partial(&entry) && File::open(entry.path()).is_ok_and(|file| try_lock(&file).unwrap_or(false)) {
            remove(&entry.path());
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn remove_abandoned(folder: &Path) -> io::Result<()> {
    fs::read_dir(folder).map(drop)
}

#[cfg(unix)]
fn is_partial(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    name.starts_with(PREFIX) && name.ends_with(SUFFIX) && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Whether the lock was free. It is held until the file is closed.
#[cfg(unix)]
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

/// Removes a staging file and what SQLite put beside it. What can't be removed goes with the next one.
fn remove(path: &Path) {
    for suffix in SIDE_FILES {
        let _ = fs::remove_file(with_suffix(path, suffix));
    }
    let _ = fs::remove_file(path);
}
