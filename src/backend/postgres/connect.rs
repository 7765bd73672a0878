//! How a connection is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Config, NoTls};

use super::failure::Failure;
use super::link::{Link, Step};
use super::runtime::{GivenUp, Runtime, block_on};
use super::value::{Columns, statement};
use crate::backend::deadline::Deadline;

/// PostgreSQL 15.
const OLDEST_SERVER: i32 = 150_000;

/// How much longer than a call's deadline a connection may take.
const CONNECT_GRACE: Duration = Duration::from_millis(500);

/// Makes connections to one database.
pub(super) struct Connector {
    address: PathBuf,
    config: Config,
    runtime: Runtime,
}

impl Connector {
    pub fn new(address: PathBuf, config: Config) -> std::io::Result<Self> {
        Ok(Self { address, config, runtime: Runtime::start()? })
    }

    pub fn address(&self) -> &Path {
        &self.address
    }

    /// A connection to a server that can be written.
    pub fn connect(&self, wait: &Deadline) -> Result<Link, Failure> {
        let warned = Arc::new(AtomicBool::new(false));
        let config = self.config.clone();
        let limit = wait.remaining() + CONNECT_GRACE;
        let warns = Arc::clone(&warned);
        let connecting = self.runtime.handle().spawn(async move {
            let (client, mut connection) = config.connect(NoTls).await?;
            let task = tokio::spawn(async move {
                let mut next = std::future::poll_fn(|context| connection.poll_message(context)).await;
                while let Some(Ok(message)) = next {
                    if let AsyncMessage::Notice(notice) = message
                        && notice.parsed_severity() == Some(Severity::Warning)
                    {
                        warns.store(true, Ordering::Release);
                    }
                    next = std::future::poll_fn(|context| connection.poll_message(context)).await;
                }
            });
            Ok::<_, tokio_postgres::Error>((client, task.abort_handle()))
        });
        let abort = connecting.abort_handle();
        let (client, task) = match block_on(connecting, limit, || wait.is_cancelled()) {
            Ok(Ok(Ok(connected))) => connected,
            Ok(Ok(Err(error))) => return Err(cannot_connect(error)),
            Ok(Err(error)) => return Err(Failure::Unreachable(error.to_string())),
            Err(given_up) => {
                abort.abort();
                return Err(match given_up {
                    GivenUp::Cancelled => Failure::Cancelled,
                    GivenUp::TimeIsOver => Failure::Silent(limit),
                });
            }
        };
        let mut link = Link::new(client, task, warned);
        link.timeline = timeline(&link, wait)?;
        Ok(link)
    }
}

/// A server that doesn't answer may do so soon; one that refuses has its reason.
fn cannot_connect(error: tokio_postgres::Error) -> Failure {
    match Failure::from(error) {
        Failure::Lost(reason) => Failure::Unreachable(reason),
        refused => refused,
    }
}

/// Which history the server goes on with. Refuses one that can't be written, or is none that we know.
fn timeline(link: &Link, wait: &Deadline) -> Result<u32, Failure> {
    // The name of a log file begins with it. What the control file says lags behind a promotion.
    let asked = statement!(
        "SELECT current_setting('server_version_num')::integer AS version, version() AS name,
                pg_is_in_recovery() AS is_standby,
                CASE WHEN NOT pg_is_in_recovery()
                     THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline"
    );
    let answers = link.run(&[Step::Rows(&asked)], wait)?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let row = row.ok_or_else(|| Failure::Unreachable("it doesn't say what it is".to_owned()))?;
    let read = || -> crate::backend::statements::TxResult<_> {
        let version: i32 = row.take("version")?;
        let name: String = row.take("name")?;
        let is_standby: bool = row.take("is_standby")?;
        let timeline: Option<String> = row.take("timeline")?;
        Ok((version, name, is_standby, timeline))
    };
    let unknown = || Failure::Unreachable("it doesn't say what it is".to_owned());
    let (version, name, is_standby, timeline) = read().map_err(|_| unknown())?;
    if version < OLDEST_SERVER || !name.starts_with("PostgreSQL ") {
        let short: String = name.chars().take(60).collect();
        return Err(Failure::Refused {
            code: tokio_postgres::error::SqlState::FEATURE_NOT_SUPPORTED,
            message: format!("it is {short}, and PostgreSQL 15 or later is needed"),
            rule: None,
        });
    }
    if is_standby {
        return Err(Failure::Unreachable("it is a standby, which can't be written".to_owned()));
    }
    timeline.and_then(|hex| u32::from_str_radix(&hex, 16).ok()).ok_or_else(unknown)
}
