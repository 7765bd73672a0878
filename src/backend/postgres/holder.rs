//! Who holds what a statement has waited for in vain, as far as the server shows it to this role.

use std::time::Duration;

use super::link::{Link, Step};
use super::value::{Columns, statement};
use crate::backend::holder::identify;
use crate::backend::statements::TxResult;
use crate::model::{HolderState, LockHolder};

/// How long the server is asked.
const PATIENCE: Duration = Duration::from_millis(200);

/// The process whose transaction has locked an agent's row.
pub(super) fn of_agent_row(link: &Link, agent_id: &str, own_host: &str) -> Option<LockHolder> {
    // The row says which transaction has locked it, the locks say which backend that is, and the backend's application
    // name says which process of ours. What another role may not see of a backend is NULL.
    let asked = statement!(
        "SELECT s.application_name, s.pid AS backend,
                extract(epoch FROM clock_timestamp() - coalesce(s.xact_start, clock_timestamp()))::double precision AS held_s,
                host(s.client_addr) AS client_address,
                p.process_id, p.pid, p.name, p.registered_at, h.host_key, h.name AS host
         FROM agents AS a
         JOIN pg_locks AS l ON l.locktype = 'transactionid' AND l.transactionid = a.xmax AND l.granted
         JOIN pg_stat_activity AS s ON s.pid = l.pid
         LEFT JOIN processes AS p
           ON p.process_id = substring(s.application_name FROM '^govstore:([0-9]{1,18})$')::bigint
         LEFT JOIN hosts AS h ON h.host_key = coalesce(p.host_id, '') || '/' || p.boot_id
         WHERE a.agent_id = $1",
        agent_id
    );
    let answers = link.run_uncancelled(vec![Step::Rows(asked)], PATIENCE).ok()?;
    let row = answers.first()?.rows.first()?;
    let named = || -> TxResult<LockHolder> {
        let application: Option<String> = row.take("application_name")?;
        let backend: i32 = row.take("backend")?;
        let held_for = Duration::try_from_secs_f64(row.take("held_s")?).unwrap_or_default();
        let unregistered = application.as_deref().and_then(|name| name.strip_prefix("govstore pid "));
        let pid = match row.whole_or_null("pid")? {
            Some(pid) => pid,
            None => unregistered.and_then(|pid| pid.parse().ok()).unwrap_or_default(),
        };
        let is_here = row.take::<Option<&str>>("host_key")? == Some(own_host);
        let host = match row.take::<Option<String>>("host")? {
            Some(host) => Some(host),
            None => row.take("client_address")?,
        };
        let name = match (row.take::<Option<String>>("name")?, application) {
            (Some(name), _) => name,
            (None, Some(application)) if pid == 0 => format!("{application}, server process {backend}"),
            (None, _) => format!("server process {backend}"),
        };
        let name = match host.filter(|_| !is_here) {
            Some(host) => format!("{name} on {host}"),
            None => name,
        };
        // What one of this machine is doing can be seen.
        let seen = is_here.then(|| identify(pid, held_for, None));
        Ok(LockHolder {
            pid,
            name,
            process_id: row.take("process_id")?,
            registered_at: row.time_or_null("registered_at")?,
            held_for,
            state: seen.as_ref().map_or(HolderState::Unknown, |seen| seen.state),
            out_of_reach: seen.and_then(|seen| seen.out_of_reach),
        })
    };
    named().ok()
}
