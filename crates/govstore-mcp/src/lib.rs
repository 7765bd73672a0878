//! The MCP server: the thirteen tools of v1.0.3, three resources and two prompts, over the library, on stdio.
//!
//! [`serve`] is a server's life. It opens the database, registers, starts the two threads of `stdio` and
//! answers from one thread, in `server`: a call is looked up in the table of `tools`, waits for its agent's
//! turn in `turns` and for a place in `places`, and runs on a blocking thread, so that `ping` is answered whatever a call
//! waits for. What was read waits in `inbox`, and what is to be written in `outbox`. A
//! tool is a type that says what it takes and gives (`tool`); `argument` has the limits of what it takes, `bounds` those of
//! what it gives, `offer` says which tools there are. `resource` and `prompts` are what a client may show; `subscriptions`
//! tells it when a resource changes, and `completion` completes ids. Meanwhile
//! a `Membership` of govstore-host beats, and its `shutdown` knows when the client is gone; then the server ends by
//! itself.

#![warn(clippy::print_stdout)] // it belongs to the protocol

mod argument;
mod batch;
mod bounds;
mod completion;
mod explained;
mod export;
mod history;
mod inbox;
pub mod lines;
mod log;
mod lone_surrogates;
mod message_id;
mod offer;
mod outbox;
mod places;
mod prompts;
mod refusal;
mod resource;
mod server;
mod session;
mod shape;
#[cfg(unix)]
mod shortcut;
mod stdio;
mod subscriptions;
mod tool;
mod tools;
mod turns;
pub mod update_line;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use tokio::runtime;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use govstore::{ProcessInfo, Registration, Store, StoreOptions};
use govstore_host::{Membership, Parent, Reason, shutdown};
pub use offer::{Offer, ToolName};
use places::CALLS_AT_ONCE;
use server::Server;
use session::Session;
use stdio::Stdio;
pub use tools::UnknownTool;

/// One connection for each of them, and one for the thread that looks for changes while there are subscriptions.
const CONNECTIONS: u32 = CALLS_AT_ONCE + 1;

/// How long answers may take that are still under way when the server ends. A second is all there is.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// How long leaving the registry may take.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// How long those may take that still use the database: the reaping at the start, a call.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);

/// Between two tries to register, at most.
const RETRY_REGISTERING_AFTER: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The database; it is created if there is none.
    pub database: PathBuf,
    /// How to open it; the number of connections is the server's own to choose.
    pub store: StoreOptions,
    /// Where to log, rather than to stderr.
    pub log_file: Option<PathBuf>,
    /// Which tools the client may call, and how long answers are.
    pub offer: Offer,
}

/// Why a server could not start, or broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The database could not be opened, this process could not be registered, the database was lost (moved,
    /// deleted or replaced), or a commit is in doubt.
    #[error(transparent)]
    Store(#[from] govstore::Error),
    /// The log could not be opened.
    #[error("cannot open the log {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused a thread, a signal handler or the like.
    #[error("cannot serve: {0}")]
    System(#[from] io::Error),
    /// The client did not speak the protocol.
    #[error("the client did not begin as MCP clients do: {0}")]
    Protocol(Box<ServerInitializeError>),
}

/// Serves one client on stdin and stdout until it is gone, or a signal says to end.
///
/// Logs to stderr, or to a file, at the levels that `RUST_LOG` asks for. The caller should end the process
/// soon after this returns: the thread that reads stdin can't be stopped in any other way, and calls that
/// took too long are still running. What they commit stays; what they don't is rolled back.
///
/// At the end of input, all calls that were read are answered, as long as answers come and are read. A signal, or the
/// death of the parent, cuts that short: calls that wait are answered as not made.
///
/// # Errors
///
/// One for each way not to start, [`govstore::Error::Displaced`], and [`govstore::Error::RefusedAfterDoubt`]. An end for
/// any other reason is no error.
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    let log = options.log_file.as_deref();
    let _log = log::start(log)
        .map_err(|source| ServeError::Log { path: log.unwrap_or("".as_ref()).to_owned(), source })?;
    let parent = Parent::find();
    let store = options.store.clone().max_connections(CONNECTIONS).open(&options.database)?;
    let registration = register(&store)?;
    tracing::info!(database = %store.path().display(), version = env!("CARGO_PKG_VERSION"), "serving");
    if let Some(warning) = store.warning() {
        tracing::warn!("{warning}");
    }

    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(CALLS_AT_ONCE as usize)
        .build()?;
    let served = runtime.block_on(live(store, options.offer.clone(), registration, parent));
    // The last one to let go of the store closes the database, and folds its log in; where that was deleted, what is in
    // it would be lost. But a call that waits for a lock must not hold up the end.
    runtime.shutdown_timeout(CLOSE_WITHIN);
    served
}

/// Registers. A server that is stopped inside a transaction keeps everybody from that, and this one may be alone with
/// it: so it waits for as long as it takes to help.
fn register(store: &Store) -> govstore::Result<Registration> {
    let began = Instant::now();
    loop {
        let registered = store.register(ProcessInfo::new("govstore", env!("CARGO_PKG_VERSION")));
        let (Err(error @ govstore::Error::LockTimeout { .. }), Some(due)) =
            (&registered, store.second_look_due())
        else {
            return registered;
        };
        if began.elapsed() >= patience(store)? {
            return registered;
        }
        tracing::warn!(%error, "cannot register yet; a process that stays stopped will be woken");
        sleep(due.min(RETRY_REGISTERING_AFTER));
    }
}

/// How long a registered process that is stopped can keep the others from writing, until they have helped it.
fn patience(store: &Store) -> govstore::Result<Duration> {
    let settings = store.settings()?;
    Ok(Duration::from_secs_f64(settings.stale_after_s + 2.0 * settings.heartbeat_interval_s))
}

/// Answers one client on two streams, until `input` ends: [`serve`] without a process around it, that is without
/// the registry, signals and a parent. For a program that has a transport of its own, and for tests.
///
/// # Errors
///
/// [`ServeError::System`], [`ServeError::Protocol`].
pub fn serve_streams(
    store: Store,
    input: impl io::Read + Send + 'static,
    output: impl io::Write + Send + 'static,
) -> Result<(), ServeError> {
    // Dropped at the end, which waits for the calls that are still running: the database is then closed.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(CALLS_AT_ONCE as usize)
        .build()?;
    let session = Arc::new(Session::new(&store, Offer::default()));
    drop(store); // the session's handle is the last one
    runtime.block_on(async {
        let (stdio, hangup) = Stdio::over(|| io::BufReader::new(input), output)?;
        let ending = async {
            hangup.wait().await;
            Reason::ClientGone
        };
        converse(Server::new(session, stdio.outbox()), stdio, ending).await
    })
}

/// The life of a registered server.
async fn live(
    store: Store,
    offer: Offer,
    registration: Registration,
    parent: Parent,
) -> Result<(), ServeError> {
    let session = Arc::new(Session::new(&store, offer));
    let (membership, must_end) = Membership::begin(registration, Arc::clone(&session.beat_now))?;
    let reaper = store.clone();
    spawn_blocking(move || reap(&reaper)); // the client need not wait for the dead
    let served = match Stdio::open() {
        Ok((stdio, hangup)) => match shutdown(hangup.wait(), parent, must_end) {
            Ok(ending) => {
                let server = Server::new(session, stdio.outbox());
                converse(server, stdio, explained(ending, store)).await
            }
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    };
    let Ok(left) = timeout(LEAVE_WITHIN, membership.leave()).await else {
        tracing::warn!("this server's row stays in the registry until it is reaped");
        return served;
    };
    served.and(left.map_err(ServeError::Store))
}

/// What ends the server; if it may be a reaper, the log says by whom and why.
async fn explained(ending: impl Future<Output = Reason>, store: Store) -> Reason {
    let reason = ending.await;
    if matches!(reason, Reason::Signal | Reason::Claimed) {
        let claim = timeout(ANSWER_WITHIN, spawn_blocking(move || store.claim_on_me())).await;
        if let Ok(Ok(Ok(Some(claim)))) = claim {
            tracing::warn!("a reaper ends this server {claim}");
        }
    }
    reason
}

/// Answers the client until something ends the server.
async fn converse(
    server: Server,
    stdio: Stdio,
    ending: impl Future<Output = Reason>,
) -> Result<(), ServeError> {
    let subscriptions = server.subscriptions();
    let mut ending = pin!(ending);
    let mut beginning = pin!(server.serve(stdio));
    let (begun, early) = tokio::select! {
        begun = &mut beginning => (Some(begun), None),
        // What a client has sent is answered, even if it was gone a moment later.
        reason = &mut ending => match reason {
            Reason::ClientGone => (timeout(ANSWER_WITHIN, beginning).await.ok(), Some(reason)),
            _ => (None, Some(reason)),
        },
    };
    let conversation = match begun {
        Some(Ok(conversation)) => conversation,
        None | Some(Err(ServerInitializeError::ConnectionClosed(_))) => return Ok(()),
        Some(Err(other)) => return Err(ServeError::Protocol(Box::new(other))),
    };
    let reason = match early {
        Some(reason) => reason,
        None => ending.await,
    };
    tracing::info!(%reason, "ending");
    subscriptions.end(); // a request to listen is answered when its subscriptions end
    conversation.cancellation_token().cancel(); // of calls that still wait, and else nothing
    if timeout(ANSWER_WITHIN, conversation.waiting()).await.is_err() {
        tracing::warn!("calls were still running");
    }
    Ok(())
}

/// Clears away servers that died, and one that is too many.
fn reap(store: &Store) {
    match store.reap() {
        Ok(report) => {
            for event in report.events {
                tracing::info!(
                    pid = event.pid,
                    verdict = %event.verdict,
                    outcome = %event.outcome,
                    evidence = event.evidence,
                    "reaped"
                );
            }
            warn_of_limit(store, report.plan.occupants().count());
        }
        Err(error) => tracing::warn!(%error, "cannot reap"),
    }
}

/// Says if more servers are registered than there should be.
fn warn_of_limit(store: &Store, occupants: usize) {
    match store.settings() {
        Ok(settings) if occupants > settings.max_processes as usize => tracing::warn!(
            occupants,
            max_processes = settings.max_processes,
            limit_policy = %settings.limit_policy,
            "more servers are registered than max_processes"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot read the settings"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;

    /// What a server wrote.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_conversation_needs_no_process_around_it() -> Result<(), Box<dyn std::error::Error>> {
        let client = json!({ "name": "test", "version": "1" });
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        let lines = [
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }),
        ]
        .map(|message| format!("{message}\n"))
        .concat();
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        let output = Output::default();
        serve_streams(store, io::Cursor::new(lines), output.clone())?;

        let output = output.0.lock().expect("no panic");
        let answers = serde_json::Deserializer::from_slice(&output).into_iter::<Value>();
        let ids: Vec<Value> =
            answers.map(|answer| Ok(answer?["id"].clone())).collect::<serde_json::Result<_>>()?;
        assert_eq!(ids, [1, 2]);
        Ok(())
    }
}
