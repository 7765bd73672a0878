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
//! Calls block. In async code, put them where blocking is allowed:
//!
//! ```ignore
//! let report = tokio::task::spawn_blocking(move || store.process_update("writer", &update)).await??;
//! ```
//!
//! # Features
//!
//! `cli` (default) is the command line. A server that links the library says `default-features = false`.

mod agent;
mod error;
pub mod governance;
pub mod health;
mod import;
mod process;
mod store;
mod text_enum;
mod timestamp;

pub use agent::{
    Agent, AgentEdit, AgentEvent, AgentFilter, EventKind, FleetHealth, HistoryRow, Lifecycle, Metrics,
    PruneReport, UpdateReport, WindowStatistics,
};
pub use error::{DatabaseError, Error, Result};
pub use governance::{Action, Decision, LegacyStatus, SamplingParams, Update};
pub use health::{Health, HealthStatus, HealthThresholds};
pub use import::{ImportRemark, ImportReport, ImportedAgent};
pub use process::{
    Action as ReapAction, Beat, Judgement, Outcome, Process, ProcessInfo, ProcessState, ReapEvent, ReapPlan,
    ReapReport, Registration, Usage, Verdict,
};
pub use store::{
    Backup, BackupProgress, BackupReport, Check, CheckStatus, Durability, LimitPolicy, RestoreReport,
    Settings, Store, StoreOptions, restore,
};
pub use timestamp::{ParseTimestampError, Timestamp};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
