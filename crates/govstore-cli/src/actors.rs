//! Who did something, as people read it.

use govstore::{ActorKind, AgentEvent};

use crate::figures::NONE;
use crate::visible::visible;

/// The actor of an event: `operator`, `client claude-code 2.1`, `library`.
pub fn of(event: &AgentEvent) -> String {
    event.actor.map_or(NONE.to_owned(), |actor| name(actor, event.actor_name.as_deref()))
}

fn name(actor: ActorKind, name: Option<&str>) -> String {
    name.map_or_else(|| actor.to_string(), |name| format!("{actor} {}", visible(name)))
}

/// The same in a sentence: `an operator`.
pub fn named(actor: ActorKind, called: Option<&str>) -> String {
    let article = if actor == ActorKind::Operator { "an" } else { "a" };
    format!("{article} {}", name(actor, called))
}
