//! Logs: stderr, or a file for clients that swallow stderr. Never stdout, which belongs to the protocol.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged unless `RUST_LOG` says otherwise: what this server does, and what goes wrong below it.
const USUAL: &str = "warn,govstore=info";

/// Sends logs and panics to `file`, else to stderr, at the levels that `RUST_LOG` asks for.
pub fn start(file: Option<&Path>) -> io::Result<()> {
    let wanted = std::env::var("RUST_LOG").ok();
    let levels = wanted.as_deref().map(str::parse::<Targets>);
    let usual = || USUAL.parse().expect("well-formed levels");
    let filter = match &levels {
        Some(Ok(levels)) => levels.clone(),
        _ => usual(),
    };
    let started = match file {
        Some(path) => start_with(filter, Mutex::new(append(path)?)),
        None => start_with(filter, io::stderr),
    };
    if started.is_err() {
        return Ok(()); // the program that links us has its logs already
    }
    if let (Some(Err(error)), Some(wanted)) = (levels, wanted) {
        tracing::warn!(RUST_LOG = wanted, %error, "not understood");
    }
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

fn start_with<W>(filter: Targets, writer: W) -> Result<(), TryInitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // Else a client that closed stderr makes the complaint about it panic.
        .log_internal_errors(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(lines).try_init()
}

/// Opens a log that several servers may write to. It may be read by its owner alone.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
