//! What a server offers its client: which tools, and answers of which length. `tools` knows which ones there are.

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
pub struct ToolName(pub(super) &'static str);
