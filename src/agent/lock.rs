//! Locks on agents.

use rusqlite::named_params;

use crate::store::{TxResult, WriteTx};

/// Releases all locks of a process that has ended. Their rows stay, since a token never comes twice.
pub(crate) fn release_locks(tx: &WriteTx<'_>, process_id: i64) -> TxResult<()> {
    tx.prepare_cached(
        "UPDATE agent_locks SET process_id = NULL, acquired_at = NULL, renewed_at = NULL, reason = NULL
         WHERE process_id = :process_id",
    )?
    .execute(named_params! { ":process_id": process_id })?;
    Ok(())
}
