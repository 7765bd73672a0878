//! Which server this is, and which others there are.

use std::env;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::{LIST_BYTES, PROCESSES, fitting, is_zero};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tool::{Effect, Field, Tool};
use govstore::Timestamp;
use govstore::{Process, ProcessState};

pub struct GetServerInfo;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

#[derive(Serialize)]
pub struct ServerInfo {
    /// Version of govstore.
    server_version: &'static str,
    /// Day on which the server's program file was written.
    build_date: Option<String>,
    current_pid: u32,
    current_uptime_seconds: u64,
    current_uptime_formatted: String,
    total_server_processes: usize,
    /// The servers that are registered with this database: this one, then the others, oldest first.
    server_processes: Vec<ServerProcess>,
    #[serde(skip_serializing_if = "is_zero")]
    server_processes_left_out: usize,
    /// Never: servers are known by the registry in the database.
    pid_file_exists: bool,
    /// How many servers are meant to be registered at once.
    max_keep_processes: u32,
    /// healthy while there are no more than that, without those of other users and of containers.
    health: Health,
    /// Where the database is, on the machine of the server.
    database_path: PathBuf,
    schema_version: i32,
}

#[derive(Serialize)]
struct ServerProcess {
    /// What it calls itself.
    name: String,
    version: String,
    /// The client that it serves, as that introduced itself; null if that is not known.
    client_name: Option<String>,
    client_version: Option<String>,
    /// The protocol that the two speak.
    protocol_version: Option<String>,
    pid: u32,
    /// Whether it is the one that answers.
    is_current: bool,
    uptime_seconds: u64,
    uptime_formatted: String,
    status: ProcessState,
    /// Seconds since it last said that it lives; null if it registered before the machine was restarted.
    heartbeat_age_seconds: Option<f64>,
    has_heartbeat: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Healthy,
    Degraded,
}

impl Tool for GetServerInfo {
    const NAME: &'static str = "get_server_info";
    const TITLE: &'static str = "Get server information";
    const DESCRIPTION: &'static str = "Get this server's version, the servers that share its database, and \
        where that is. Call it if servers interfere, not for agents. health is degraded while there are more \
        than max_keep_processes.";
    const EFFECT: Effect = Effect::Reads;
    const RESULT: &'static [Field] = &[("server_processes", "array")];
    type Arguments = NoArguments;
    type Outcome = ServerInfo;

    fn call(session: &Session, _: NoArguments) -> Result<ServerInfo, Refusal> {
        let current = session.store().process_id();
        let max_keep_processes = session.store().settings()?.max_processes;
        let plan = session.store().reap_plan()?;
        let is_over = plan.occupants().count() > max_keep_processes as usize;
        let judgements = plan.judgements.into_iter();
        let mut server_processes: Vec<_> =
            judgements.map(|judgement| ServerProcess::of(judgement.process, current)).collect();
        server_processes.sort_by_key(|server| !server.is_current);
        let total_server_processes = server_processes.len();
        if !session.offer.as_v1_0_3 {
            server_processes.truncate(fitting(&server_processes, PROCESSES, LIST_BYTES));
        }
        let uptime = session.started.elapsed();
        Ok(ServerInfo {
            server_version: env!("CARGO_PKG_VERSION"),
            build_date: build_date(),
            current_pid: process::id(),
            current_uptime_seconds: uptime.as_secs(),
            current_uptime_formatted: formatted(uptime),
            total_server_processes,
            server_processes_left_out: total_server_processes - server_processes.len(),
            server_processes,
            pid_file_exists: false,
            max_keep_processes,
            health: if is_over { Health::Degraded } else { Health::Healthy },
            database_path: session.store().path().to_owned(),
            schema_version: session.store().schema_version(),
        })
    }
}

impl ServerProcess {
    fn of(process: Process, current: Option<i64>) -> Self {
        // The clock may have been set back since.
        let uptime =
            (Timestamp::now().to_utc() - process.registered_at.to_utc()).to_std().unwrap_or_default();
        Self {
            is_current: Some(process.process_id) == current,
            uptime_seconds: uptime.as_secs(),
            uptime_formatted: formatted(uptime),
            status: process.state,
            heartbeat_age_seconds: process.heartbeat_age_s,
            has_heartbeat: process.beat_at.is_some(),
            pid: process.pid,
            name: process.name,
            version: process.version,
            client_name: process.client_name,
            client_version: process.client_version,
            protocol_version: process.protocol_version,
        }
    }
}

/// Hours and minutes, as v1.0.3 writes them.
fn formatted(uptime: Duration) -> String {
    let minutes = uptime.as_secs() / 60;
    format!("{}h {}m", minutes / 60, minutes % 60)
}

/// A build's date without a build script: when its file was written.
fn build_date() -> Option<String> {
    let written = env::current_exe().ok()?.metadata().ok()?.modified().ok()?;
    Some(DateTime::<Utc>::from(written).format("%Y-%m-%d").to_string())
}
