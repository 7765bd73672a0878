//! Events in an agent's life, and changes of its health.

use serde::Serialize;

use super::actor::{Actor, ActorKind};
use super::timestamp::Timestamp;
use crate::health::HealthStatus;
use crate::text_enum::text_enum;

text_enum! {
    /// What happened to an agent.
    #[non_exhaustive]
    pub enum EventKind {
        /// It was seen for the first time.
        Created => "created",
        /// It takes no updates until it is resumed.
        Paused => "paused",
        /// It is active again.
        Resumed => "resumed",
        /// It was put away.
        Archived => "archived",
        /// It was deleted; its rows stay.
        Deleted => "deleted",
        /// Its state went back to that of a new agent.
        Reset => "reset",
        /// Its lock was taken away from the holder.
        Unlocked => "unlocked",
        /// An update changed its health.
        HealthChanged => "health_changed",
    }
}

/// One event of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AgentEvent {
    /// Order of arrival, over all agents.
    pub event_id: i64,
    /// The agent that this event belongs to.
    pub agent_id: String,
    /// What happened.
    pub event: EventKind,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Why, in the words of the caller; for a change of health, the health message.
    pub reason: Option<String>,
    /// What kind of actor did it; `None` where nobody was named, as in rows of older versions.
    pub actor: Option<ActorKind>,
    /// The actor's name: of a client its name and version.
    pub actor_name: Option<String>,
    /// The health before; `None` at the first update, and for other events.
    pub health_from: Option<HealthStatus>,
    /// The health after; `None` for other events.
    pub health_to: Option<HealthStatus>,
}

/// An event that is to be recorded.
pub(crate) struct NewEvent<'a> {
    pub agent_id: &'a str,
    pub event: EventKind,
    pub occurred_at: Timestamp,
    pub reason: Option<&'a str>,
    pub by: Option<&'a Actor>,
    pub health_from: Option<HealthStatus>,
    pub health_to: Option<HealthStatus>,
}
