//! How a connection is made.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::ConnInfo;
use super::failure::Failure;
use super::link::{Link, Step};
use super::runtime::{GivenUp, Runtime, block_on};
use super::tls;
use super::transaction::IDLE_LIMIT;
use super::value::{Columns, statement};
use crate::backend::deadline::Deadline;

/// PostgreSQL 15.
const OLDEST_SERVER: i32 = 150_000;

/// How much longer than a call's deadline a connection may take.
const CONNECT_GRACE: Duration = Duration::from_millis(300);

/// What is called when a notification comes.
pub(crate) type Notice = Arc<dyn Fn() + Send + Sync>;

/// Makes connections to one database.
pub(super) struct Connector {
    address: PathBuf,
    config: Config,
    tls: MakeRustlsConnect,
    /// Whether there is a pooler in between, so that nothing of a session lasts longer than its transaction.
    is_pooled: AtomicBool,
    runtime: Runtime,
}

impl Connector {
    pub fn new(info: ConnInfo, tls: ClientConfig) -> std::io::Result<Self> {
        let address = PathBuf::from(info.shown());
        let (config, tls) = (info.config, MakeRustlsConnect::new(tls));
        Ok(Self { address, config, tls, is_pooled: AtomicBool::new(false), runtime: Runtime::start()? })
    }

    /// A prepared statement was not there: there is a pooler in between, though it hides.
    pub fn note_pooler(&self) {
        self.is_pooled.store(true, Ordering::Relaxed);
    }

    pub fn address(&self) -> &Path {
        &self.address
    }

    /// A connection to a server that can be written. `on_notice` is called, on the thread of the connections, when a
    /// notification comes that the session has asked for.
    pub fn connect(&self, name: &str, on_notice: Option<&Notice>, wait: &Deadline) -> Result<Link, Failure> {
        let warned = Arc::new(AtomicBool::new(false));
        let mut config = self.config.clone();
        // A pooler refuses or ignores the option, or has it from another client.
        let nonce = format!("{:016x}", RandomState::new().hash_one(()));
        if !self.is_pooled.load(Ordering::Relaxed) {
            let options = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
            let idle = IDLE_LIMIT.as_millis();
            let own = format!("-c govstore.session={nonce} -c idle_in_transaction_session_timeout={idle}");
            config.options(format!("{options}{own}"));
        }
        config.application_name(name);
        let limit = wait.remaining() + CONNECT_GRACE;
        let warns = Arc::clone(&warned);
        let tls = self.tls.clone();
        let notify = on_notice.cloned();
        let connecting = self.runtime.handle().spawn(async move {
            let (client, mut connection) = config.connect(tls).await?;
            let task = tokio::spawn(async move {
                let mut next = std::future::poll_fn(|context| connection.poll_message(context)).await;
                while let Some(Ok(message)) = next {
                    match message {
                        AsyncMessage::Notice(notice)
                            if notice.parsed_severity() == Some(Severity::Warning) =>
                        {
                            warns.store(true, Ordering::Release);
                        }
                        AsyncMessage::Notification(_) => notify.iter().for_each(|notify| notify()),
                        _ => {}
                    }
                    next = std::future::poll_fn(|context| connection.poll_message(context)).await;
                }
            });
            Ok::<_, tokio_postgres::Error>((client, task.abort_handle()))
        });
        let abort = connecting.abort_handle();
        let (client, task) = match block_on(connecting, limit, || wait.is_cancelled()) {
            Ok(Ok(Ok(connected))) => connected,
            Ok(Ok(Err(error))) => {
                let failure = cannot_connect(error);
                if failure.is_of_the_options() && !self.is_pooled.swap(true, Ordering::Relaxed) {
                    return self.connect(name, on_notice, wait);
                }
                return Err(failure);
            }
            Ok(Err(error)) => return Err(Failure::Unreachable(error.to_string())),
            Err(given_up) => {
                abort.abort();
                return Err(match given_up {
                    GivenUp::Cancelled => Failure::Cancelled,
                    GivenUp::TimeIsOver => Failure::Silent(limit),
                });
            }
        };
        let mut link = Link::new(client, self.runtime.handle().clone(), task, name.to_owned(), warned);
        let (timeline, session) = look(&link, wait)?;
        link.timeline = timeline;
        link.is_direct = !self.is_pooled.load(Ordering::Relaxed) && session.as_deref() == Some(&nonce);
        Ok(link)
    }
}

/// A server that doesn't answer may do so soon; one that refuses has its reason.
fn cannot_connect(error: tokio_postgres::Error) -> Failure {
    if let Some(reason) = tls::in_words(&error) {
        return Failure::Untrusted(reason);
    }
    match Failure::from(error) {
        Failure::Lost(reason) => Failure::Unreachable(reason),
        refused => refused,
    }
}

/// Which history the server goes on with. Refuses one that can't be written, or is none that we know.
fn look(link: &Link, wait: &Deadline) -> Result<(u32, Option<String>), Failure> {
    // The name of a log file begins with it. What the control file says lags behind a promotion.
    let asked = statement!(
        "SELECT current_setting('server_version_num')::integer AS version, version() AS name,
                pg_is_in_recovery() AS is_standby, current_setting('govstore.session', true) AS session,
                CASE WHEN NOT pg_is_in_recovery()
                     THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline"
    );
    let answers = link.run(vec![Step::Rows(asked)], wait)?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let row = row.ok_or_else(|| Failure::Unreachable("it doesn't say what it is".to_owned()))?;
    let read = || -> crate::backend::statements::TxResult<_> {
        let version: i32 = row.take("version")?;
        let name: String = row.take("name")?;
        let is_standby: bool = row.take("is_standby")?;
        let timeline: Option<String> = row.take("timeline")?;
        let session: Option<String> = row.take("session")?;
        Ok((version, name, is_standby, timeline, session))
    };
    let unknown = || Failure::Unreachable("it doesn't say what it is".to_owned());
    let (version, name, is_standby, timeline, session) = read().map_err(|_| unknown())?;
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
    let timeline = timeline.and_then(|hex| u32::from_str_radix(&hex, 16).ok()).ok_or_else(unknown)?;
    Ok((timeline, session))
}
