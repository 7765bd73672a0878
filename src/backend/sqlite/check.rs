//! Whether a database is sound, one finding for each thing that can be wrong with it.
//!
//! Nothing is repaired. SQLite has no checksums: a byte that was flipped is found where it breaks the structure
//! of a page, a constraint, or what an index says of a row; inside a figure or a text it is not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::database::Database;
use super::location;
use super::lock_owner::{displaced, readers};
use super::migrations::SUPPORTED;
use super::schema::{self, Comparison};
#[cfg(unix)]
use super::staging_file::folder_of;
use super::transaction::ReadConnection;
use crate::backend::deadline::Deadline;
use crate::backend::finding::{Finding, Kept, failed, histories, ok, sane_settings, some_of, warning};
use crate::backend::statements::{SettingsReads, TxResult};
use crate::error::Result;
use crate::model::{Check, CheckStatus};
use crate::os::with_suffix;

/// From this size on the write-ahead log is worth a word. Writers let it grow to 8 MiB and cut it back to that.
const LOG_LARGE_BYTES: u64 = 64 << 20;

/// From this many pages on the log lags behind: SQLite wants to fold it in every 1,000.
const LOG_LAG_PAGES: i64 = 10_000;

/// 3.51.3: versions before may damage a database in WAL mode.
const SQLITE_MIN: i32 = 3_051_003;

/// Checks everything that can be checked of an open database. Each read waits for as long as `limit`.
pub(crate) fn check(database: &Database, limit: Duration) -> Vec<Check> {
    let path = database.path();
    // A check that can't be made has failed.
    let found = |name, check: &dyn Fn(&Connection) -> TxResult<Finding>| {
        let finding: Result<Finding> = database.look(&Deadline::within(limit), check);
        named(name, finding.unwrap_or_else(|e| (CheckStatus::Failed, e.to_string())))
    };
    vec![
        found("integrity", &integrity),
        found("foreign keys", &foreign_keys),
        found("schema", &schema),
        found("settings", &settings),
        found("history", &history),
        found("write-ahead log", &|conn| log(conn, path)),
        named("file system", file_system(path)),
        named("sqlite", sqlite_version()),
        named("permissions", permissions(path)),
        named("place", place(database)),
    ]
}

/// Whether the name still means the file that is open, here and in other processes.
fn place(database: &Database) -> Finding {
    let path = database.path();
    if let Err(error) = database.files().check_all() {
        return failed(error.to_string());
    }
    let displaced: Vec<String> = displaced(path).into_iter().map(|pid| format!("PID {pid}")).collect();
    if !displaced.is_empty() {
        return failed(format!(
            "the file was moved, deleted or replaced while others had it open, and what they write is lost to \
             it: end {}",
            displaced.join(", ")
        ));
    }
    match location::other_names(path) {
        0 => ok("every process has this very file open"),
        others => warning(format!(
            "the file has {others} more name{} (hard links): whoever opens it by another name keeps another \
             log, and the two damage it; copy it by a backup instead",
            if others == 1 { "" } else { "s" }
        )),
    }
}

fn named(name: &'static str, (status, detail): Finding) -> Check {
    Check { name, status, detail }
}

fn texts(conn: &Connection, sql: &str) -> TxResult<Vec<String>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn integrity(conn: &Connection) -> TxResult<Finding> {
    let findings = texts(conn, "PRAGMA integrity_check")?;
    if findings == ["ok"] {
        return Ok(ok("every page, row and index is whole"));
    }
    Ok(failed(format!("{}; restore a backup", some_of(&findings).replace('\n', " "))))
}

fn foreign_keys(conn: &Connection) -> TxResult<Finding> {
    let broken = texts(
        conn,
        "SELECT 'a row of ' || \"table\" || ' refers to a row of ' || parent || ' that is not there'
         FROM pragma_foreign_key_check",
    )?;
    Ok(if broken.is_empty() { ok("every reference holds") } else { failed(some_of(&broken)) })
}

fn schema(conn: &Connection) -> TxResult<Finding> {
    let Comparison { broken, others } = schema::compare(conn, SUPPORTED)?;
    if !broken.is_empty() {
        return Ok(failed(some_of(&broken)));
    }
    // What replicates the file may have its tables; nobody need hear of them.
    let others: Vec<String> =
        others.into_iter().filter(|called| !called.starts_with("table \"_litestream_")).collect();
    let beside = if others.is_empty() { String::new() } else { format!("; beside it {}", some_of(&others)) };
    Ok(ok(format!("version {SUPPORTED}, as the migrations make it{beside}")))
}

fn settings(conn: &Connection) -> TxResult<Finding> {
    Ok(sane_settings(&ReadConnection(conn).settings()?))
}

/// Looks at the agents alone in whose history something is wrong.
fn history(conn: &Connection) -> TxResult<Finding> {
    let rows = conn.query_row("SELECT count(*) FROM agent_updates", [], |row| row.get(0))?;
    let mut statement = conn.prepare(
        "SELECT a.agent_id, a.total_updates, count(*), min(u.update_no), max(u.update_no)
         FROM agents AS a
         JOIN agent_updates AS u ON u.agent_id = a.agent_id
         GROUP BY a.agent_id
         HAVING max(u.update_no) - min(u.update_no) + 1 <> count(*) OR max(u.update_no) <> a.total_updates",
    )?;
    let broken = statement.query_map([], |row| {
        Ok(Kept {
            agent_id: row.get(0)?,
            total: row.get(1)?,
            rows: row.get(2)?,
            oldest: row.get(3)?,
            newest: row.get(4)?,
        })
    })?;
    Ok(histories(broken.collect::<rusqlite::Result<Vec<_>>>()?, rows))
}

fn log(conn: &Connection, path: &Path) -> TxResult<Finding> {
    // What can be folded in is folded in, as by any writer; the rest is needed by somebody.
    let (pages, folded): (i64, i64) =
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
    let bytes = fs::metadata(with_suffix(path, "-wal")).map_or(0, |found| found.len());
    let lag = (pages - folded).max(0);
    if bytes < LOG_LARGE_BYTES && lag < LOG_LAG_PAGES {
        return Ok(ok(format!("{} KiB, {lag} pages behind", bytes >> 10)));
    }
    let readers: Vec<String> = readers(path)
        .into_iter()
        .map(|(pid, name)| {
            name.map_or(format!("PID {pid}"), |name| format!("PID {pid} ({})", name.escape_debug()))
        })
        .collect();
    let cause = if readers.is_empty() {
        "the next writers cut it back".to_owned()
    } else {
        format!("a long read holds it back, one of {}", readers.join(", "))
    };
    Ok(warning(format!("{} MiB, {lag} pages behind: {cause}", bytes >> 20)))
}

/// Those that are opened against our advice, and what an earlier version has opened.
fn file_system(path: &Path) -> Finding {
    match location::shared_file_system(path) {
        Ok(None) => ok("none that other machines share"),
        Ok(Some(kind)) => failed(format!(
            "{kind}: if processes of another machine use the file too, or of the host of this virtual one, it will be \
             damaged; move it to a local disk"
        )),
        Err(e) => failed(e.to_string()),
    }
}

fn sqlite_version() -> Finding {
    let version = rusqlite::version();
    if rusqlite::version_number() >= SQLITE_MIN {
        return ok(version);
    }
    failed(format!("{version}: versions before 3.51.3 may damage a database that several processes write"))
}

#[cfg(unix)]
fn permissions(path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: &Path| fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o7777);
    let mut broken = Vec::new();
    for file in [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")] {
        if let Some(mode) = mode(&file).filter(|mode| mode & 0o077 != 0) {
            let file = file.display();
            broken.push(format!("{file} is open to other users (mode {mode:04o}): chmod 600"));
        }
    }
    // Who may write the folder may put another file in the database's place; in one like /tmp only its owner may.
    let folder = folder_of(path);
    if let Some(mode) = mode(folder).filter(|mode| mode & 0o022 != 0 && mode & 0o1000 == 0) {
        broken.push(format!("other users may write in {} (mode {mode:04o}): chmod 700", folder.display()));
    }
    if broken.is_empty() { ok("for its owner alone") } else { failed(some_of(&broken)) }
}

#[cfg(not(unix))]
fn permissions(_path: &Path) -> Finding {
    ok("not looked at on this system")
}
