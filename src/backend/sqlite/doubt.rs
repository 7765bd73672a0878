//! A commit whose fate is unknown, and how it is made known.
//!
//! In SQLite's `walFrames` a commit has an order: the header of the log if it begins anew, the pages as frames, the
//! last of them marked as the commit, a sync (under FULL), and then the index in shared memory. Where a step fails,
//! SQLite reports the error and forgets the transaction in the index. It takes nothing out of the log. Once every
//! process has gone, the next one reads the log anew (`walIndexRecover`), up to the last commit frame of an unbroken
//! chain of checksums: a transaction that was forgotten after its commit frame was whole comes back.
//!
//! | COMMIT fails with | in doubt? |
//! | --- | --- |
//! | `SQLITE_BUSY`, a deferred constraint, no memory for the statement | no: the transaction is still open, and nothing of COMMIT was done |
//! | `SQLITE_FULL` | no: a write came up short, and the write that completes the commit frame is the last one |
//! | `SQLITE_IOERR_FSYNC` | yes: all frames are written, and may be on the device |
//! | `SQLITE_IOERR_WRITE` | yes: it may be that of the commit frame, and a device may have done what it says it has not |
//! | `SQLITE_IOERR_SHMSIZE`, `_SHMMAP`, `_NOMEM`, `SQLITE_CORRUPT` | yes: the index comes last |
//! | anything else | yes: one commit too many costs nothing |
//!
//! (Padding to the sector would be written after the commit frame, but SQLite takes "powersafe overwrite" for granted
//! and then pads nothing. That the index has no room it says by `SQLITE_IOERR_SHMSIZE`. On a file system that copies
//! on write, what a short write left may by chance be the very bytes of an older log; that is not looked into.)
//!
//! To read the transaction back would settle nothing. A process that has the database open goes by the index, in which it is
//! not, whatever a recovery would find. What settles it is another commit over the same place of the log, synced. Both
//! begin where the index says that the log ends:
//!
//! - The new transaction is one frame, a commit. If the failed one has several, its first is none, so its chain of
//!   checksums is broken there; if it has one, that is replaced.
//! - Others may have written since our lock was lost. Then their frames lie at that place, the new one comes after
//!   them, and its sync is theirs as well, since it is of the whole file.
//! - The log may begin anew, by us or by others, if it was folded into the database meanwhile. Its header then gets
//!   another salt, and no frame with the old one is part of the chain, wherever it lies. If it was the failed
//!   transaction that began it anew, the index has that salt already: header and first frame are written once more.
//! - After a sync that failed, Linux takes the pages for written, and the next sync says that all is well. The frame
//!   of the new transaction is written after that, so what its sync says is true of it; and more need not arrive.
//! - It need not come into the index, if that can't grow: frame and sync are behind it then.
//! - If there is no room for it (a quota, a limit on the size of files), the log is folded into the database and cut
//!   off first. The salt is another one then.
//!
//! Where that doesn't succeed either, it is [`Error::CommitInDoubt`], and from then on this store writes nothing more:
//! its next commit would decide what nobody has asked it to. Reads go on. They see what every other process sees.

use std::path::Path;

use rusqlite::{Connection, ffi};

use super::immediate::{CommitFault, Immediate};
use super::{busy, connection};
use crate::backend::statements::Fault;
use crate::error::Error;
use crate::model::LOCK_TIMEOUT;

/// Makes sure that the transaction whose COMMIT has failed is not kept, and says what has become of it.
pub(super) fn settle(conn: &mut Connection, error: rusqlite::Error) -> Fault {
    // The call may have waited for as long as it may, but nothing must be left in doubt for the sake of some ms.
    let _waiting = busy::begin_anew(LOCK_TIMEOUT);
    // Before the log is cut off: afterwards nothing shows that it was too large.
    let too_large = conn.path().and_then(|path| connection::file_size_limit(&error, Path::new(path)));
    match commit_over_it(conn) {
        Ok(()) => too_large.map_or_else(|| error.into(), Fault::Refused),
        Err(_) => Fault::InDoubt(Box::new(with_reason(error, too_large.as_ref()))),
    }
}

/// SQLite calls it an I/O error where a file may not become larger, and it is no device that is to be looked for then.
fn with_reason(error: rusqlite::Error, too_large: Option<&Error>) -> rusqlite::Error {
    match (error, too_large) {
        (rusqlite::Error::SqliteFailure(failure, _), Some(Error::FileSizeLimit { limit_bytes, .. })) => {
            let reason = format!(
                "its files may not become larger than {limit_bytes} bytes, a limit that `ulimit -f` raises"
            );
            rusqlite::Error::SqliteFailure(failure, Some(reason))
        }
        (error, _) => error,
    }
}

/// Commits and syncs a transaction that changes nothing.
fn commit_over_it(conn: &mut Connection) -> Result<(), CommitFault> {
    let synchronous: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    conn.pragma_update(None, "synchronous", "FULL")?; // before BEGIN: a transaction keeps what it began with
    let settled = rewrite_first_page(conn).or_else(|_| {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        rewrite_first_page(conn)
    });
    conn.pragma_update(None, "synchronous", synchronous)?;
    settled
}

/// Writes the first page as it is. An UPDATE of a row to itself would not do: SQLite compares, finds nothing to be
/// written, and commits without a frame. A number in the header of the file it writes without a look.
fn rewrite_first_page(conn: &mut Connection) -> Result<(), CommitFault> {
    let tx = Immediate::begin(conn)?;
    let version: i32 = tx.0.pragma_query_value(None, "user_version", |row| row.get(0))?;
    tx.0.pragma_update(None, "user_version", version)?;
    match tx.commit() {
        Err(CommitFault::InDoubt(error)) if is_of_the_index(&error) => Ok(()),
        committed => committed,
    }
}

/// Whether a COMMIT failed at the last step: the index had to grow for frames that were written and synced before.
/// Steps that come earlier use the first page of the index alone, which is there.
fn is_of_the_index(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|failure| failure.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP))
}
