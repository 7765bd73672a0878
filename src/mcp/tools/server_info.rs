//! Which server this is, and which others there are.

use std::path::PathBuf;
use std::time::Duration;

use rmcp::schemars::JsonSchema;
use serde::Serialize;

use super::agents::NoArguments;
use crate::mcp::refusal::Refusal;
use crate::mcp::session::Session;
use crate::mcp::tool::{Effect, Tool};

pub struct GetServerInfo;

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct ServerInfo {
    /// Version of govstore.
    server_version: &'static str,
    /// Day on which the server's program file was made.
    build_date: Option<String>,
    current_pid: u32,
    current_uptime_seconds: u64,
    current_uptime_formatted: String,
    /// Where the database is, on the machine of the server.
    database_path: PathBuf,
    schema_version: i32,
}

impl Tool for GetServerInfo {
    const NAME: &'static str = "get_server_info";
    const TITLE: &'static str = "Get server information";
    const DESCRIPTION: &'static str = "Get this server's version, process and uptime, the other servers on \
        the same database with the age of their heartbeats, and where the database is.";
    const EFFECT: Effect = Effect::Reads;
    type Arguments = NoArguments;
    type Outcome = ServerInfo;

    fn call(session: &Session, _: NoArguments) -> Result<ServerInfo, Refusal> {
        let uptime = session.started.elapsed();
        Ok(ServerInfo {
            server_version: env!("CARGO_PKG_VERSION"),
            build_date: build_date(),
            current_pid: std::process::id(),
            current_uptime_seconds: uptime.as_secs(),
            current_uptime_formatted: formatted(uptime),
            database_path: session.store.path().to_owned(),
            schema_version: session.store.schema_version(),
        })
    }
}

/// Hours and minutes, as v1.0.3 writes them.
fn formatted(uptime: Duration) -> String {
    let minutes = uptime.as_secs() / 60;
    format!("{}h {}m", minutes / 60, minutes % 60)
}

fn build_date() -> Option<String> {
    let made = std::env::current_exe().ok()?.metadata().ok()?.modified().ok()?;
    Some(chrono::DateTime::<chrono::Utc>::from(made).format("%Y-%m-%d").to_string())
}
