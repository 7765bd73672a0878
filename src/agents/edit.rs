//! A server's own changes to an agent: tags, notes, attributes.

use serde_json::{Map, Value};

use super::lifecycle;
use crate::backend::statements::{Transaction, TxResult};
use crate::model::{Agent, AgentId, AgentPatch};

/// An agent that is being edited: see [`Store::update_agent`](crate::Store::update_agent).
#[derive(Debug)]
pub struct AgentEdit<'a> {
    agent: &'a Agent,
    /// Labels.
    pub tags: Vec<String>,
    /// Free text.
    pub notes: String,
    /// The linking server's own.
    pub attributes: Map<String, Value>,
}

impl AgentEdit<'_> {
    /// The agent as it was when the edit began.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        self.agent
    }
}

/// Changes an agent by what `edit` makes of it. Where that fails nothing is written, and its error is returned.
pub(crate) fn apply<T, E>(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    mut edit: impl FnMut(&mut AgentEdit<'_>) -> Result<T, E>,
) -> TxResult<Result<T, E>> {
    let agent = lifecycle::editable(tx, id, "edited")?;
    let mut draft = AgentEdit {
        agent: &agent,
        tags: agent.tags.clone(),
        notes: agent.notes.clone(),
        attributes: agent.attributes.clone(),
    };
    let outcome = edit(&mut draft);
    if outcome.is_ok() {
        tx.save_edit(id.as_str(), &draft.tags, &draft.notes, &draft.attributes)?;
    } // else nothing was written, and an empty commit changes nothing
    Ok(outcome)
}

/// Changes an agent as a patch says. Returns it as it now is.
pub(crate) fn patch(tx: &dyn Transaction, id: AgentId<'_>, patch: &AgentPatch) -> TxResult<Agent> {
    let mut agent = lifecycle::editable(tx, id, "edited")?;
    agent.tags = patched_tags(agent.tags, patch);
    if let Some(notes) = &patch.notes {
        agent.notes.clone_from(notes);
    }
    for line in patch.appended_notes.iter().filter(|line| !line.is_empty()) {
        if !agent.notes.is_empty() {
            agent.notes.push('\n');
        }
        agent.notes.push_str(line);
    }
    for (name, value) in &patch.attributes {
        if value.is_null() {
            agent.attributes.remove(name);
        } else {
            agent.attributes.insert(name.clone(), value.clone());
        }
    }
    tx.save_edit(id.as_str(), &agent.tags, &agent.notes, &agent.attributes)?;
    Ok(agent)
}

fn patched_tags(present: Vec<String>, patch: &AgentPatch) -> Vec<String> {
    let base = patch.tags.clone().unwrap_or(present).into_iter();
    let kept = base.filter(|tag| !patch.remove_tags.contains(tag));
    let mut tags = Vec::new();
    for tag in kept.chain(patch.add_tags.iter().cloned()) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}
