//! Registered processes: their rows, heartbeats, and the claims on them.

use rusqlite::{OptionalExtension, Row, named_params, params};

use crate::backend::sqlite::column::Parsed;
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{ProcessReads, ProcessWrites, TxResult};
use crate::model::{
    Claim, ClaimOnMe, Claimant, ClientInfo, Container, EndedProcess, Heartbeat, KnownProcess, Now, OwnRow,
    Process, ProcessInfo, ProcessRecord, ProcessState, Timestamp, Verdict, age_ms, seconds,
};
use crate::os::{Here, Parent};

/// A process with its heartbeat: what [`from_row`] reads, as one SELECT wherever its rows are found.
macro_rules! select_processes {
    ($rest:literal) => {
        select_processes!(
            "",
            "FROM processes AS p
             LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
             ",
            $rest
        )
    };
    ($with:literal, $from:literal, $rest:literal) => {
        concat!(
            $with,
            "SELECT p.*, h.monotonic_ms, h.beat_at, h.interval_ms, h.recovered_monotonic_ms,
                    EXISTS (SELECT 1 FROM agent_locks AS l WHERE l.process_id = p.process_id) AS holds_locks
             ",
            $from,
            $rest
        )
    };
}

impl<C: OnConnection> ProcessReads for C {
    fn registered_processes(&self, now: &Now<'_>) -> TxResult<Vec<ProcessRecord>> {
        let mut statement = self.conn().prepare_cached(select_processes!(
            "WHERE p.state IN ('running', 'terminating')
             ORDER BY p.process_id"
        ))?;
        let rows = statement.query_map([], |row| from_row(row, now))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn registered_process(&self, process_id: i64, now: &Now<'_>) -> TxResult<Option<ProcessRecord>> {
        let mut statement = self.conn().prepare_cached(select_processes!(
            "WHERE p.process_id = :process_id AND p.state IN ('running', 'terminating')"
        ))?;
        let parameters = named_params! { ":process_id": process_id };
        Ok(statement.query_row(parameters, |row| from_row(row, now)).optional()?)
    }

    fn stale_processes(&self, stale_after_ms: i64, now: &Now<'_>) -> TxResult<Vec<ProcessRecord>> {
        // The heartbeats come first, by their index: however many are fresh, they are not looked at.
        let mut statement = self.conn().prepare_cached(select_processes!(
            "WITH old (process_id) AS (
               SELECT process_id FROM heartbeats
               WHERE boot_id = :boot_id AND monotonic_ms < :now_ms - :stale_after_ms
               UNION ALL
               SELECT process_id FROM heartbeats WHERE boot_id < :boot_id
               UNION ALL
               SELECT process_id FROM heartbeats WHERE boot_id > :boot_id
             )
             ",
            "FROM old
             CROSS JOIN heartbeats AS h ON h.process_id = old.process_id
             CROSS JOIN processes AS p ON p.process_id = old.process_id
             ",
            "WHERE p.state = 'running'
               AND (h.boot_id <> :boot_id OR h.monotonic_ms < :now_ms - 2 * h.interval_ms)
             ORDER BY p.process_id"
        ))?;
        let parameters = named_params! {
            ":boot_id": now.boot_id,
            ":now_ms": now.monotonic_ms,
            ":stale_after_ms": stale_after_ms,
        };
        let rows = statement.query_map(parameters, |row| from_row(row, now))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn is_any_ending_orphaned_or_surplus(
        &self,
        unused_after_ms: i64,
        max_processes: Option<u32>,
        now_ms: i64,
    ) -> TxResult<bool> {
        let mut statement = self.conn().prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM processes WHERE state = 'terminating')
                 OR EXISTS (SELECT 1 FROM processes
                            WHERE parent_gone = 1 AND state = 'running'
                              AND last_activity_monotonic_ms < :now_ms - :unused_after_ms)
                 OR (:max_processes IS NOT NULL
                     AND (SELECT count(*)
                          FROM (SELECT 1 FROM processes WHERE state = 'running' LIMIT :max_processes + 1))
                         > :max_processes)",
        )?;
        let parameters = named_params! {
            ":now_ms": now_ms,
            ":unused_after_ms": unused_after_ms,
            ":max_processes": max_processes,
        };
        Ok(statement.query_row(parameters, |row| row.get(0))?)
    }

    fn ended_processes(&self, last: u32, now: &Now<'_>) -> TxResult<Vec<EndedProcess>> {
        let mut statement = self.conn().prepare_cached(select_processes!(
            "WHERE p.ended_at IS NOT NULL
             ORDER BY p.ended_at DESC, p.process_id DESC
             LIMIT :last"
        ))?;
        let rows = statement.query_map(named_params! { ":last": last }, |row| {
            let process = from_row(row, now)?.process;
            Ok(EndedProcess { process, ended_at: row.get::<_, Parsed<_>>("ended_at")?.0, reaped: None })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn process_by_identity(
        &self,
        pid: u32,
        start_ticks: u64,
        here: &Here,
        of_this_namespace: bool,
    ) -> TxResult<Option<KnownProcess>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT process_id, name, registered_at, state FROM processes
             WHERE pid = :pid AND start_ticks = :start_ticks AND boot_id = :boot_id
               AND (coalesce(pid_namespace, 0) = coalesce(:pid_namespace, 0)) = :of_this_namespace
               AND state IN ('running', 'terminating')
             ORDER BY state = 'terminating'
             LIMIT 1",
        )?;
        let parameters = named_params! {
            ":pid": pid,
            ":start_ticks": start_ticks,
            ":boot_id": here.boot_id,
            ":pid_namespace": here.pid_namespace,
            ":of_this_namespace": of_this_namespace,
        };
        let known = statement.query_row(parameters, |row| {
            Ok(KnownProcess {
                process_id: row.get(0)?,
                name: row.get(1)?,
                registered_at: row.get::<_, Parsed<_>>(2)?.0,
                state: row.get::<_, Parsed<_>>(3)?.0,
            })
        });
        Ok(known.optional()?)
    }

    fn own_row(&self, process_id: i64) -> TxResult<Option<OwnRow>> {
        let found = self
            .conn()
            .prepare_cached("SELECT state, parent_gone FROM processes WHERE process_id = :process_id")?
            .query_row(named_params! { ":process_id": process_id }, |row| {
                Ok(OwnRow { state: row.get::<_, Parsed<_>>(0)?.0, parent_gone: row.get(1)? })
            });
        Ok(found.optional()?)
    }

    fn last_beat_ms(&self, process_id: i64) -> TxResult<Option<i64>> {
        let found = self
            .conn()
            .prepare_cached("SELECT monotonic_ms FROM heartbeats WHERE process_id = :process_id")?
            .query_row(named_params! { ":process_id": process_id }, |row| row.get(0));
        Ok(found.optional()?)
    }

    fn claim_on(&self, process_id: i64) -> TxResult<Option<ClaimOnMe>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT p.claim_verdict, p.claim_evidence, p.claimed_at, p.claimed_by_pid, r.name
             FROM processes AS p
             LEFT JOIN processes AS r
               ON r.pid = p.claimed_by_pid AND r.start_ticks = p.claimed_by_start_ticks AND r.ended_at IS NULL
             WHERE p.process_id = :process_id AND p.state = 'terminating'",
        )?;
        let claim = statement.query_row(named_params! { ":process_id": process_id }, |row| {
            Ok(ClaimOnMe {
                verdict: row.get::<_, Parsed<_>>(0)?.0,
                evidence: row.get(1)?,
                claimed_at: row.get::<_, Parsed<_>>(2)?.0,
                reaper_pid: row.get(3)?,
                reaper_name: row.get(4)?,
            })
        });
        Ok(claim.optional()?)
    }

    fn registered_or_locking(&self) -> TxResult<Vec<i64>> {
        let mut statement = self.conn().prepare_cached(
            "SELECT process_id FROM processes WHERE state IN ('running', 'terminating')
             UNION
             SELECT process_id FROM agent_locks WHERE process_id IS NOT NULL",
        )?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl ProcessWrites for WriteTransaction<'_> {
    fn insert_process(
        &self,
        info: &ProcessInfo,
        here: &Here,
        parent: Option<&Parent>,
        now_ms: i64,
    ) -> TxResult<i64> {
        let mut statement = self.conn().prepare_cached(
            "INSERT INTO processes (
               name, version, pid, host_id, boot_id, pid_namespace, time_namespace, start_ticks, parent_pid,
               parent_start_ticks, uid, registered_at, last_activity_monotonic_ms, run_id, container_runtime,
               container_id_file
             ) VALUES (
               :name, :version, :pid, :host_id, :boot_id, :pid_namespace, :time_namespace, :start_ticks,
               :parent_pid, :parent_start_ticks, :uid, :now, :now_ms, :run_id, :container_runtime, :container_id_file
             )",
        )?;
        Ok(statement.insert(named_params! {
            ":name": info.name,
            ":version": info.version,
            ":pid": here.pid,
            ":host_id": here.host_id,
            ":boot_id": here.boot_id,
            ":pid_namespace": here.pid_namespace,
            ":time_namespace": here.time_namespace,
            ":start_ticks": here.start_ticks,
            ":parent_pid": parent.map(|parent| parent.pid),
            ":parent_start_ticks": parent.map(|parent| parent.start_ticks),
            ":uid": here.uid,
            ":now": self.at_text(),
            ":now_ms": now_ms,
            ":run_id": info.run_id.map(|run_id| run_id.to_string()),
            ":container_runtime": info.container.as_ref().map(|container| container.runtime.as_str()),
            ":container_id_file": info.container.as_ref().map(|container| container.id_file.to_string_lossy()),
        })?)
    }

    fn note_activity(
        &self,
        process_id: i64,
        at: Timestamp,
        monotonic_ms: i64,
        parent_gone: bool,
    ) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE processes SET
                   last_activity_at = :at, last_activity_monotonic_ms = :monotonic_ms, parent_gone = :parent_gone
                 WHERE process_id = :process_id",
            )?
            .execute(params![self.text_of(at), monotonic_ms, parent_gone, process_id])?;
        Ok(())
    }

    fn save_client(&self, process_id: i64, client: &ClientInfo) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE processes SET
                   client_name = :name, client_version = :version, protocol_version = :protocol_version
                 WHERE process_id = :process_id",
            )?
            .execute(named_params! {
                ":process_id": process_id,
                ":name": client.name,
                ":version": client.version,
                ":protocol_version": client.protocol_version,
            })?;
        Ok(())
    }

    fn note_parent_gone(&self, process_id: i64, parent_gone: bool) -> TxResult<()> {
        self.conn()
            .prepare_cached("UPDATE processes SET parent_gone = :parent_gone WHERE process_id = :process_id")?
            .execute(named_params! { ":process_id": process_id, ":parent_gone": parent_gone })?;
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
        self.conn()
            .prepare_cached(
                "INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms)
                 VALUES (:process_id, :boot_id, :now_ms, :now, :interval_ms)
                 ON CONFLICT (process_id) DO UPDATE SET
                   recovered_monotonic_ms = CASE
                     WHEN excluded.monotonic_ms - monotonic_ms > :late_after_ms THEN excluded.monotonic_ms
                     ELSE recovered_monotonic_ms
                   END,
                   monotonic_ms = excluded.monotonic_ms,
                   beat_at = excluded.beat_at,
                   interval_ms = excluded.interval_ms,
                   suspected_monotonic_ms = NULL",
            )?
            .execute(params![process_id, boot_id, now_ms, self.at_text(), interval_ms, late_after_ms])?;
        Ok(())
    }

    fn end_process(&self, process_id: i64, state: ProcessState) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE processes SET
                   state = :state, ended_at = :now,
                   claim_verdict = NULL, claim_evidence = NULL, claimed_at = NULL, claimed_by_pid = NULL,
                   claimed_by_pid_namespace = NULL, claimed_by_start_ticks = NULL, claim_until_monotonic_ms = NULL
                 WHERE process_id = :process_id AND state IN ('running', 'terminating')",
            )?
            .execute(named_params! {
                ":process_id": process_id,
                ":state": state.as_str(),
                ":now": self.at_text(),
            })?;
        self.conn()
            .prepare_cached("DELETE FROM heartbeats WHERE process_id = :process_id")?
            .execute(named_params! { ":process_id": process_id })?;
        Ok(())
    }

    fn forget_ended(&self, up_to: i64) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "DELETE FROM processes
                 WHERE process_id <= :up_to AND state NOT IN ('running', 'terminating')",
            )?
            .execute(named_params! { ":up_to": up_to })?;
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
        self.conn()
            .prepare_cached(
                "UPDATE processes SET
                   state = 'terminating', claim_verdict = :verdict, claim_evidence = :evidence,
                   claimed_at = :now, claimed_by_pid = :pid, claimed_by_pid_namespace = :pid_namespace,
                   claimed_by_start_ticks = :start_ticks, claim_until_monotonic_ms = :until_monotonic_ms
                 WHERE process_id = :process_id",
            )?
            .execute(named_params! {
                ":process_id": process_id,
                ":verdict": verdict.as_str(),
                ":evidence": evidence,
                ":now": self.at_text(),
                ":pid": by.pid,
                ":pid_namespace": by.pid_namespace,
                ":start_ticks": by.start_ticks,
                ":until_monotonic_ms": until_monotonic_ms,
            })?;
        Ok(())
    }

    fn release_claim(&self, process_id: i64, by: &Claimant, until_monotonic_ms: i64) -> TxResult<bool> {
        let released = self
            .conn()
            .prepare_cached(
                "UPDATE processes SET
                   claimed_by_pid = NULL, claimed_by_pid_namespace = NULL, claimed_by_start_ticks = NULL
                 WHERE process_id = :process_id AND state = 'terminating'
                   AND claim_until_monotonic_ms = :until_monotonic_ms
                   AND claimed_by_pid = :pid AND claimed_by_pid_namespace IS :pid_namespace
                   AND claimed_by_start_ticks = :start_ticks",
            )?
            .execute(named_params! {
                ":process_id": process_id,
                ":until_monotonic_ms": until_monotonic_ms,
                ":pid": by.pid,
                ":pid_namespace": by.pid_namespace,
                ":start_ticks": by.start_ticks,
            })?;
        Ok(released == 1)
    }

    fn defer_claim(&self, process_id: i64, until_monotonic_ms: i64) -> TxResult<()> {
        self.conn()
            .prepare_cached(
                "UPDATE processes SET claim_until_monotonic_ms = :until_monotonic_ms
                 WHERE process_id = :process_id",
            )?
            .execute(named_params! {
                ":process_id": process_id,
                ":until_monotonic_ms": until_monotonic_ms,
            })?;
        Ok(())
    }

    fn correct_end(&self, process_id: i64, state: ProcessState) -> TxResult<bool> {
        let corrected = self
            .conn()
            .prepare_cached(
                "UPDATE processes SET state = :state WHERE process_id = :process_id AND state = 'exited'",
            )?
            .execute(named_params! { ":state": state.as_str(), ":process_id": process_id })?;
        Ok(corrected == 1)
    }

    fn note_suspicion(&self, process_id: i64, now_ms: i64) -> TxResult<bool> {
        let is_new = self
            .conn()
            .prepare_cached(
                "SELECT suspected_monotonic_ms IS NULL FROM heartbeats WHERE process_id = :process_id",
            )?
            .query_row(named_params! { ":process_id": process_id }, |row| row.get(0))
            .optional()?;
        // An UPDATE to what is there already would write no page.
        self.conn()
            .prepare_cached(
                "UPDATE heartbeats SET suspected_monotonic_ms = :now_ms WHERE process_id = :process_id",
            )?
            .execute(named_params! { ":process_id": process_id, ":now_ms": now_ms })?;
        Ok(is_new.unwrap_or(false))
    }
}

fn from_row(row: &Row<'_>, now: &Now<'_>) -> rusqlite::Result<ProcessRecord> {
    let boot_id: String = row.get("boot_id")?;
    let this_boot = boot_id == now.boot_id;
    let age_s = |monotonic_ms: i64| this_boot.then(|| seconds(age_ms(now.monotonic_ms, monotonic_ms)));
    let last_activity_at = row.get::<_, Option<Parsed<_>>>("last_activity_at")?.map(|parsed| parsed.0);
    let activity_monotonic_ms = row.get("last_activity_monotonic_ms")?;
    let beat_at = row.get::<_, Option<Parsed<Timestamp>>>("beat_at")?.map(|parsed| parsed.0);
    let beat = match (row.get("monotonic_ms")?, beat_at) {
        (Some(monotonic_ms), Some(beat_at)) => Some(Heartbeat {
            monotonic_ms,
            wall_age_ms: now.at.to_utc().signed_duration_since(beat_at.to_utc()).num_milliseconds(),
            interval_ms: row.get("interval_ms")?,
            recovered_monotonic_ms: row.get("recovered_monotonic_ms")?,
        }),
        _ => None,
    };
    Ok(ProcessRecord {
        claim: claim_from_row(row)?,
        activity_monotonic_ms,
        holds_locks: row.get("holds_locks")?,
        process: Process {
            process_id: row.get("process_id")?,
            name: row.get("name")?,
            version: row.get("version")?,
            client_name: row.get("client_name")?,
            client_version: row.get("client_version")?,
            protocol_version: row.get("protocol_version")?,
            pid: row.get("pid")?,
            host_id: row.get("host_id")?,
            boot_id,
            pid_namespace: row.get("pid_namespace")?,
            time_namespace: row.get("time_namespace")?,
            start_ticks: row.get("start_ticks")?,
            parent_pid: row.get("parent_pid")?,
            parent_start_ticks: row.get("parent_start_ticks")?,
            parent_gone: row.get("parent_gone")?,
            uid: row.get("uid")?,
            state: row.get::<_, Parsed<_>>("state")?.0,
            registered_at: row.get::<_, Parsed<_>>("registered_at")?.0,
            activity_age_s: last_activity_at.and_then(|_| age_s(activity_monotonic_ms)),
            last_activity_at,
            beat_at,
            heartbeat_age_s: beat.as_ref().and_then(|beat| age_s(beat.monotonic_ms)),
            run_id: row.get::<_, Option<Parsed<_>>>("run_id")?.map(|parsed| parsed.0),
            container: container_from_row(row)?,
        },
        beat,
    })
}

fn container_from_row(row: &Row<'_>) -> rusqlite::Result<Option<Container>> {
    let Some(Parsed(runtime)) = row.get("container_runtime")? else { return Ok(None) };
    Ok(Some(Container::new(runtime, row.get::<_, String>("container_id_file")?)))
}

fn claim_from_row(row: &Row<'_>) -> rusqlite::Result<Option<Claim>> {
    let Some(until_monotonic_ms) = row.get("claim_until_monotonic_ms")? else { return Ok(None) };
    let claimant = match row.get("claimed_by_pid")? {
        None => None,
        Some(pid) => Some(Claimant {
            pid,
            pid_namespace: row.get("claimed_by_pid_namespace")?,
            start_ticks: row.get("claimed_by_start_ticks")?,
        }),
    };
    Ok(Some(Claim {
        verdict: row.get::<_, Parsed<_>>("claim_verdict")?.0,
        claimed_at: row.get::<_, Parsed<_>>("claimed_at")?.0,
        claimant,
        until_monotonic_ms,
    }))
}
