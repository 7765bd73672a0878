//! A server's own changes to an agent: tags, notes, attributes.

use rusqlite::named_params;
use serde_json::{Map, Value};

use super::lifecycle;
use super::record::{Agent, AgentId};
use crate::error::{Error, Result};
use crate::store::column::Json;
use crate::store::{Store, TxResult, WriteTx};

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

impl Store {
    /// Changes an agent's tags, notes and attributes by what `edit` makes of the present ones, in one
    /// transaction: nobody else's change is lost. Returns what `edit` returned.
    ///
    /// While `edit` runs it holds the database's write lock, so it should be quick, and it cannot call the
    /// store. Its error, or a panic, changes nothing and is passed on as it is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// # store.process_update("writer", &govstore::Update::default())?;
    /// store.update_agent("writer", |agent| {
    ///     agent.tags.push("production".into());
    ///     agent.attributes.insert("model".into(), "large".into());
    ///     Ok::<_, govstore::Error>(())
    /// })?;
    /// assert_eq!(store.agent("writer")?.tags, ["production"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::AgentNotFound`], [`Error::WrongLifecycle`] for a deleted agent, [`Error::AgentLocked`],
    /// [`Error::Fenced`], [`Error::LockTimeout`], and whatever `edit` returns.
    pub fn update_agent<T, E: From<Error>>(
        &self,
        agent_id: &str,
        edit: impl FnOnce(&mut AgentEdit<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let id = AgentId::parse(agent_id)?;
        self.write_once_unlocked(id, |tx| {
            let agent = lifecycle::editable(tx, id, "edited")?;
            let mut draft = AgentEdit {
                agent: &agent,
                tags: agent.tags.clone(),
                notes: agent.notes.clone(),
                attributes: agent.attributes.clone(),
            };
            let outcome = edit(&mut draft);
            if outcome.is_ok() {
                save(tx, id, &draft)?;
            } // else nothing was written, and an empty commit changes nothing
            Ok(outcome)
        })?
    }
}

fn save(tx: &WriteTx<'_>, id: AgentId<'_>, draft: &AgentEdit<'_>) -> TxResult<()> {
    tx.prepare_cached(
        "UPDATE agents SET tags = :tags, notes = :notes, attributes = :attributes WHERE agent_id = :agent_id",
    )?
    .execute(named_params! {
        ":agent_id": id.as_str(),
        ":tags": Json(&draft.tags),
        ":notes": draft.notes,
        ":attributes": Json(&draft.attributes),
    })?;
    Ok(())
}
