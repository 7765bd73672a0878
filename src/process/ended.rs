//! Processes that were registered and have ended, with what the reaper did to them.

use rusqlite::named_params;
use serde::Serialize;

use super::reaper::{self, ReapEvent};
use super::record::{self, Now, Process};
use crate::error::Result;
use crate::store::Store;
use crate::store::column::Parsed;
use crate::timestamp::Timestamp;

/// A process that was registered, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EndedProcess {
    /// The process. Its state says how it ended: by itself, found to be gone, or through a reaper.
    #[serde(flatten)]
    pub process: Process,
    /// When it deregistered, or was found or made to be gone.
    pub ended_at: Timestamp,
    /// The entry of the reaper's ledger that tells why; `None` if no reaper had a part in it.
    pub reaped: Option<ReapEvent>,
}

impl Store {
    /// The newest `last` processes that have ended, those that ended last first. About a thousand are remembered.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::{ProcessInfo, ProcessState};
    ///
    /// drop(store.register(ProcessInfo::new("my-server", "1.0.0"))?);
    /// let ended = store.ended_processes(10)?;
    /// assert_eq!((ended[0].process.state, &ended[0].reaped), (ProcessState::Ended, &None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ended_processes(&self, last: u32) -> Result<Vec<EndedProcess>> {
        let system = record::native()?;
        self.read(|conn| {
            let now = Now::read(&system);
            let mut statement = conn.prepare_cached(
                "SELECT p.*, h.monotonic_ms, h.beat_at, h.interval_ms, h.recovered_monotonic_ms,
                        FALSE AS holds_locks
                 FROM processes AS p
                 LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
                 WHERE p.ended_at IS NOT NULL
                 ORDER BY p.ended_at DESC, p.process_id DESC
                 LIMIT :last",
            )?;
            let rows = statement.query_map(named_params! { ":last": last }, |row| {
                let process = record::from_row(row, &now)?.process;
                Ok(EndedProcess { process, ended_at: row.get::<_, Parsed<_>>("ended_at")?.0, reaped: None })
            })?;
            let mut ended = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let Some(first) = ended.iter().map(|ended| ended.process.process_id).min() else {
                return Ok(ended);
            };
            let mut reaped = reaper::ends(conn, first)?;
            for ended in &mut ended {
                ended.reaped = reaped.remove(&ended.process.process_id);
            }
            Ok(ended)
        })
    }
}
