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
//!     &Update::new().response_text("All tests pass.").complexity(0.2),
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

mod agents;
mod backend;
mod crash_point;
mod error;
pub mod explain;
pub mod governance;
pub mod health;
mod import;
mod liveness;
mod locks;
mod model;
mod os;
mod reaper;
mod registry;
mod store;
mod text_enum;

pub use agents::AgentEdit;
pub use backend::pause::{WritePause, pause_writes};
pub use backend::sqlite::Backup;
pub use error::{DatabaseError, Error, Result};
pub use governance::{
    Action, Decision, LegacyStatus, Patterns, RiskBasis, RiskParts, SamplingParams, Update,
};
pub use health::{Health, HealthStatus, HealthThresholds};
pub use import::{ImportOptions, ImportRemark, ImportReport, ImportedAgent, V1Folder};
pub use model::{
    Action as ReapAction, Actor, ActorKind, Agent, AgentEvent, AgentFilter, AgentLockInfo, AgentOrder,
    AgentPatch, AgentRanking, BackupProgress, BackupReport, CallFigures, Cancellation, Check, CheckStatus,
    ClaimOnMe, ClientInfo, Container, ContainerRuntime, DatabaseUser, Durability, EndedProcess, EventKind,
    FleetHealth, HistoryRow, HolderState, Judgement, Lifecycle, LimitPolicy, LockHolder, Metrics, OutOfReach,
    Outcome, ParseRunIdError, ParseTimestampError, Process, ProcessInfo, ProcessState, PruneReport,
    ReapEvent, ReapPlan, ReapReport, RestoreReport, RunId, SecondLook, Settings, Timestamp, ToolCalls,
    UpdateReport, Verdict, WindowStatistics,
};
#[cfg(feature = "postgres")]
pub use model::{CopiedTable, CopyProgress, CopyReport};
pub use os::Usage;
pub use registry::Beat;
pub use store::{AgentLock, ChangeWatch, Registration, Store, StoreOptions, restore};
#[cfg(feature = "postgres")]
pub use store::{DatabaseCopy, Trial};
pub use text_enum::ParseWordError;

/// Compiles the guide's examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
