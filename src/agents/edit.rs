//! A server's own changes to an agent: tags, notes, attributes.

use serde_json::{Map, Value};

use super::lifecycle;
use crate::backend::statements::{Transaction, TxResult};
use crate::model::{Agent, AgentId};

/// An agent that is being edited: see [`Store::update_agent`].
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
