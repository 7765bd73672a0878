//! Which of the backups in a folder have to go, when so many are to be kept.
//!
//! A name tells when a backup was made, by a clock that may have been wrong: after a month ahead, each new backup
//! would count as the oldest for a month, and go. So what is in the file decides, and its name only where that is
//! equal. Three numbers of a database never fall, in this order:
//!
//! - the last number that a process was registered under, from `sqlite_sequence`. It counts on from the larger one
//!   when a restore brings back an older backup (see `restore`), so that backups of the time that was given up,
//!   which may hold more updates, are older all the same.
//! - all updates in the lifetime of all agents. Agents are never removed, nor does their total fall. (Not the
//!   largest rowid of the history: SQLite says that `VACUUM` may number its rows anew.)
//! - the number of the newest event: pruning leaves it, and the first one.
//!
//! What isn't surely a backup of this very database is neither counted nor removed: a folder, a link, a file of
//! another kind, one that is in use as a database, one of another database with the same name. Nor is one that is
//! damaged: it can't be said how old it is, and somebody may want to save what is in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::copy::io_failed;
use super::database::Database;
use super::migrate;
use super::staging_file::SIDE_FILES;
use crate::backend::deadline::Deadline;
use crate::error::{Error, Result};
use crate::model::{BackupReport, Timestamp};
use crate::os::{file_id, with_suffix};

/// `20251119T204109.824Z`: sorts by time, and has nothing in it that a file system forbids.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%S%.3fZ";

/// The first schema version in which processes are registered.
const SCHEMA_WITH_PROCESSES: i32 = 2;

/// The names of a database's backups, before and after their time: `governance-` and `.db`.
pub(super) struct Names {
    before: String,
    after: String,
}

impl Names {
    pub fn of(database: &Path) -> Self {
        let text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let stem = text(database.file_stem()).unwrap_or_default();
        let after = text(database.extension()).map(|extension| format!(".{extension}"));
        Self { before: format!("{stem}-"), after: after.unwrap_or_default() }
    }

    pub fn at(&self, time: Timestamp) -> String {
        format!("{}{}{}", self.before, time.to_utc().format(TIME_FORMAT), self.after)
    }

    /// The time in a name, if it is such a name.
    fn time_in(&self, name: &OsStr) -> Option<String> {
        let time = name.to_str()?.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        is_time(time).then(|| time.to_owned())
    }
}

fn is_time(text: &str) -> bool {
    let pattern = "ddddddddTdddddd.dddZ";
    text.len() == pattern.len()
        && text.chars().zip(pattern.chars()).all(|(c, p)| if p == 'd' { c.is_ascii_digit() } else { c == p })
}

/// The backups in a folder that have to go if one more is made and `keep` are to be left, the oldest first.
pub(super) fn surplus(
    database: &Database,
    wait: &Deadline,
    folder: &Path,
    names: &Names,
    keep: usize,
) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| io_failed(folder, e))? {
        let name = entry.map_err(|e| io_failed(folder, e))?.file_name();
        found.extend(names.time_in(&name).map(|time| (time, folder.join(name))));
    }
    let keep_old = keep.saturating_sub(1);
    if found.len() <= keep_old {
        return Ok(Vec::new()); // nothing has to be opened
    }
    let this = database.look(wait, |conn| Ok(origin(conn)?))?;
    let database = fs::metadata(database.path()).ok();
    let is_database = |file: &fs::Metadata| {
        let id = file_id(file);
        id.is_some() && id == database.as_ref().and_then(file_id)
    };
    let mut backups: Vec<_> = found
        .into_iter()
        .filter(|(_, path)| {
            fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && !is_database(&file))
        })
        .filter(|(_, path)| !SIDE_FILES.iter().any(|suffix| with_suffix(path, suffix).exists()))
        .filter_map(|(time, path)| Some((Age::read(&path)?, time, path)))
        // One without an agent has no origin yet, and is worth nothing.
        .filter(|(age, ..)| age.origin.is_none() || age.origin == this)
        .collect();
    backups.sort_by(|(a, a_time, _), (b, b_time, _)| (a.key(), a_time).cmp(&(b.key(), b_time)));
    backups.truncate(backups.len().saturating_sub(keep_old));
    Ok(backups.into_iter().map(|(.., path)| path).collect())
}

/// Removes old backups, now that there is a new one.
pub(super) fn remove(surplus: Vec<PathBuf>, made: BackupReport) -> Result<BackupReport> {
    let (mut report, mut left, mut reason) = (made, Vec::new(), None);
    for old in surplus {
        match fs::remove_file(&old) {
            Ok(()) => report.removed.push(old),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {} // another run was faster
            Err(e) => {
                left.push(old);
                reason.get_or_insert(e);
            }
        }
    }
    match reason {
        None => Ok(report),
        Some(source) => Err(Error::OldBackupsLeft { made: report.path, left, source }),
    }
}

/// How far the database had come when a backup was made.
struct Age {
    origin: Option<String>,
    last_process: i64,
    updates: i64,
    last_event: i64,
}

impl Age {
    /// `None` if the file can't be read, or is none of ours.
    fn read(path: &Path) -> Option<Self> {
        let conn = open_immutable(path).ok()?;
        let version = migrate::identify(&conn, path, &Deadline::within(Duration::ZERO)).ok()?;
        (version > 0).then(|| Self::of(&conn, version).ok()).flatten()
    }

    fn of(conn: &Connection, version: i32) -> rusqlite::Result<Self> {
        let last_process = if version < SCHEMA_WITH_PROCESSES { 0 } else { last_process(conn)? };
        let (updates, last_event) = conn.query_row(
            "SELECT
               (SELECT coalesce(sum(total_updates), 0) FROM agents),
               (SELECT coalesce(max(event_id), 0) FROM agent_events)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(Self { origin: origin(conn)?, last_process, updates, last_event })
    }

    const fn key(&self) -> (bool, i64, i64, i64) {
        (self.origin.is_some(), self.last_process, self.updates, self.last_event)
    }
}

/// What tells one database from another, whatever their names: its first event, which every agent begins with and
/// which is never removed. `None` before there is an agent.
fn origin(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let first = "SELECT occurred_at || ' ' || agent_id FROM agent_events ORDER BY event_id LIMIT 1";
    conn.query_row(first, [], |row| row.get(0)).optional()
}

/// The last number that a process was registered under; 0 if none was.
pub(super) fn last_process(conn: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'processes'";
    Ok(conn.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// A file that nobody writes, opened without a lock and without a log, so that nothing is left beside it.
fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        .union(OpenFlags::SQLITE_OPEN_URI)
        .union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
    Connection::open_with_flags(address(path), flags)
}

/// The address of an absolute path; all that could mean something else in an address is escaped.
fn address(path: &Path) -> String {
    let mut address = String::from(if cfg!(windows) { "file:///" } else { "file://" });
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => address.push('/'),
            b'/' | b'.' | b'-' | b'_' | b':' => address.push(char::from(*byte)),
            plain if plain.is_ascii_alphanumeric() => address.push(char::from(*plain)),
            other => address.extend(format!("%{other:02X}").chars()),
        }
    }
    // Without this, SQLite would look for a log, and leave an index of one behind.
    address + "?immutable=1"
}
