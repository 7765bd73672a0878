//! Changes to what people and servers say about an agent, as plain data.

use serde_json::{Map, Value};

/// Changes to an agent's tags, notes and attributes, for [`Store::patch_agent`](crate::Store::patch_agent).
///
/// It says what to change, and not what the outcome is: its maker need not know how the agent is now, nor keep
/// others from changing it meanwhile.
///
/// ```
/// use govstore::AgentPatch;
///
/// let patch = AgentPatch::new().add_tag("production").remove_tag("trial").append_note("moved to the large model");
/// # assert_ne!(patch, AgentPatch::new());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct AgentPatch {
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) remove_tags: Vec<String>,
    pub(crate) add_tags: Vec<String>,
    pub(crate) notes: Option<String>,
    pub(crate) appended_notes: Vec<String>,
    pub(crate) attributes: Map<String, Value>,
}

impl AgentPatch {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces all tags, before others are taken away and added.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Takes a tag away, if it is there.
    pub fn remove_tag(mut self, tag: impl Into<String>) -> Self {
        self.remove_tags.push(tag.into());
        self
    }

    /// Adds a tag, unless it is there.
    pub fn add_tag(mut self, tag: impl Into<String>) -> Self {
        self.add_tags.push(tag.into());
        self
    }

    /// Replaces the notes, before anything is added to them.
    pub fn notes(mut self, notes: impl Into<String>) -> Self {
        self.notes = Some(notes.into());
        self
    }

    /// Adds a line to the notes; an empty one adds nothing.
    pub fn append_note(mut self, line: impl Into<String>) -> Self {
        self.appended_notes.push(line.into());
        self
    }

    /// Sets an attribute; `Value::Null` takes it away.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }
}
