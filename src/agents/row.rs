//! The row of an agent that must be there.

use crate::backend::statements::{Reader, TxResult};
use crate::error::Error;
use crate::model::{Agent, AgentId};

/// The agent's row, or [`Error::AgentNotFound`].
pub(crate) fn find(reader: &dyn Reader, id: AgentId<'_>) -> TxResult<Agent> {
    reader.agent(id.as_str())?.ok_or_else(|| Error::agent_not_found(id).into())
}
