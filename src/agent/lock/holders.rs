//! Locks for operators: who holds which, and taking one away.

use rusqlite::{Connection, Row, named_params};
use serde::Serialize;

use super::held::Held;
use super::release;
use crate::agent::AgentId;
use crate::agent::event::{self, EventKind};
use crate::agent::record;
use crate::error::{Error, Result};
use crate::process::{HolderState, Witness};
use crate::store::column::Parsed;
use crate::store::{Store, TxResult};
use crate::timestamp::Timestamp;

/// A lock that is held on an agent: a row of the view `lock_holders`, and what its holder is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentLockInfo {
    /// The agent.
    pub agent_id: String,
    /// The fencing token.
    pub token: i64,
    /// The holder's number in the registry.
    pub process_id: i64,
    /// The holder's PID; `None` if it is no longer registered.
    pub pid: Option<u32>,
    /// What the holder calls itself; `None` if it is no longer registered.
    pub name: Option<String>,
    /// What the holder is doing.
    pub state: HolderState,
    /// Since when it is held.
    pub acquired_at: Timestamp,
    /// When the holder last said that it still needs it.
    pub renewed_at: Timestamp,
    /// For how long it has been held, in seconds by wall clock.
    pub held_for_s: f64,
    /// Seconds since the holder's last heartbeat by wall clock; `None` if it is no longer registered.
    pub heartbeat_age_s: Option<f64>,
    /// What for, in the holder's words.
    pub reason: Option<String>,
}

impl Store {
    /// The locks that are held, oldest first.
    ///
    /// One whose holder is [`Gone`](HolderState::Gone) is in nobody's way: whoever wants the agent next clears
    /// it away.
    pub fn locks(&self) -> Result<Vec<AgentLockInfo>> {
        let witness = Witness::call()?;
        self.read(|conn| {
            let mut locks = list(conn, None)?;
            for lock in &mut locks {
                lock.state = witness.look_at(conn, lock.process_id)?;
            }
            Ok(locks)
        })
    }

    /// Takes an agent's lock away from whoever holds it, and records that as an event. Returns the lock as it
    /// was. The holder learns of it with its next write, which fails with [`Error::Fenced`].
    ///
    /// For a holder that hangs. One that is gone is in nobody's way.
    ///
    /// # Errors
    ///
    /// [`Error::NotLocked`], [`Error::AgentNotFound`].
    pub fn unlock_agent(&self, agent_id: &str, reason: Option<&str>) -> Result<AgentLockInfo> {
        let id = AgentId::parse(agent_id)?;
        let witness = Witness::call()?;
        let mut lock = self.write(|tx| {
            record::find(tx, id)?.ok_or_else(|| id.not_found())?;
            let not_locked = || Error::NotLocked { agent_id: id.as_str().to_owned() };
            let lock = list(tx, Some(id))?.pop().ok_or_else(not_locked)?;
            let AgentLockInfo { token, process_id, .. } = lock;
            release(tx, &Held { agent_id: lock.agent_id.clone(), token, process_id })?;
            event::record(tx, id, EventKind::Unlocked, Some(&account(&lock, reason)))?;
            Ok(lock)
        })?;
        lock.state = self.read(|conn| witness.look_at(conn, lock.process_id))?;
        Ok(lock)
    }
}

/// The event's reason: from whom it was taken, and why.
fn account(lock: &AgentLockInfo, reason: Option<&str>) -> String {
    let holder = match (lock.pid, &lock.name) {
        (Some(pid), Some(name)) => format!("PID {pid} ({name})"),
        _ => format!("process {}", lock.process_id),
    };
    match reason {
        Some(reason) => format!("taken from {holder}: {reason}"),
        None => format!("taken from {holder}"),
    }
}

fn list(conn: &Connection, id: Option<AgentId<'_>>) -> TxResult<Vec<AgentLockInfo>> {
    let mut statement = conn.prepare_cached(
        "SELECT * FROM lock_holders
         WHERE agent_id = coalesce(:agent_id, agent_id)
         ORDER BY acquired_at, agent_id",
    )?;
    let rows = statement.query_map(named_params! { ":agent_id": id.map(AgentId::as_str) }, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
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
