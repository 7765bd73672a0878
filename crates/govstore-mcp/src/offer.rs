//! What a server offers its client: which tools, and answers of which length.

use std::str::FromStr;

use super::refusal::Refusal;
use super::tool::{Effect, Entry};
use super::tools::TOOLS;

/// What a server offers its client.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Only tools that change nothing are listed and run. The server itself still registers and beats.
    pub read_only: bool,
    /// Tools that are neither listed nor run.
    pub without: Vec<ToolName>,
    /// Answers have whole rows and no limits, as those of v1.0.3.
    pub as_v1_0_3: bool,
}

impl Offer {
    /// Says why a tool is not offered, if it is not.
    pub(super) fn admits(&self, tool: &Entry) -> Result<(), Refusal> {
        if self.read_only && tool.effect != Effect::Reads {
            return Err(Refusal::ReadOnly { tool: tool.name });
        }
        if self.without.iter().any(|without| without.0 == tool.name) {
            return Err(Refusal::LeftOut { tool: tool.name });
        }
        Ok(())
    }

    /// Whether there is such a tool, and it may be called.
    pub(super) fn has(&self, tool: &str) -> bool {
        self.tools().any(|entry| entry.name == tool)
    }

    /// The tools that may be called, in the order in which clients list them.
    pub(super) fn tools(&self) -> impl Iterator<Item = &'static Entry> {
        TOOLS.iter().filter(|tool| self.admits(tool).is_ok())
    }
}

/// The name of one of the tools.
///
/// ```
/// use govstore_mcp::ToolName;
///
/// assert!("delete_agent".parse::<ToolName>().is_ok());
/// let refused = "delete_agnet".parse::<ToolName>().expect_err("no tool");
/// assert!(refused.to_string().starts_with("there is no tool \"delete_agnet\"; there are process_agent_update, "));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolName(&'static str);

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
