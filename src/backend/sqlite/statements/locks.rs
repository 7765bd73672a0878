//! Locks on agents. The row of a lock that was released stays, since a token never comes twice.

use rusqlite::{OptionalExtension, Row, named_params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{LockReads, LockWrites, TxResult};
use crate::model::{AgentLockInfo, HolderState, LockRow};

impl<C: OnConnection> LockReads for C {
    fn lock_of(&self, agent_id: &str) -> TxResult<Option<LockRow>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT process_id, token, acquired_at FROM agent_locks
             WHERE agent_id = :agent_id AND process_id IS NOT NULL",
        )?;
        let lock = statement
            .query_row(named_params! { ":agent_id": agent_id }, |found| row(found.get(0)?, found, 1));
        Ok(lock.optional()?)
    }

    fn locks(&self, agent_id: Option<&str>) -> TxResult<Vec<AgentLockInfo>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT * FROM lock_holders
             WHERE agent_id = coalesce(:agent_id, agent_id)
             ORDER BY acquired_at, agent_id",
        )?;
        let rows = statement.query_map(named_params! { ":agent_id": agent_id }, from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl LockWrites for WriteTransaction<'_> {
    fn acquire_lock(&self, agent_id: &str, process_id: i64, reason: Option<&str>) -> TxResult<i64> {
        let mut statement = self.conn().prepare_cached(
            "INSERT INTO agent_locks (agent_id, token, process_id, acquired_at, renewed_at, reason)
             VALUES (:agent_id, 1, :process_id, :now, :now, :reason)
             ON CONFLICT (agent_id) DO UPDATE SET
               token = token + 1,
               process_id = excluded.process_id,
               acquired_at = excluded.acquired_at,
               renewed_at = excluded.renewed_at,
               reason = excluded.reason
             RETURNING token",
        )?;
        let parameters = named_params! {
            ":agent_id": agent_id,
            ":process_id": process_id,
            ":now": self.at_text(),
            ":reason": reason,
        };
        Ok(statement.query_row(parameters, |row| row.get(0))?)
    }

    fn release_lock(&self, agent_id: &str, token: i64, process_id: i64) -> TxResult<bool> {
        let released = self
            .conn()
            .prepare_cached(
                "UPDATE agent_locks SET process_id = NULL, acquired_at = NULL, renewed_at = NULL, reason = NULL
                 WHERE agent_id = :agent_id AND token = :token AND process_id = :process_id",
            )?
            .execute(named_params! {
                ":agent_id": agent_id,
                ":token": token,
                ":process_id": process_id,
            })?;
        Ok(released == 1)
    }

    fn release_locks_of(&self, process_id: i64) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE agent_locks SET process_id = NULL, acquired_at = NULL, renewed_at = NULL, reason = NULL
                 WHERE process_id = :process_id",
            )?
            .execute(named_params! { ":process_id": process_id })?;
        Ok(())
    }

    fn renew_locks_of(&self, process_id: i64) -> TxResult<()> {
        self.conn()
            .prepare_cached("UPDATE agent_locks SET renewed_at = :now WHERE process_id = :process_id")?
            .execute(named_params! { ":process_id": process_id, ":now": self.at_text() })?;
        Ok(())
    }
}

/// A held lock, whose token and time are the columns from `first` on.
pub(super) fn row(process_id: i64, row: &Row<'_>, first: usize) -> rusqlite::Result<LockRow> {
    Ok(LockRow { process_id, token: row.get(first)?, acquired_at: row.get::<_, Parsed<_>>(first + 1)?.0 })
}

/// Everything but the state, which is not in the database.
fn from_row(row: &Row<'_>) -> rusqlite::Result<AgentLockInfo> {
    Ok(AgentLockInfo {
        agent_id: row.get("agent_id")?,
        token: row.get("token")?,
        process_id: row.get("process_id")?,
        pid: row.get("pid")?,
        name: row.get("name")?,
        state: HolderState::Unknown,
        acquired_at: row.get::<_, Parsed<_>>("acquired_at")?.0,
        renewed_at: row.get::<_, Parsed<_>>("renewed_at")?.0,
        held_for_s: row.get("held_for_s")?,
        heartbeat_age_s: row.get("heartbeat_age_s")?,
        reason: row.get("reason")?,
    })
}
