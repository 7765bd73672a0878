//! Who does something to an agent.

use std::fmt;

use crate::text_enum::text_enum;

text_enum! {
    /// What kind of actor did something.
    #[non_exhaustive]
    pub enum ActorKind {
        /// A person, on the command line or the page.
        Operator => "operator",
        /// An MCP client, by a tool call.
        Client => "client",
        /// A program that links the library, and named nobody else.
        Library => "library",
    }
}

/// For whom a store acts: what it records with each event, and what it may undo. See
/// [`Store::acting_as`](crate::Store::acting_as).
///
/// ```
/// use govstore::Actor;
///
/// assert_eq!(Actor::client("claude-code 2.1").to_string(), "client claude-code 2.1");
/// assert_eq!(Actor::operator().to_string(), "operator");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    kind: ActorKind,
    name: Option<String>,
}

/// Longer names are cut: the schema takes so many characters.
const NAME_MAX_CHARS: usize = 200;

impl Actor {
    /// A person. What an operator paused or archived, nobody else can undo.
    #[must_use]
    pub const fn operator() -> Self {
        Self { kind: ActorKind::Operator, name: None }
    }

    /// An MCP client, by its name and version.
    #[must_use]
    pub fn client(name: &str) -> Self {
        Self { kind: ActorKind::Client, name: None }.named(name)
    }

    /// A program that links the library: what a store acts as unless it is told otherwise.
    #[must_use]
    pub const fn library() -> Self {
        Self { kind: ActorKind::Library, name: None }
    }

    /// The same with a name, which people read in the events. Control characters are left out of it, and an empty name
    /// is none.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX_CHARS).collect();
        self.name = (!name.trim().is_empty()).then_some(name);
        self
    }

    /// What kind of actor it is.
    #[must_use]
    pub const fn kind(&self) -> ActorKind {
        self.kind
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}
