//! Locks on agents. The row of a lock that was released stays, since a token never comes twice.

use tokio_postgres::Row;

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, statement};
use crate::backend::statements::{LockReads, LockWrites, Transaction, TxResult};
use crate::model::{AgentLockInfo, HolderState, LockRow};

impl LockReads for Session<'_> {
    fn lock_of(&self, agent_id: &str) -> TxResult<Option<LockRow>> {
        let found = self.row_or_none(statement!(
            "SELECT process_id, token, acquired_at FROM agent_locks
             WHERE agent_id = $1 AND process_id IS NOT NULL",
            agent_id
        ))?;
        found.map(|found| row(found.take("process_id")?, &found)).transpose()
    }

    fn locks(&self, agent_id: Option<&str>) -> TxResult<Vec<AgentLockInfo>> {
        let rows = self.rows(statement!(
            "SELECT * FROM lock_holders WHERE agent_id = coalesce($1, agent_id) ORDER BY acquired_at, agent_id",
            agent_id
        ))?;
        rows.iter().map(from_row).collect()
    }
}

impl LockWrites for Session<'_> {
    /// The token's upper half is the timeline of the server, less one: a server that was replaced, and doesn't know it,
    /// gives tokens that are smaller than those of its successor, whatever it has lost.
    fn acquire_lock(&self, agent_id: &str, process_id: i64, reason: Option<&str>) -> TxResult<i64> {
        let least = i64::from(self.timeline().saturating_sub(1)) << 32;
        let row = self.change_returning(statement!(
            "INSERT INTO agent_locks AS l (agent_id, token, process_id, acquired_at, renewed_at, reason)
             VALUES ($1, $5 + 1, $2, $3, $3, $4)
             ON CONFLICT (agent_id) DO UPDATE SET
               token = greatest(l.token, $5) + 1,
               process_id = excluded.process_id,
               acquired_at = excluded.acquired_at,
               renewed_at = excluded.renewed_at,
               reason = excluded.reason
             RETURNING token",
            agent_id,
            process_id,
            self.at(),
            reason,
            least,
        ))?;
        row.take("token")
    }

    fn release_lock(&self, agent_id: &str, token: i64, process_id: i64) -> TxResult<bool> {
        let released = self.change(statement!(
            "UPDATE agent_locks SET process_id = NULL, acquired_at = NULL, renewed_at = NULL, reason = NULL
             WHERE agent_id = $1 AND token = $2 AND process_id = $3",
            agent_id,
            token,
            process_id,
        ))?;
        Ok(released == 1)
    }

    fn release_locks_of(&self, process_id: i64) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE agent_locks SET process_id = NULL, acquired_at = NULL, renewed_at = NULL, reason = NULL
             WHERE process_id = $1",
            process_id
        ));
        Ok(())
    }

    fn renew_locks_of(&self, process_id: i64) -> TxResult<()> {
        if self.is_beat_due(process_id, crate::os::clock::monotonic_ms()) {
            self.hold_back(statement!(
                "UPDATE agent_locks SET renewed_at = $2 WHERE process_id = $1",
                process_id,
                self.at()
            ));
        }
        Ok(())
    }
}

/// A held lock.
pub(super) fn row(process_id: i64, row: &Row) -> TxResult<LockRow> {
    Ok(LockRow { process_id, token: row.take("token")?, acquired_at: row.time("acquired_at")? })
}

/// Everything but the state, which is not in the database.
fn from_row(row: &Row) -> TxResult<AgentLockInfo> {
    Ok(AgentLockInfo {
        agent_id: row.take("agent_id")?,
        token: row.take("token")?,
        process_id: row.take("process_id")?,
        pid: row.whole_or_null("pid")?,
        name: row.take("name")?,
        state: HolderState::Unknown,
        acquired_at: row.time("acquired_at")?,
        renewed_at: row.time("renewed_at")?,
        held_for_s: row.take("held_for_s")?,
        heartbeat_age_s: row.take("heartbeat_age_s")?,
        reason: row.take("reason")?,
    })
}
