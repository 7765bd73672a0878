//! Plain types and words: what is stored, shown and decided about, with no SQL, no clock and no wire names.
//!
//! | file | has |
//! | --- | --- |
//! | [`actor`] | for whom something is done to an agent |
//! | [`agent`] | an agent, its id and lifecycle, filters and orders of lists, the fleet's health |
//! | [`update`], [`history`] | what one update did, and the row that is kept of it |
//! | [`patch`] | changes to tags, notes and attributes, as data |
//! | [`event`] | what happened in an agent's life |
//! | [`lock`] | who holds a lock |
//! | [`process`] | a registered process, its heartbeat, a claim on it |
//! | [`run`] | a wrapped server: its tree of processes, its container |
//! | [`calls`] | figures of the calls of a wrapped server's tools |
//! | [`verdict`], [`reap`] | what the reaper thinks of a process, and what it did |
//! | [`check`] | what a check of a database finds |
//! | [`backup`] | what making and restoring a backup reports |
//! | `copy` | what is copied to another database, and what that reports |
//! | [`settings`], [`durability`], [`timestamp`] | settings, what a commit survives, points in time |

mod actor;
mod agent;
mod backup;
mod calls;
mod cancellation;
mod check;
#[cfg(feature = "postgres")]
pub(crate) mod copy;
mod durability;
mod event;
mod history;
mod lock;
mod patch;
mod process;
mod reap;
mod run;
mod settings;
mod timestamp;
mod update;
mod verdict;

pub use actor::{Actor, ActorKind};
pub use agent::{Agent, AgentFilter, AgentOrder, AgentRanking, FleetHealth, Lifecycle};
pub(crate) use agent::{AgentId, AgentState, InvalidAgentId};
pub use backup::{BackupProgress, BackupReport, RestoreReport};
pub use calls::{CallFigures, ToolCalls};
pub use cancellation::Cancellation;
pub use check::{Check, CheckStatus};
#[cfg(feature = "postgres")]
pub use copy::{CopiedTable, CopyProgress, CopyReport};
pub use durability::Durability;
pub(crate) use event::NewEvent;
pub use event::{AgentEvent, EventKind};
pub use history::{HistoryRow, PruneReport, WindowStatistics};
pub(crate) use history::{KeyedUpdate, SurplusHistory};
pub(crate) use lock::LockRow;
pub use lock::{AgentLockInfo, HolderState, LockHolder, OutOfReach};
pub use patch::AgentPatch;
pub(crate) use process::{
    Claim, Claimant, Heartbeat, KnownProcess, Now, OwnRow, ProcessRecord, age_ms, seconds,
};
pub use process::{ClientInfo, DatabaseUser, Process, ProcessInfo, ProcessState};
pub(crate) use reap::Mark;
pub use reap::{
    Action, ClaimOnMe, EndedProcess, Judgement, Outcome, ReapEvent, ReapPlan, ReapReport, SecondLook,
};
pub use run::{Container, ContainerRuntime, ParseRunIdError, RunId};
pub(crate) use settings::LOCK_TIMEOUT;
pub use settings::{LimitPolicy, Settings};
pub use timestamp::{ParseTimestampError, Timestamp};
pub use update::{Metrics, UpdateReport};
pub use verdict::Verdict;
