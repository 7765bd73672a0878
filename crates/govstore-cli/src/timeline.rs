//! What happened, in order of time: events of agents, and among them what the reaper did.

use std::collections::VecDeque;
use std::iter;

use govstore::{AgentEvent, Outcome, ReapEvent, Store, Timestamp};
use serde::Serialize;

/// Events of agents that are read at once.
const PAGE: u32 = 1_000;

/// The reaper's ledger has at most some thousand entries.
const WHOLE: u32 = u32::MAX;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Event {
    Agent(AgentEvent),
    Reaped(Reaped),
}

/// Something that the reaper did, as an event.
#[derive(Debug, Clone, Serialize)]
pub struct Reaped {
    event: &'static str,
    #[serde(flatten)]
    pub act: ReapEvent,
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Agent(event) => event.occurred_at,
            Self::Reaped(reaped) => reaped.act.recorded_at,
        }
    }
}

/// One list of the two. Each stays in its own order: an event of an agent may have a time long before its
/// neighbours', where it was imported.
fn merge(
    agents: impl IntoIterator<Item = AgentEvent>,
    acts: impl IntoIterator<Item = ReapEvent>,
) -> Vec<Event> {
    let (mut agents, mut acts) = (agents.into_iter().peekable(), acts.into_iter().peekable());
    iter::from_fn(move || {
        let act_is_next = match (agents.peek(), acts.peek()) {
            (Some(event), Some(act)) => act.recorded_at < event.occurred_at,
            (None, act) => act.is_some(),
            (Some(_), None) => false,
        };
        if act_is_next {
            acts.next().map(|act| Event::Reaped(Reaped { event: "reaped", act }))
        } else {
            agents.next().map(Event::Agent)
        }
    })
    .collect()
}

/// What the reaper did; nothing for what it put off.
fn acts(ledger: Vec<ReapEvent>) -> impl Iterator<Item = ReapEvent> {
    ledger.into_iter().filter(|entry| entry.outcome != Outcome::Postponed)
}

/// A place in what happened, from which on it is read.
pub struct Timeline<'s> {
    store: &'s Store,
    event_id: i64,
    reap_event_id: i64,
    /// Acts of the reaper that were read, and come after the events that were given out.
    acts: VecDeque<ReapEvent>,
}

/// A part of what happened, oldest first.
pub struct Page {
    pub events: Vec<Event>,
    /// Whether there is nothing more for now.
    pub is_last: bool,
}

impl<'s> Timeline<'s> {
    fn from(store: &'s Store, event_id: i64, reap_event_id: i64) -> Self {
        Self { store, event_id, reap_event_id, acts: VecDeque::new() }
    }

    /// All that is kept.
    pub fn all(store: &'s Store) -> Self {
        Self::from(store, 0, 0)
    }

    /// What is to come.
    pub fn to_come(store: &'s Store) -> govstore::Result<Self> {
        Ok(Self::from(store, store.event_id_before_last(0)?, newest_entry(store)?))
    }

    /// What came after the agents' event of this number, and what the reaper did from the time of that event on.
    pub fn after(store: &'s Store, event_id: i64) -> govstore::Result<Self> {
        if event_id <= 0 {
            return Ok(Self::all(store));
        }
        let reap_event_id = match store.events_after(event_id - 1, 1)?.first() {
            None => newest_entry(store)?, // there is no such event yet
            Some(event) => {
                let ledger = store.reap_events(WHOLE)?;
                let before = ledger.iter().rev().find(|entry| entry.recorded_at < event.occurred_at);
                before.map_or(0, |entry| entry.reap_event_id)
            }
        };
        Ok(Self::from(store, event_id, reap_event_id))
    }

    /// The newest `last` events, and the place after them.
    pub fn last(store: &'s Store, last: u32) -> govstore::Result<(Vec<Event>, Self)> {
        let first_act = match newest_acts(store, last)?.first() {
            None => newest_entry(store)?,
            Some(act) => act.reap_event_id - 1,
        };
        let mut timeline = Self::from(store, store.event_id_before_last(last)?, first_act);
        let mut events = Vec::new();
        loop {
            let page = timeline.page()?;
            events.extend(page.events);
            if page.is_last {
                let surplus = events.len().saturating_sub(last as usize);
                return Ok((events.split_off(surplus), timeline));
            }
        }
    }

    /// What comes next.
    pub fn page(&mut self) -> govstore::Result<Page> {
        let agents = self.store.events_after(self.event_id, PAGE)?;
        let ledger = self.store.reap_events_after(self.reap_event_id, WHOLE)?;
        self.event_id = agents.last().map_or(self.event_id, |event| event.event_id);
        self.reap_event_id = ledger.last().map_or(self.reap_event_id, |entry| entry.reap_event_id);
        self.acts.extend(acts(ledger));
        let is_last = agents.len() < PAGE as usize;
        let due = match agents.last() {
            Some(newest) if !is_last => {
                self.acts.iter().take_while(|act| act.recorded_at < newest.occurred_at).count()
            }
            _ => self.acts.len(),
        };
        Ok(Page { events: merge(agents, self.acts.drain(..due)), is_last })
    }
}

/// The newest things that the reaper did, at most `last` of them, oldest first.
fn newest_acts(store: &Store, last: u32) -> govstore::Result<Vec<ReapEvent>> {
    let mut read = last;
    loop {
        let ledger = store.reap_events(read)?;
        let is_whole = ledger.len() < read as usize;
        let mut acts: Vec<_> = acts(ledger).collect();
        if acts.len() >= last as usize || is_whole {
            let surplus = acts.len().saturating_sub(last as usize);
            return Ok(acts.split_off(surplus));
        }
        read = read.saturating_mul(4); // much of that was put off
    }
}

/// The number of the ledger's newest entry.
fn newest_entry(store: &Store) -> govstore::Result<i64> {
    Ok(store.reap_events(1)?.last().map_or(0, |entry| entry.reap_event_id))
}
