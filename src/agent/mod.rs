//! Agents: their records, updates, lifecycle, history and events.
//!
//! Each file has the functions of one noun over a transaction or a connection, and the [`Store`] methods that
//! call them through its doors. The row is the truth: nothing here keeps an agent in memory between calls.
//!
//! [`Store`]: crate::Store

mod edit;
pub(crate) mod event;
mod health;
mod history;
mod lifecycle;
mod lock;
mod prune;
mod ranking;
mod record;
mod update;

pub use edit::AgentEdit;
pub use event::{AgentEvent, EventKind};
pub use health::FleetHealth;
pub use history::{HistoryRow, WindowStatistics};
pub use lifecycle::Lifecycle;
pub use lock::{AgentLock, AgentLockInfo};
pub(crate) use lock::{HeldLocks, release_locks};
pub use prune::PruneReport;
pub use ranking::{AgentOrder, AgentRanking};
pub use record::{Agent, AgentFilter};
pub use update::{Metrics, UpdateReport};

pub(crate) use record::AgentId;
