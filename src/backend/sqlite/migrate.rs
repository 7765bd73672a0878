//! The schema: numbered files, applied in order inside one `BEGIN IMMEDIATE`.
//!
//! A small function of our own and no crate, since several of those read the version before they take the
//! lock, and two openers then migrate both.

use std::path::Path;

use rusqlite::Connection;

use super::connection::explain_fault;
use super::migrations::{MIGRATIONS, SUPPORTED};
use super::schema;
use super::transaction::{OnConnection, immediate};
use crate::backend::deadline::Deadline;
use crate::backend::finding::some_of;
use crate::backend::statements::TxResult;
use crate::crash_point;
use crate::error::{Error, Result};

/// "govs": which application a SQLite file belongs to (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x676f_7673;

/// "govr": a database of ours that a restore has replaced. Nobody is to go on with it by mistake.
const REPLACED_ID: i32 = 0x676f_7672;

/// The schema version of a file that is ours, 0 if it is empty. Refuses any other, and one whose schema is not as we
/// made it. Changes nothing.
pub(super) fn identify(conn: &Connection, path: &Path, wait: &Deadline) -> Result<i32> {
    ours(conn, path).map_err(|fault| explain_fault(fault, path, wait.waited()))
}

/// Brings the schema to [`SUPPORTED`].
pub(super) fn migrate(conn: &mut Connection, path: &Path, wait: &Deadline) -> Result<()> {
    if version(conn, path).map_err(|fault| explain_fault(fault, path, wait.waited()))? == SUPPORTED {
        return Ok(()); // no lock for the usual case
    }
    immediate(conn, None, |tx| {
        let tx = tx.conn();
        let found = ours(tx, path)?; // again, now that nobody else can migrate
        for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
            tx.execute_batch(migration)?;
            crash_point::reach("during a migration");
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", SUPPORTED)?;
        Ok(())
    })
    .map_err(|fault| explain_fault(fault, path, wait.waited()))
}

/// Marks a database as replaced: opening it is refused from here on.
pub(super) fn mark_replaced(tx: &Connection) -> TxResult<()> {
    Ok(tx.pragma_update(None, "application_id", REPLACED_ID)?)
}

/// Takes that mark away.
pub(super) fn reinstate(tx: &Connection) -> TxResult<()> {
    Ok(tx.pragma_update(None, "application_id", APPLICATION_ID)?)
}

/// The schema version of a file that is ours or empty, if the schema is as we made it.
fn ours(conn: &Connection, path: &Path) -> TxResult<i32> {
    loop {
        let found = version(conn, path)?;
        let broken = if found == 0 { Vec::new() } else { schema::compare(conn, found)?.broken };
        if broken.is_empty() {
            return Ok(found);
        }
        // Unless somebody has migrated it between two looks. Versions only grow, so this ends.
        if version(conn, path)? == found {
            return Err(Error::ForeignSchema { path: path.to_owned(), what: some_of(&broken) }.into());
        }
    }
}

/// The schema version of a file that is ours or empty.
fn version(conn: &Connection, path: &Path) -> TxResult<i32> {
    let (application_id, found, objects): (i32, i32, i64) = conn.query_row(
        "SELECT
           (SELECT application_id FROM pragma_application_id),
           (SELECT user_version FROM pragma_user_version),
           (SELECT count(*) FROM sqlite_schema)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let path = || path.to_owned();
    let empty = application_id == 0 && found == 0 && objects == 0;
    if application_id == REPLACED_ID {
        return Err(Error::Replaced { path: path() }.into());
    }
    if application_id != APPLICATION_ID && !empty {
        return Err(Error::ForeignDatabase { path: path(), application_id }.into());
    }
    if found <= 0 && !empty {
        let what = format!("no database of ours has schema version {found}");
        return Err(Error::ForeignSchema { path: path(), what }.into());
    }
    if found > SUPPORTED {
        return Err(Error::SchemaTooNew { path: path(), found, supported: SUPPORTED }.into());
    }
    Ok(found)
}
