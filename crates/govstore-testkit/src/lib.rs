//! What the tests and the benchmarks of govstore share: databases, real servers that live and misbehave as they are
//! told, and an MCP client.
//!
//! A test of what a store does goes through the library's public interface and this crate, so that another backend
//! can pass the very same test: all that differs is in [`Database`].

#![cfg(unix)]
#![allow(missing_docs, reason = "for tests alone, which say more by their names")]
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "the same")]

mod cluster;
mod database;
mod mcp_client;
mod pooler;
mod preload;
mod program;
mod proxy;
mod server;
mod skip;
pub mod test_answerer;
pub mod test_server;
pub mod test_worker;
mod wait;

pub use cluster::{Cluster, Connected};
pub use database::{Database, open, reap};
pub use mcp_client::McpClient;
pub use pooler::Pooler;
pub use preload::compiled;
pub use program::{govstore, program, test_answerer, test_server, test_worker};
pub use proxy::{Network, Proxy};
pub use server::{Launched, PID_NAMESPACE, Server, go, in_pid_namespace, share_with_everybody, state_letter};
pub use skip::can;
pub use wait::{PATIENCE, wait_for, wait_until};

/// What a test returns.
pub type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;
