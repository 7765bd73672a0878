//! A commit whose fate is unknown, and how it is made known.
//!
//! In SQLite's `walFrames` a commit has an order: header of the log if it begins anew, the pages as frames, the last
//! of them marked as the commit, a sync (under FULL), and then the index in shared memory. Where a step fails,
//! SQLite reports the error and forgets the transaction in the index. It takes nothing out of the log. Once every
//! process has gone, the next one reads the log anew (`walIndexRecover`) up to the last commit frame of an unbroken
//! chain of checksums: a transaction that was forgotten after its commit frame was whole comes back.
//!
//! | COMMIT fails with | in doubt? |
//! | --- | --- |
//! | `SQLITE_BUSY`, a deferred constraint, no memory for the statement | no: the transaction is still open, and nothing of COMMIT was written |
//! | `SQLITE_FULL` | no: a write came up short, and no write comes after the one that completes the commit frame (padding to the sector does, but only without "powersafe overwrite", which SQLite takes for granted; the index says `SQLITE_IOERR_SHMSIZE`) |
//! | `SQLITE_IOERR_FSYNC` | yes: all frames are written, and may be on the device |
//! | `SQLITE_IOERR_WRITE` | yes: it may be that of the commit frame, and a device may do what it says it has not |
//! | `SQLITE_IOERR_SHMSIZE`, `_SHMMAP`, `_NOMEM`, `SQLITE_CORRUPT` | yes: the index comes last |
//! | anything else | yes: one commit too many costs nothing |
//!
//! To read the transaction back would settle nothing: whoever has the database open goes by the index, in which it is
//! not, whatever a recovery would find. What settles it is another commit over the same place of the log, synced.
//! SQLite appends behind what the index knows, so behind the transaction before the one that failed:
//!
//! - Its first frame is at the place of ours, and is a commit frame. That of a transaction of several frames is not,
//!   so the chain of checksums is broken from there on; one of a single frame is replaced as a whole.
//! - Others may have written since our lock was lost. Then it is their frames that lie at that place, and the log is
//!   as good as synced with ours, since a sync is of the whole file. For what we had written to be a whole chain
//!   again, all of theirs would have to be the same bytes: then it would be theirs.
//! - The log may begin anew, now or by others, if it was folded into the database meanwhile. Its header then gets
//!   another salt, and is synced before any frame is written. A frame with the old salt is no part of the chain,
//!   wherever it lies. If it was the failed transaction that began the log anew, then the salt is that of the index
//!   already, header and first frame are written once more, and the first case holds.
//! - That the sync succeeds says something about these frames, though one before has failed. After a failed sync
//!   Linux takes the pages for written; but those of the new frame are written again, and it is enough that they
//!   arrive.
//!
//! - It need not come into the index: that is full in the same place perhaps. Frames and sync are behind it then.
//!
//! Where that doesn't succeed either, it is [`Error::CommitInDoubt`]. From then on this store writes nothing
//! more. It would be the next commit that decides, and that of somebody who was not asked. Reads go on: they see what
//! every other process sees.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, ErrorCode, ffi};

use super::{Fault, Immediate, Store, TxResult, settings, wait};
use crate::error::{Error, Result};

/// Whether a commit of this process is in doubt.
#[derive(Default)]
pub(super) struct Doubt(AtomicBool);

impl Store {
    /// Refuses a write after a commit that is in doubt.
    pub(super) fn refuse_after_doubt(&self) -> Result<()> {
        if self.shared.doubt.0.load(Ordering::Acquire) {
            return Err(Error::RefusedAfterDoubt { path: self.shared.path.clone() });
        }
        Ok(())
    }

    /// From here on this store writes nothing more, and a server that uses it is told to end.
    pub(super) fn end_writes(&self) {
        self.shared.doubt.0.store(true, Ordering::Release);
        self.member().tell_to_exit();
    }
}

/// Whether a COMMIT that failed so may be found in the log. SQLite has rolled the transaction back: otherwise it was
/// still open, and nothing of the COMMIT was done.
pub(super) fn is_left_by(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() != Some(ErrorCode::DiskFull)
}

/// Makes sure that the transaction whose COMMIT has failed is not kept, and says what has become of it.
pub(super) fn settle(conn: &mut Connection, error: rusqlite::Error) -> Fault {
    // The call may have waited for as long as it may; but in doubt it must not be left for the sake of some ms.
    let _waiting = wait::begin_anew(settings::LOCK_TIMEOUT);
    match commit_over_it(conn) {
        Ok(()) => Fault::Sqlite(error),
        Err(Fault::InDoubt(again)) if is_of_the_index(&again) => Fault::Sqlite(error),
        Err(_) => Fault::InDoubt(error),
    }
}

/// Whether a COMMIT failed at the last step: the index had to grow for frames that were written and synced before.
/// Steps that come earlier use the first page of the index alone, which is there.
fn is_of_the_index(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|failure| failure.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP))
}

/// Commits and syncs a transaction that changes nothing.
fn commit_over_it(conn: &mut Connection) -> TxResult<()> {
    let synchronous: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    conn.pragma_update(None, "synchronous", "FULL")?; // before BEGIN: a transaction keeps what it began with
    let settled = rewrite_first_page(conn);
    conn.pragma_update(None, "synchronous", synchronous)?;
    settled
}

/// Writes the first page as it is. An UPDATE of a row to itself would not do: SQLite compares, finds nothing to be
/// written, and commits without a frame. A number in the file's header it writes without a look.
fn rewrite_first_page(conn: &mut Connection) -> TxResult<()> {
    let tx = Immediate::begin(conn)?;
    let version: i32 = tx.0.pragma_query_value(None, "user_version", |row| row.get(0))?;
    tx.0.pragma_update(None, "user_version", version)?;
    tx.commit()
}
