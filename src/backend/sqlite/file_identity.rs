//! The identity of a database's files: whether its names still mean the files that this process has open.
//!
//! A file that is moved, deleted or replaced goes on living for the processes that have it open. What such a process writes
//! nobody else will ever see, and neither SQLite nor the system says a word. So before a commit the names are looked
//! at, and a read looks too: its answer would be of another time. It is `stat` that looks, about a microsecond. To
//! open the file would cost this process its locks.
//!
//! The `-wal` and `-shm` files matter as much. Without the first, commits go to a log that goes with its last
//! user; without the second, newcomers make one of their own, and the lock in it keeps nobody from writing at the
//! same time. They are looked at less often, since the remedy is at hand: see [`FileIdentity::may_fold_in_log`].
//!
//! | under a live process | the outcome is |
//! | --- | --- |
//! | the database is moved or deleted | [`Error::Displaced`] before the next commit; nobody makes a new one while its log is there |
//! | another file has its name | the same; nothing is written into that one either |
//! | the `-wal` file is gone | the same within 10 ms; the last process to close the database folds its log in |
//! | the `-shm` file is gone | the same within 10 ms; the log stays, and the next process to open the database folds it in |
//! | all are put back | it goes on |
//!
//! What can't be helped: the commits of those 10 ms, if every process is killed before one could fold them in; and
//! bytes that somebody writes into the file itself, as `cp` does over an existing name.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::os::{FileId, file_id, with_suffix};

/// How often the `-wal` and `-shm` files are looked at, at most.
const SIDE_FILES_EVERY: Duration = Duration::from_millis(10);

/// The files of an open database.
pub(super) struct FileIdentity {
    database: Name,
    wal: Name,
    shm: Name,
    opened: Instant,
    /// When the side files were last found in place, in milliseconds since `opened`.
    side_files_seen_ms: AtomicU64,
}

/// A name, and the file that it meant.
pub(super) struct Name {
    path: PathBuf,
    /// `None` where that isn't known.
    file: Option<FileId>,
}

/// What a name means now.
enum Meaning {
    ThatFile,
    Nothing,
    Another(Metadata),
}

impl FileIdentity {
    /// The files of a database that this process has open in WAL mode, so that all of them are there. `database` is
    /// what its name meant before it was opened; `real` is its path without symbolic links, where SQLite keeps the
    /// log.
    ///
    /// # Errors
    ///
    /// [`Error::Displaced`] if the name means another file by now.
    pub fn of(database: Name, real: &Path) -> Result<Self> {
        let place = Self {
            database,
            wal: Name::now(with_suffix(real, "-wal")),
            shm: Name::now(with_suffix(real, "-shm")),
            opened: Instant::now(),
            side_files_seen_ms: AtomicU64::new(0),
        };
        place.database.check()?;
        Ok(place)
    }

    /// Refuses to go on if a name means something else by now.
    pub fn check(&self) -> Result<()> {
        self.database.check()?;
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let seen_ms = self.side_files_seen_ms.load(Ordering::Relaxed);
        if u128::from(now_ms - seen_ms.min(now_ms)) >= SIDE_FILES_EVERY.as_millis() {
            self.check_side_files()?;
            self.side_files_seen_ms.store(now_ms, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The same, and every file is looked at.
    pub fn check_all(&self) -> Result<()> {
        self.database.check()?;
        self.check_side_files()
    }

    fn check_side_files(&self) -> Result<()> {
        self.wal.check()?;
        self.shm.check()
    }

    /// Whether this process, if it is the last to close the database, may fold its log in and remove it, as SQLite
    /// does by itself; it has made sure by then that nobody else has the database open.
    ///
    /// It should if the `-wal` file is gone: what is in it would be lost. It must not where others have written to
    /// a log that this process knows nothing of: to a new `-wal` file, or to this one through a new `-shm` file.
    pub fn may_fold_in_log(&self) -> bool {
        match self.wal.meaning() {
            Meaning::Nothing => true,
            Meaning::Another(log) => log.len() == 0, // made by a reader that could not read
            Meaning::ThatFile => matches!(self.shm.meaning(), Meaning::ThatFile),
        }
    }
}

impl Name {
    pub fn now(path: PathBuf) -> Self {
        let file = fs::metadata(&path).ok().as_ref().and_then(file_id);
        Self { path, file }
    }

    fn meaning(&self) -> Meaning {
        match fs::metadata(&self.path) {
            Ok(found) if file_id(&found) == self.file => Meaning::ThatFile,
            Ok(found) => Meaning::Another(found),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Meaning::Nothing
            }
            Err(_) => Meaning::ThatFile, // it can't be looked at; that doesn't move it
        }
    }

    fn check(&self) -> Result<()> {
        match self.meaning() {
            Meaning::ThatFile => Ok(()),
            Meaning::Nothing | Meaning::Another(_) => Err(Error::Displaced { path: self.path.clone() }),
        }
    }
}
