//! Whether a database is sound, and what its server promises, one finding for each thing that can be wrong.

use std::time::Duration;

use super::database::Database;
use super::migrate::SUPPORTED;
use super::transaction::Session;
use super::value::{Columns, statement};
use crate::backend::deadline::Deadline;
use crate::backend::finding::{Finding, Kept, failed, histories, ok, sane_settings, warning};
use crate::backend::statements::{SettingsReads, TxResult};
use crate::model::{Check, CheckStatus};

/// Checks everything that can be checked of an open database. Each read waits for as long as `limit`.
pub(crate) fn check(database: &Database, limit: Duration) -> Vec<Check> {
    // A check that can't be made has failed.
    let found = |name, check: fn(&Session<'_>) -> TxResult<Finding>| {
        let finding = database.look(&Deadline::within(limit), check);
        let (status, detail) = finding.unwrap_or_else(|e| (CheckStatus::Failed, e.to_string()));
        Check { name, status, detail }
    };
    vec![
        found("server", server),
        found("schema", schema),
        found("settings", settings),
        found("history", history),
        found("durability", durability),
        found("standby", standby),
        found("hosts", hosts),
        found("bloat", bloat),
    ]
}

fn server(session: &Session<'_>) -> TxResult<Finding> {
    let row = session.one_row(statement!(
        "SELECT current_setting('server_version') AS version, current_user::text AS role,
                coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted"
    ))?;
    let (version, role): (String, String) = (row.take("version")?, row.take("role")?);
    let encrypted = if row.take("is_encrypted")? { "encrypted" } else { "not encrypted" };
    Ok(ok(format!("PostgreSQL {version}, as role {role}, {encrypted}")))
}

fn schema(session: &Session<'_>) -> TxResult<Finding> {
    let row = session.one_row(statement!("SELECT max(version) FROM govstore_schema"))?;
    let found: Option<i32> = row.take(0)?;
    Ok(if found == Some(SUPPORTED) {
        ok(format!("version {SUPPORTED}"))
    } else {
        failed(format!("version {}, and this build knows {SUPPORTED}", found.unwrap_or_default()))
    })
}

fn settings(session: &Session<'_>) -> TxResult<Finding> {
    Ok(sane_settings(&session.settings()?))
}

/// Looks at the agents alone in whose history something is wrong.
fn history(session: &Session<'_>) -> TxResult<Finding> {
    let rows: i64 = session.one_row(statement!("SELECT count(*) FROM agent_updates"))?.take(0)?;
    let broken = session.rows(statement!(
        "SELECT a.agent_id, a.total_updates, u.rows, u.oldest, u.newest
         FROM agents AS a
         JOIN (SELECT agent_id, count(*) AS rows, min(update_no) AS oldest, max(update_no) AS newest
               FROM agent_updates GROUP BY agent_id) AS u ON u.agent_id = a.agent_id
         WHERE u.newest - u.oldest + 1 <> u.rows OR u.newest <> a.total_updates
         ORDER BY a.agent_id"
    ))?;
    let kept = |row: &tokio_postgres::Row| {
        Ok(Kept {
            agent_id: row.take("agent_id")?,
            total: row.take("total_updates")?,
            rows: row.take("rows")?,
            oldest: row.take("oldest")?,
            newest: row.take("newest")?,
        })
    };
    Ok(histories(broken.iter().map(kept).collect::<TxResult<Vec<_>>>()?, rows))
}

fn durability(session: &Session<'_>) -> TxResult<Finding> {
    let row = session.one_row(statement!(
        "SELECT string_agg(name || ' = ' || setting, ', ' ORDER BY name) FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'"
    ))?;
    Ok(match row.take::<Option<String>>(0)? {
        None => ok("what is acknowledged is on the server's disk"),
        Some(off) => warning(format!("{off}: a crash of the server may lose acknowledged updates")),
    })
}

fn standby(session: &Session<'_>) -> TxResult<Finding> {
    let row = session.one_row(statement!(
        "SELECT count(*) AS standbys,
                count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous,
                current_setting('synchronous_standby_names') <> '' AS are_wanted
         FROM pg_stat_replication"
    ))?;
    let (standbys, synchronous): (i64, i64) = (row.take("standbys")?, row.take("synchronous")?);
    Ok(match (synchronous, row.take::<bool>("are_wanted")?) {
        (0, true) => warning("a synchronous standby is wanted and none is seen: commits wait for it"),
        (0, false) => warning(format!(
            "none of {standbys} standbys is synchronous: a failover may lose acknowledged updates"
        )),
        (number, _) => ok(format!("{number} synchronous, of {standbys}")),
    })
}

fn hosts(session: &Session<'_>) -> TxResult<Finding> {
    let row = session.one_row(statement!(
        "SELECT count(*) FILTER (WHERE lease_until >= clock_timestamp()) AS there,
                string_agg(name, ', ' ORDER BY name)
                  FILTER (WHERE lease_until < clock_timestamp() AND cleared_at IS NULL) AS lapsed
         FROM hosts"
    ))?;
    let there: i64 = row.take("there")?;
    Ok(match row.take::<Option<String>>("lapsed")? {
        None => ok(format!("{there} with registered processes")),
        Some(lapsed) => warning(format!("the lease of {lapsed} has lapsed; the next reaper frees its rows")),
    })
}

fn bloat(session: &Session<'_>) -> TxResult<Finding> {
    let row = session.one_row(statement!(
        "SELECT string_agg(relname || ' (' || n_dead_tup || ' dead rows of ' || n_live_tup + n_dead_tup || ')', ', ')
         FROM pg_stat_user_tables
         WHERE schemaname = current_schema() AND n_dead_tup > 100000 AND n_dead_tup > n_live_tup"
    ))?;
    Ok(match row.take::<Option<String>>(0)? {
        None => ok("autovacuum keeps up"),
        Some(bloated) => warning(format!("autovacuum doesn't keep up with {bloated}")),
    })
}
