//! A SQLite governance store for fleets of MCP server processes.
//!
//! Every AI client starts its own MCP servers, and all of them govern the same agents. govstore is the one
//! file that they share: it keeps each agent's state and history, serialises updates with `BEGIN IMMEDIATE`,
//! and judges health by risk.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("governance.db");
//! use govstore::{Action, HealthStatus, Store, Update};
//!
//! let store = Store::open(&path)?;
//! let report = store.process_update(
//!     "writer",
//!     &Update { response_text: "All tests pass.".into(), complexity: 0.2, ..Update::default() },
//! )?;
//! assert_eq!(report.decision.action, Action::Approve);
//! assert_eq!(report.metrics.health_status, HealthStatus::Healthy);
//! assert_eq!(store.agent("writer")?.total_updates, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server that lives for longer registers, beats, and clears away those that died: see [`Store::register`].
//! What it writes then carries its heartbeat, and says who wrote it.
//!
//! Calls block. In async code, put them where blocking is allowed:
//!
//! ```ignore
//! let report = tokio::task::spawn_blocking(move || store.process_update("writer", &update)).await??;
//! ```
//!
//! # Features
//!
//! `mcp` (default) is the MCP server, and `cli` (default) the command line. A server that links the library says `default-features = false`.

mod agent;
mod crash_point;
mod error;
mod file_id;
pub mod governance;
pub mod health;
mod import;
#[cfg(any(feature = "cli", feature = "mcp"))]
#[doc(hidden)] // what the command line and the MCP server read with; no part of the interface
pub mod lines;
#[cfg(feature = "mcp")]
pub mod mcp;
mod process;
mod store;
mod text_enum;
mod timestamp;

pub use agent::{
    Agent, AgentEdit, AgentEvent, AgentFilter, AgentLock, AgentLockInfo, AgentOrder, AgentRanking, EventKind,
    FleetHealth, HistoryRow, Lifecycle, Metrics, PruneReport, UpdateReport, WindowStatistics,
};
pub use error::{DatabaseError, Error, Result};
pub use governance::{Action, Decision, LegacyStatus, SamplingParams, Update};
pub use health::{Health, HealthStatus, HealthThresholds};
pub use import::{ImportRemark, ImportReport, ImportedAgent};
pub use process::{
    Action as ReapAction, Beat, ClaimOnMe, DatabaseUser, EndedProcess, HolderState, Judgement, LockHolder,
    OutOfReach, Outcome, Process, ProcessInfo, ProcessState, ReapEvent, ReapPlan, ReapReport, Registration,
    SecondLook, Usage, Verdict,
};
pub use store::{
    Backup, BackupProgress, BackupReport, Check, CheckStatus, Durability, LimitPolicy, RestoreReport,
    Settings, Store, StoreOptions, WritePause, pause_writes, restore,
};
pub use timestamp::{ParseTimestampError, Timestamp};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
