//! Registered processes: their rows, heartbeats, and the claims on them.

use tokio_postgres::Row;

use super::ledger;
use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, statement};
use crate::backend::statements::{ProcessReads, ProcessWrites, Transaction, TxResult};
use crate::model::{
    Claim, ClaimOnMe, Claimant, ClientInfo, Container, EndedProcess, Heartbeat, KnownProcess, Now, OwnRow,
    Process, ProcessInfo, ProcessRecord, ProcessState, ReapEvent, Timestamp, Verdict, age_ms, seconds,
};
use crate::os::{Here, Parent};

/// A process with its heartbeat: what [`from_row`] reads. Of a process on another host, how long nothing was heard of it
/// is for how long the lease of that host has lapsed: clocks of other machines say nothing here.
macro_rules! select_processes {
    ($rest:literal) => {
        concat!(
            "SELECT p.*, h.monotonic_ms, h.beat_at, h.interval_ms, h.recovered_monotonic_ms,
                    EXISTS (SELECT 1 FROM agent_locks AS l WHERE l.process_id = p.process_id) AS holds_locks,
                    (extract(epoch FROM CASE
                      WHEN coalesce(p.host_id, '') || '/' || p.boot_id = $1 THEN clock_timestamp() - h.beat_at
                      ELSE clock_timestamp() - least(o.lease_until, clock_timestamp())
                    END) * 1000)::bigint AS wall_age_ms
             FROM processes AS p
             LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
             LEFT JOIN hosts AS o ON o.host_key = coalesce(p.host_id, '') || '/' || p.boot_id
             ",
            $rest
        )
    };
}

impl ProcessReads for Session<'_> {
    fn registered_processes(&self, now: &Now<'_>) -> TxResult<Vec<ProcessRecord>> {
        let rows = self.rows_after(
            self.registry_locks(),
            statement!(
                select_processes!("WHERE p.state IN ('running', 'terminating') ORDER BY p.process_id"),
                self.host_key()
            ),
        )?;
        rows.iter().map(|row| from_row(row, now)).collect()
    }

    fn registered_process(&self, process_id: i64, now: &Now<'_>) -> TxResult<Option<ProcessRecord>> {
        let rows = self.rows_after(
            self.process_locks(process_id),
            statement!(
                select_processes!("WHERE p.process_id = $2 AND p.state IN ('running', 'terminating')"),
                self.host_key(),
                process_id
            ),
        )?;
        rows.first().map(|row| from_row(row, now)).transpose()
    }

    fn stale_processes(&self, stale_after_ms: i64, now: &Now<'_>) -> TxResult<Vec<ProcessRecord>> {
        let rows = self.rows(statement!(
            select_processes!(
                "WHERE p.state = 'running'
                   AND CASE
                     WHEN h.boot_id = $2 THEN h.monotonic_ms < $3 - $4 AND h.monotonic_ms < $3 - 2 * h.interval_ms::numeric
                     ELSE o.lease_until < clock_timestamp()
                   END
                 ORDER BY p.process_id"
            ),
            self.host_key(),
            now.boot_id,
            now.monotonic_ms,
            stale_after_ms,
        ))?;
        rows.iter().map(|row| from_row(row, now)).collect()
    }

    /// Of this host alone: nobody else signals its processes, and the limit is for each host.
    fn is_any_ending_orphaned_or_surplus(
        &self,
        unused_after_ms: i64,
        max_processes: Option<u32>,
        now_ms: i64,
    ) -> TxResult<bool> {
        let row = self.one_row(statement!(
            "WITH own AS (
               SELECT state, parent_gone, last_activity_monotonic_ms FROM processes
               WHERE coalesce(host_id, '') || '/' || boot_id = $1 AND state IN ('running', 'terminating')
             )
             SELECT EXISTS (SELECT 1 FROM own WHERE state = 'terminating')
                 OR EXISTS (SELECT 1 FROM own
                            WHERE parent_gone AND state = 'running' AND last_activity_monotonic_ms < $2 - $3)
                 OR coalesce((SELECT count(*) FROM own WHERE state = 'running') > $4, false)",
            self.host_key(),
            now_ms,
            unused_after_ms,
            max_processes,
        ))?;
        row.take(0)
    }

    fn ended_processes(&self, last: u32, now: &Now<'_>) -> TxResult<Vec<EndedProcess>> {
        let rows = self.rows(statement!(
            select_processes!(
                "WHERE p.ended_at IS NOT NULL ORDER BY p.ended_at DESC, p.process_id DESC LIMIT $2"
            ),
            self.host_key(),
            last
        ))?;
        rows.iter()
            .map(|row| {
                let process = from_row(row, now)?.process;
                Ok(EndedProcess { process, ended_at: row.time("ended_at")?, reaped: None })
            })
            .collect()
    }

    fn process_by_identity(
        &self,
        pid: u32,
        start_ticks: u64,
        here: &Here,
        of_this_namespace: bool,
    ) -> TxResult<Option<KnownProcess>> {
        let known = self.row_or_none(statement!(
            "SELECT process_id, name, registered_at, state FROM processes
             WHERE pid = $1 AND start_ticks = $2 AND boot_id = $3
               AND (coalesce(pid_namespace, 0) = coalesce($4, 0)) = $5
               AND state IN ('running', 'terminating')
             ORDER BY state = 'terminating'
             LIMIT 1",
            pid,
            start_ticks,
            here.boot_id.as_str(),
            here.pid_namespace,
            of_this_namespace,
        ))?;
        let Some(row) = known else { return Ok(None) };
        Ok(Some(KnownProcess {
            process_id: row.take(0)?,
            name: row.take(1)?,
            registered_at: row.time(2)?,
            state: row.parsed(3)?,
        }))
    }

    fn own_row(&self, process_id: i64) -> TxResult<Option<OwnRow>> {
        let rows = self.rows_after(
            self.process_locks(process_id),
            statement!("SELECT state, parent_gone FROM processes WHERE process_id = $1", process_id),
        )?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(OwnRow { state: row.parsed(0)?, parent_gone: row.take(1)? }))
    }

    fn last_beat_ms(&self, process_id: i64) -> TxResult<Option<i64>> {
        let rows = self.rows_after(
            self.process_locks(process_id),
            statement!("SELECT monotonic_ms FROM heartbeats WHERE process_id = $1", process_id),
        )?;
        rows.first().map(|row| row.take(0)).transpose()
    }

    fn claim_on(&self, process_id: i64) -> TxResult<Option<ClaimOnMe>> {
        let claim = self.row_or_none(statement!(
            "SELECT p.claim_verdict, p.claim_evidence, p.claimed_at, p.claimed_by_pid, r.name
             FROM processes AS p
             LEFT JOIN processes AS r
               ON r.pid = p.claimed_by_pid AND r.start_ticks = p.claimed_by_start_ticks AND r.boot_id = p.boot_id
              AND r.ended_at IS NULL
             WHERE p.process_id = $1 AND p.state = 'terminating'",
            process_id
        ))?;
        let Some(row) = claim else { return Ok(None) };
        Ok(Some(ClaimOnMe {
            verdict: row.parsed(0)?,
            evidence: row.take(1)?,
            claimed_at: row.time(2)?,
            reaper_pid: row.whole_or_null(3)?,
            reaper_name: row.take(4)?,
        }))
    }

    fn registered_or_locking(&self) -> TxResult<Vec<i64>> {
        let rows = self.rows(statement!(
            "SELECT process_id FROM processes WHERE state IN ('running', 'terminating')
             UNION
             SELECT process_id FROM agent_locks WHERE process_id IS NOT NULL"
        ))?;
        rows.iter().map(|row| row.take(0)).collect()
    }

    fn has_lapsed_host(&self) -> TxResult<bool> {
        let row = self.one_row(statement!(
            "SELECT EXISTS (SELECT 1 FROM hosts
                            WHERE lease_until < clock_timestamp() AND cleared_at IS NULL AND host_key <> $1)",
            self.host_key()
        ))?;
        row.take(0)
    }
}

impl ProcessWrites for Session<'_> {
    fn insert_process(
        &self,
        info: &ProcessInfo,
        here: &Here,
        parent: Option<&Parent>,
        now_ms: i64,
    ) -> TxResult<i64> {
        self.renew_lease(true);
        let row = self.change_returning(statement!(
            "INSERT INTO processes (
               name, version, pid, host_id, boot_id, pid_namespace, time_namespace, start_ticks, parent_pid,
               parent_start_ticks, uid, registered_at, last_activity_monotonic_ms, run_id, container_runtime,
               container_id_file
             ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             RETURNING process_id",
            info.name.as_str(),
            info.version.as_str(),
            here.pid,
            here.host_id.as_deref(),
            here.boot_id.as_str(),
            here.pid_namespace,
            here.time_namespace,
            here.start_ticks,
            parent.map(|parent| parent.pid),
            parent.map(|parent| parent.start_ticks),
            here.uid,
            self.at(),
            now_ms,
            info.run_id.map(|run_id| run_id.to_string()),
            info.container.as_ref().map(|container| container.runtime.as_str()),
            info.container.as_ref().map(|container| container.id_file.to_string_lossy().into_owned()),
        ))?;
        row.take("process_id")
    }

    fn note_activity(
        &self,
        process_id: i64,
        at: Timestamp,
        monotonic_ms: i64,
        parent_gone: bool,
    ) -> TxResult<()> {
        if self.is_beat_due(process_id, monotonic_ms) {
            self.hold_back(statement!(
                "UPDATE processes SET
                   last_activity_at = $2, last_activity_monotonic_ms = $3, parent_gone = $4
                 WHERE process_id = $1",
                process_id,
                at,
                monotonic_ms,
                parent_gone,
            ));
        }
        Ok(())
    }

    fn save_client(&self, process_id: i64, client: &ClientInfo) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE processes SET client_name = $2, client_version = $3, protocol_version = $4
             WHERE process_id = $1",
            process_id,
            client.name.as_deref(),
            client.version.as_deref(),
            client.protocol_version.as_deref(),
        ));
        Ok(())
    }

    fn note_parent_gone(&self, process_id: i64, parent_gone: bool) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE processes SET parent_gone = $2 WHERE process_id = $1",
            process_id,
            parent_gone
        ));
        Ok(())
    }

    fn save_heartbeat(
        &self,
        process_id: i64,
        boot_id: &str,
        now_ms: i64,
        interval_ms: i64,
        late_after_ms: i64,
    ) -> TxResult<()> {
        if !self.is_beat_due(process_id, now_ms) {
            return Ok(());
        }
        self.renew_lease(false);
        self.hold_back(statement!(
            "INSERT INTO heartbeats AS h (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (process_id) DO UPDATE SET
               recovered_monotonic_ms = CASE
                 WHEN excluded.monotonic_ms::numeric - h.monotonic_ms > $6 THEN excluded.monotonic_ms
                 ELSE h.recovered_monotonic_ms
               END,
               monotonic_ms = excluded.monotonic_ms,
               beat_at = excluded.beat_at,
               interval_ms = excluded.interval_ms,
               suspected_monotonic_ms = NULL",
            process_id,
            boot_id,
            now_ms,
            self.at(),
            interval_ms,
            late_after_ms,
        ));
        self.note_beat(process_id, now_ms, interval_ms);
        Ok(())
    }

    fn end_process(&self, process_id: i64, state: ProcessState) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE processes SET
               state = $2, ended_at = $3,
               claim_verdict = NULL, claim_evidence = NULL, claimed_at = NULL, claimed_by_pid = NULL,
               claimed_by_pid_namespace = NULL, claimed_by_start_ticks = NULL, claim_until_monotonic_ms = NULL
             WHERE process_id = $1 AND state IN ('running', 'terminating')",
            process_id,
            state.as_str(),
            self.at(),
        ));
        self.hold_back(statement!("DELETE FROM heartbeats WHERE process_id = $1", process_id));
        Ok(())
    }

    fn forget_ended(&self, up_to: i64) -> TxResult<()> {
        self.hold_back(statement!(
            "DELETE FROM processes WHERE process_id <= $1 AND state NOT IN ('running', 'terminating')",
            up_to
        ));
        Ok(())
    }

    fn claim_process(
        &self,
        process_id: i64,
        verdict: Verdict,
        evidence: &str,
        by: &Claimant,
        until_monotonic_ms: i64,
    ) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE processes SET
               state = 'terminating', claim_verdict = $2, claim_evidence = $3, claimed_at = $4, claimed_by_pid = $5,
               claimed_by_pid_namespace = $6, claimed_by_start_ticks = $7, claim_until_monotonic_ms = $8
             WHERE process_id = $1",
            process_id,
            verdict.as_str(),
            evidence,
            self.at(),
            by.pid,
            by.pid_namespace,
            by.start_ticks,
            until_monotonic_ms,
        ));
        Ok(())
    }

    fn release_claim(&self, process_id: i64, by: &Claimant, until_monotonic_ms: i64) -> TxResult<bool> {
        let released = self.change(statement!(
            "UPDATE processes SET
               claimed_by_pid = NULL, claimed_by_pid_namespace = NULL, claimed_by_start_ticks = NULL
             WHERE process_id = $1 AND state = 'terminating' AND claim_until_monotonic_ms = $2
               AND claimed_by_pid = $3 AND claimed_by_pid_namespace IS NOT DISTINCT FROM $4
               AND claimed_by_start_ticks = $5",
            process_id,
            until_monotonic_ms,
            by.pid,
            by.pid_namespace,
            by.start_ticks,
        ))?;
        Ok(released == 1)
    }

    fn defer_claim(&self, process_id: i64, until_monotonic_ms: i64) -> TxResult<()> {
        self.hold_back(statement!(
            "UPDATE processes SET claim_until_monotonic_ms = $2 WHERE process_id = $1",
            process_id,
            until_monotonic_ms
        ));
        Ok(())
    }

    fn correct_end(&self, process_id: i64, state: ProcessState) -> TxResult<bool> {
        let corrected = self.change(statement!(
            "UPDATE processes SET state = $2 WHERE process_id = $1 AND state = 'exited'",
            process_id,
            state.as_str()
        ))?;
        Ok(corrected == 1)
    }

    fn free_lapsed_host(&self, rows: i64) -> TxResult<Vec<ReapEvent>> {
        let lapsed = self.row_or_none(statement!(
            "SELECT host_key, name FROM hosts
             WHERE lease_until < clock_timestamp() AND cleared_at IS NULL AND host_key <> $1
             ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED",
            self.host_key()
        ))?;
        let Some(host) = lapsed else { return Ok(Vec::new()) };
        let (host_key, name): (String, String) = (host.take("host_key")?, host.take("name")?);
        let freed = self.change_returning_rows(statement!(
            "WITH victims AS (
               SELECT process_id FROM processes
               WHERE coalesce(host_id, '') || '/' || boot_id = $1 AND state IN ('running', 'terminating')
               ORDER BY process_id LIMIT $2 FOR UPDATE SKIP LOCKED
             ),
             ended AS (
               UPDATE processes AS p SET
                 state = 'forgotten', ended_at = clock_timestamp(),
                 claim_verdict = NULL, claim_evidence = NULL, claimed_at = NULL, claimed_by_pid = NULL,
                 claimed_by_pid_namespace = NULL, claimed_by_start_ticks = NULL, claim_until_monotonic_ms = NULL
               FROM victims AS v WHERE p.process_id = v.process_id
               RETURNING p.*
             ),
             silenced AS (DELETE FROM heartbeats AS h USING ended AS e WHERE h.process_id = e.process_id),
             unlocked AS (
               UPDATE agent_locks AS l SET
                 token = token + 1, process_id = NULL, acquired_at = NULL, renewed_at = NULL, reason = NULL
               FROM ended AS e WHERE l.process_id = e.process_id
             ),
             told AS (
               INSERT INTO reap_events (
                 recorded_at, process_id, name, version, pid, boot_id, pid_namespace, start_ticks, verdict, evidence,
                 outcome, reaper_pid, reaper_process_id
               )
               SELECT clock_timestamp(), process_id, name, version, pid, boot_id, pid_namespace, start_ticks, 'remote',
                      $3, 'forgotten', $4, $5
               FROM ended ORDER BY process_id
               RETURNING *
             )
             SELECT t.*, e.client_name, e.client_version FROM told AS t JOIN ended AS e USING (process_id)
             ORDER BY reap_event_id",
            host_key.as_str(),
            rows,
            format!("nothing was heard of its machine {name} for so long that its lease has lapsed"),
            std::process::id(),
            self.process_id(),
        ))?;
        if freed.len() < usize::try_from(rows).unwrap_or(usize::MAX) {
            self.hold_back(statement!(
                "UPDATE hosts SET cleared_at = clock_timestamp() WHERE host_key = $1",
                host_key
            ));
        }
        freed.iter().map(ledger::from_row).collect()
    }

    fn note_suspicion(&self, process_id: i64, now_ms: i64) -> TxResult<bool> {
        let is_new = self.row_or_none(statement!(
            "SELECT suspected_monotonic_ms IS NULL FROM heartbeats WHERE process_id = $1",
            process_id
        ))?;
        self.hold_back(statement!(
            "UPDATE heartbeats SET suspected_monotonic_ms = $2 WHERE process_id = $1",
            process_id,
            now_ms
        ));
        is_new.map_or(Ok(false), |row| row.take(0))
    }
}

fn from_row(row: &Row, now: &Now<'_>) -> TxResult<ProcessRecord> {
    let boot_id: String = row.take("boot_id")?;
    let this_boot = boot_id == now.boot_id;
    let age_s = |monotonic_ms: i64| this_boot.then(|| seconds(age_ms(now.monotonic_ms, monotonic_ms)));
    let last_activity_at = row.time_or_null("last_activity_at")?;
    let activity_monotonic_ms = row.take("last_activity_monotonic_ms")?;
    let beat_at = row.time_or_null("beat_at")?;
    let beat = match row.take("monotonic_ms")? {
        Some(monotonic_ms) => Some(Heartbeat {
            monotonic_ms,
            // A host without a lease was never heard of: as if it had lapsed for ever.
            wall_age_ms: row.take::<Option<i64>>("wall_age_ms")?.unwrap_or(i64::MAX),
            interval_ms: row.take("interval_ms")?,
            recovered_monotonic_ms: row.take("recovered_monotonic_ms")?,
        }),
        None => None,
    };
    Ok(ProcessRecord {
        claim: claim_from_row(row)?,
        activity_monotonic_ms,
        holds_locks: row.take("holds_locks")?,
        process: Process {
            process_id: row.take("process_id")?,
            name: row.take("name")?,
            version: row.take("version")?,
            client_name: row.take("client_name")?,
            client_version: row.take("client_version")?,
            protocol_version: row.take("protocol_version")?,
            pid: row.whole("pid")?,
            host_id: row.take("host_id")?,
            boot_id,
            pid_namespace: row.whole_or_null("pid_namespace")?,
            time_namespace: row.whole_or_null("time_namespace")?,
            start_ticks: row.whole("start_ticks")?,
            parent_pid: row.whole_or_null("parent_pid")?,
            parent_start_ticks: row.whole_or_null("parent_start_ticks")?,
            parent_gone: row.take("parent_gone")?,
            uid: row.whole_or_null("uid")?,
            state: row.parsed("state")?,
            registered_at: row.time("registered_at")?,
            activity_age_s: last_activity_at.and_then(|_| age_s(activity_monotonic_ms)),
            last_activity_at,
            beat_at,
            heartbeat_age_s: beat.as_ref().and_then(|beat| age_s(beat.monotonic_ms)),
            run_id: row.parsed_or_null("run_id")?,
            container: container_from_row(row)?,
        },
        beat,
    })
}

fn container_from_row(row: &Row) -> TxResult<Option<Container>> {
    let Some(runtime) = row.parsed_or_null("container_runtime")? else { return Ok(None) };
    Ok(Some(Container::new(runtime, row.take::<String>("container_id_file")?)))
}

fn claim_from_row(row: &Row) -> TxResult<Option<Claim>> {
    let Some(until_monotonic_ms) = row.take("claim_until_monotonic_ms")? else { return Ok(None) };
    let claimant = match row.whole_or_null("claimed_by_pid")? {
        None => None,
        Some(pid) => Some(Claimant {
            pid,
            pid_namespace: row.whole_or_null("claimed_by_pid_namespace")?,
            start_ticks: row.whole("claimed_by_start_ticks")?,
        }),
    };
    Ok(Some(Claim {
        verdict: row.parsed("claim_verdict")?,
        claimed_at: row.time("claimed_at")?,
        claimant,
        until_monotonic_ms,
    }))
}
