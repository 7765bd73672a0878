//! The resources: what clients may show without calling a tool.

use percent_encoding::percent_decode_str;
use rmcp::model::{Resource, ResourceTemplate};
use serde::Serialize;
use serde_json::Value;

use super::bounds;
use super::refusal::Refusal;
use super::session::Session;
use super::tools::{self, ListArguments};

pub const AGENT_TEMPLATE: &str = "govstore://agents/{id}";
const AGENTS: &str = "govstore://agents";
const FLEET: &str = "govstore://fleet";
const MIME_TYPE: &str = "application/json";

pub fn resources() -> Vec<Resource> {
    vec![
        Resource::new(AGENTS, "agents")
            .with_title("Agents")
            .with_description(
                "The first agents with their health, and how many there are: what list_agents answers",
            )
            .with_mime_type(MIME_TYPE),
        Resource::new(FLEET, "fleet")
            .with_title("Fleet health")
            .with_description("How many agents there are, and how those in service are doing")
            .with_mime_type(MIME_TYPE),
    ]
}

pub fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(AGENT_TEMPLATE, "agent")
            .with_title("One agent")
            .with_description("Current state, health, metadata and lifecycle events of one agent")
            .with_mime_type(MIME_TYPE),
    ]
}

/// A resource that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Agents,
    Agent(String),
    Fleet,
}

impl Address {
    /// The resource that `uri` names, if any. An agent's id is percent-encoded where it must be.
    pub fn parse(uri: &str) -> Option<Self> {
        match uri {
            AGENTS => Some(Self::Agents),
            FLEET => Some(Self::Fleet),
            _ => {
                let id = uri.strip_prefix(AGENTS)?.strip_prefix('/')?;
                let id = percent_decode_str(id).decode_utf8().ok()?;
                (!id.is_empty()).then(|| Self::Agent(id.into_owned()))
            }
        }
    }
}

/// The resource as a JSON text, bounded as the answer of the tool that says the same. It may block.
pub fn read(session: &Session, address: &Address) -> Result<String, Refusal> {
    let mut value = match address {
        Address::Agents => value(tools::list(session, ListArguments::default())?),
        Address::Agent(agent_id) => value(tools::metadata(session, agent_id, None)?),
        Address::Fleet => value(session.store().health()?),
    };
    if !session.offer.as_v1_0_3 {
        bounds::round(&mut value);
    }
    Ok(value.to_string())
}

fn value(outcome: impl Serialize) -> Value {
    serde_json::to_value(outcome).expect("a resource has no map but of strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_uri_may_be_percent_encoded() {
        let agent = |id: &str| Some(Address::Agent(id.to_owned()));
        assert_eq!(Address::parse("govstore://agents"), Some(Address::Agents));
        assert_eq!(Address::parse("govstore://fleet"), Some(Address::Fleet));
        assert_eq!(Address::parse("govstore://agents/claude_4.1"), agent("claude_4.1"));
        assert_eq!(Address::parse("govstore://agents/a%2Fb%20%C3%A9"), agent("a/b é"));
        assert_eq!(Address::parse("govstore://agents/a/b"), agent("a/b"));
        for bad in ["", "govstore://", "govstore://agents/", "govstore://agents/%ff", "file:///etc/passwd"] {
            assert_eq!(Address::parse(bad), None, "{bad:?}");
        }
    }
}
