//! Completion of an agent's id, where a resource or a prompt takes one.

use govstore::{AgentFilter, AgentOrder};
use rmcp::model::{CompleteRequestParams, CompletionInfo, Reference};

use super::prompts;
use super::refusal::Refusal;
use super::resource::AGENT_TEMPLATE;
use super::session::Session;

/// What an agent's id is called wherever it is completed.
const ID: &str = "id";

/// The beginning of the id that is to be completed, or why nothing is completed here.
pub fn prefix(request: CompleteRequestParams) -> Result<String, String> {
    let (place, has_id) = match &request.r#ref {
        Reference::Resource(template) => {
            (format!("resource template {:?}", template.uri), template.uri == AGENT_TEMPLATE)
        }
        Reference::Prompt(prompt) => {
            (format!("prompt {:?}", prompt.name), prompt.name == prompts::REVIEW_AGENT)
        }
        _ => return Err("a ref is a resource template or a prompt".to_owned()),
    };
    match request.argument.name.as_str() {
        ID if has_id => Ok(request.argument.value),
        name => Err(format!(
            "{place} has no argument {name:?} to complete; {AGENT_TEMPLATE} and {} have {ID:?}",
            prompts::REVIEW_AGENT
        )),
    }
}

/// The first ids that begin so, upper and lower case being different, and how many there are. It may block.
pub fn ids(session: &Session, prefix: String) -> Result<CompletionInfo, Refusal> {
    #[expect(clippy::cast_possible_truncation, reason = "a hundred")]
    let limit = CompletionInfo::MAX_VALUES as u32;
    let filter = AgentFilter::new().id_starts_with(prefix).limit(limit);
    let found = session.store().first_agents(AgentOrder::Id, &filter)?;
    let ids: Vec<String> = found.agents.into_iter().map(|agent| agent.agent_id).collect();
    let has_more = (ids.len() as u64) < found.matching;
    let total = u32::try_from(found.matching).ok();
    Ok(CompletionInfo::with_pagination(ids, total, has_more).expect("the filter has the same limit"))
}
