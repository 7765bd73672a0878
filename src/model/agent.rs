//! An agent: its name, its state, where it is in its life, and how agents are listed.

use serde::Serialize;
use serde_json::{Map, Value};

use super::actor::ActorKind;
use super::timestamp::Timestamp;
use crate::governance::{Action, State};
use crate::health::HealthStatus;
use crate::text_enum::text_enum;

/// The longest agent id, in characters.
const ID_MAX_CHARS: usize = 128;

/// A name that an agent may have: 1 to 128 characters, none of them a control character, and no white space
/// at either end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentId<'a>(&'a str);

/// A name that no agent can have.
#[derive(Debug)]
pub(crate) struct InvalidAgentId {
    /// The name, shortened.
    pub agent_id: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl<'a> AgentId<'a> {
    pub fn parse(agent_id: &'a str) -> Result<Self, InvalidAgentId> {
        let reason = if agent_id.is_empty() {
            "is empty; give the agent a name"
        } else if agent_id.chars().count() > ID_MAX_CHARS {
            "is longer than 128 characters"
        } else if agent_id.chars().any(char::is_control) {
            "has control characters in it"
        } else if agent_id.trim() != agent_id {
            "begins or ends with white space"
        } else {
            return Ok(Self(agent_id));
        };
        Err(InvalidAgentId { agent_id: agent_id.chars().take(40).collect(), reason })
    }

    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

text_enum! {
    /// Where an agent is in its life.
    pub enum Lifecycle {
        /// Takes updates.
        Active => "active",
        /// Takes no updates until it is resumed.
        Paused => "paused",
        /// Put away; may be resumed.
        Archived => "archived",
        /// Out of use for good. Its rows stay.
        Deleted => "deleted",
    }
}

impl Lifecycle {
    /// Whether the health of such an agent counts for the fleet: it is active or paused.
    #[must_use]
    pub const fn in_service(self) -> bool {
        matches!(self, Self::Active | Self::Paused)
    }
}

/// One agent: its current state and what people say about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Agent {
    /// The name its clients call it by.
    pub agent_id: String,
    /// Whether it takes updates.
    pub lifecycle_status: Lifecycle,
    /// How it is doing, judged by the settings of now.
    pub health_status: HealthStatus,
    /// First seen.
    pub created_at: Timestamp,
    /// Newest update; an administrator's edit leaves it alone.
    pub last_update_at: Option<Timestamp>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// Since when it is archived.
    pub archived_at: Option<Timestamp>,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// What kind of actor set its lifecycle status last; `None` where nobody was named. What an operator paused or
    /// archived, others can't undo.
    pub lifecycle_actor: Option<ActorKind>,
    /// Version label that v1.0.3 clients read.
    pub version: String,
    /// E, 0 to 1.
    pub energy: f64,
    /// I, information integrity, 0 to 1.
    pub integrity: f64,
    /// S, 0 to 1.
    pub entropy: f64,
    /// V, the integrated imbalance of E and I, −1 to 1.
    pub void_integral: f64,
    /// Coherence of the newest parameters with those before, 0 to 1; `None` before the first update.
    pub coherence: Option<f64>,
    /// λ₁, the ethical coupling.
    pub lambda1: f64,
    /// Integral term of the λ₁ controller.
    pub pi_integral: f64,
    /// Simulated time since the start or the last reset, 0.1 an update.
    pub elapsed: f64,
    /// Risk of the newest update, 0 to 1; `None` before the first.
    pub risk_score: Option<f64>,
    /// Whether |V| is over its threshold.
    pub void_active: bool,
    /// Updates since the start or the last reset.
    pub update_count: i64,
    /// Updates in its lifetime; never falls.
    pub total_updates: i64,
    /// Decision on the newest update.
    pub last_decision: Option<Action>,
    /// Why, in words.
    pub last_decision_reason: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Free text.
    pub notes: String,
    /// The linking server's own.
    pub attributes: Map<String, Value>,
}

/// What an update needs to know of an agent's row.
pub(crate) struct AgentState {
    pub lifecycle_status: Lifecycle,
    pub state: State,
    pub risk_score: Option<f64>,
    pub void_active: bool,
    pub total_updates: i64,
}

/// Which agents to list.
///
/// ```
/// use govstore::{AgentFilter, Lifecycle};
///
/// let first_paused = AgentFilter::new().lifecycle_status(Lifecycle::Paused).limit(50);
/// # assert_eq!(first_paused.limit, Some(50));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentFilter {
    /// Only those with this lifecycle status.
    pub lifecycle_status: Option<Lifecycle>,
    /// Only those with this health.
    pub health_status: Option<HealthStatus>,
    /// Only those whose id has this text in it, upper and lower case of ASCII letters being the same.
    pub id_contains: Option<String>,
    /// Only those whose id begins with this text, upper and lower case being different, as they are in ids.
    pub id_starts_with: Option<String>,
    /// Only those after this id: the last one of the page before.
    pub after: Option<String>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// Each takes a value, or an `Option` of one: `None` admits all.
impl AgentFilter {
    /// A filter that admits every agent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits only those with this lifecycle status.
    #[must_use]
    pub fn lifecycle_status(mut self, status: impl Into<Option<Lifecycle>>) -> Self {
        self.lifecycle_status = status.into();
        self
    }

    /// Admits only those with this health.
    #[must_use]
    pub fn health_status(mut self, status: impl Into<Option<HealthStatus>>) -> Self {
        self.health_status = status.into();
        self
    }

    /// Admits only those whose id has this text in it.
    #[must_use]
    pub fn id_contains(mut self, text: impl Into<Option<String>>) -> Self {
        self.id_contains = text.into();
        self
    }

    /// Admits only those whose id begins with this text.
    #[must_use]
    pub fn id_starts_with(mut self, text: impl Into<Option<String>>) -> Self {
        self.id_starts_with = text.into();
        self
    }

    /// Admits only those after this id.
    #[must_use]
    pub fn after(mut self, agent_id: impl Into<Option<String>>) -> Self {
        self.after = agent_id.into();
        self
    }

    /// Admits at most this many.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<Option<u32>>) -> Self {
        self.limit = limit.into();
        self
    }
}

text_enum! {
    /// Which agents come first. Those for whom the measure isn't known come last; ties are in the order of ids.
    #[non_exhaustive]
    pub enum AgentOrder {
        /// Those in service before those that are archived or deleted, worse health first, then higher risk.
        Worst => "worst",
        /// The highest risk first.
        Risk => "risk",
        /// The lowest coherence first.
        Coherence => "coherence",
        /// The most updates in a lifetime first.
        Updates => "updates",
        /// The newest update first.
        Latest => "latest",
        /// In the order of their ids.
        Id => "id",
    }
}

/// The first agents by an order, and out of how many.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AgentRanking {
    /// The agents, the first by the order first.
    pub agents: Vec<Agent>,
    /// How many agents the filter admits, whatever its limit.
    pub matching: u64,
}

/// How many agents there are, and how those in service are doing. One row of the view `fleet_health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetHealth {
    /// The worst health of an active or paused agent; `None` where there is none.
    pub fleet_status: Option<HealthStatus>,
    /// All agents, deleted ones included.
    pub total_agents: u64,
    /// Agents that take updates.
    pub active: u64,
    /// Agents that are paused.
    pub paused: u64,
    /// Agents that are put away.
    pub archived: u64,
    /// Agents that are deleted.
    pub deleted: u64,
    /// Active and paused agents that are healthy.
    pub healthy: u64,
    /// Active and paused agents that are degraded.
    pub degraded: u64,
    /// Active and paused agents that are critical.
    pub critical: u64,
}

impl FleetHealth {
    /// Counts these agents, as [`Store::health`](crate::Store::health) counts those of a database.
    #[must_use]
    pub fn of(agents: &[Agent]) -> Self {
        let with_status =
            |status| agents.iter().filter(|agent| agent.lifecycle_status == status).count() as u64;
        let in_service = || agents.iter().filter(|agent| agent.lifecycle_status.in_service());
        let with_health = |health| in_service().filter(|agent| agent.health_status == health).count() as u64;
        Self {
            fleet_status: in_service().map(|agent| agent.health_status).max(),
            total_agents: agents.len() as u64,
            active: with_status(Lifecycle::Active),
            paused: with_status(Lifecycle::Paused),
            archived: with_status(Lifecycle::Archived),
            deleted: with_status(Lifecycle::Deleted),
            healthy: with_health(HealthStatus::Healthy),
            degraded: with_health(HealthStatus::Degraded),
            critical: with_health(HealthStatus::Critical),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_visible_text() {
        let longest = "é".repeat(128);
        for good in ["a", "claude_opus_4.1", "été 2", "👩‍🚀", &longest] {
            assert!(AgentId::parse(good).is_ok(), "{good:?}");
        }
        let too_long = "x".repeat(129);
        for bad in ["", " ", "a ", "\ta", "a\nb", "a\0b", "a\u{7f}", "a\u{9b}2J", &too_long] {
            assert!(AgentId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
