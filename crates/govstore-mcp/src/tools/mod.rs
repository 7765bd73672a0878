//! The thirteen tools of v1.0.3.

mod agents;
mod exports;
mod lifecycle;
mod list;
mod metrics;
mod server_info;
mod update;

pub(super) use agents::metadata;
pub(super) use list::{ListArguments, list};

use super::tool::Entry;

/// Every tool, in the order in which clients list them.
pub(super) const TOOLS: [Entry; 13] = [
    Entry::of::<update::ProcessAgentUpdate>(),
    Entry::of::<metrics::GetGovernanceMetrics>(),
    Entry::of::<list::ListAgents>(),
    Entry::of::<agents::GetAgentMetadata>(),
    Entry::of::<agents::UpdateAgentMetadata>(),
    Entry::of::<exports::GetSystemHistory>(),
    Entry::of::<exports::ExportToFile>(),
    Entry::of::<lifecycle::PauseAgent>(),
    Entry::of::<lifecycle::ResumeAgent>(),
    Entry::of::<lifecycle::ArchiveAgent>(),
    Entry::of::<lifecycle::DeleteAgent>(),
    Entry::of::<lifecycle::ResetMonitor>(),
    Entry::of::<server_info::GetServerInfo>(),
];
