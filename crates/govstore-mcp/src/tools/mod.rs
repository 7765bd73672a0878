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

use std::str::FromStr;

use super::offer::{Offer, ToolName};
use super::refusal::Refusal;
use super::tool::{Effect, Entry};

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

impl Offer {
    /// Says why a tool is not offered, if it is not.
    pub(crate) fn admits(&self, tool: &Entry) -> Result<(), Refusal> {
        if self.read_only && tool.effect != Effect::Reads {
            return Err(Refusal::ReadOnly { tool: tool.name });
        }
        if self.without.iter().any(|without| without.0 == tool.name) {
            return Err(Refusal::LeftOut { tool: tool.name });
        }
        Ok(())
    }

    /// Whether there is such a tool, and it may be called.
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.tools().any(|entry| entry.name == tool)
    }

    /// The tools that may be called, in the order in which clients list them.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &'static Entry> {
        TOOLS.iter().filter(|tool| self.admits(tool).is_ok())
    }
}

/// There is no tool of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no tool {0:?}; there are {names}", names = TOOLS.map(|tool| tool.name).join(", "))]
pub struct UnknownTool(String);

impl FromStr for ToolName {
    type Err = UnknownTool;

    fn from_str(name: &str) -> Result<Self, UnknownTool> {
        let known = TOOLS.iter().find(|tool| tool.name == name);
        known.map(|tool| Self(tool.name)).ok_or_else(|| UnknownTool(name.to_owned()))
    }
}
