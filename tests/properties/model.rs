//! A fleet as plain Rust: what a store must show after each operation, by its documentation alone.
//!
//! Figures of an update are not computed here: what the report said is what record and history must say. At the end of
//! a case they are compared with those that [`crate::dynamics`] comes to.

use std::collections::BTreeMap;

use govstore::health::classify;
use govstore::{Action, EventKind, HealthStatus, HealthThresholds, Lifecycle, Update, explain};
use serde_json::{Map, Value, json};

use crate::operation::{Act, Edit, Handle};

/// Updates since a reset that statistics look at, and that pruning leaves.
pub const WINDOW: i64 = 1_000;

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotFound,
    WrongLifecycle,
    Protected,
    Locked,
    AlreadyLocked,
    NotLocked,
    Fenced,
    KeyReused,
    InvalidSetting,
    /// By the closure of an edit.
    ByEdit,
}

/// The lock of the registered store on an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    None,
    Held,
    /// Taken away, which the holder has yet to notice.
    Lost,
}

/// The agents and what is known of all of them together.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub agents: BTreeMap<&'static str, Agent>,
    /// Events of all agents, in their order.
    pub events: Vec<Event>,
    pub thresholds: HealthThresholds,
    pub history_limit: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Agent {
    pub lifecycle_status: Lifecycle,
    /// Archived, or deleted while it was archived.
    pub has_archived_at: bool,
    pub update_count: i64,
    pub total_updates: i64,
    pub tags: Vec<String>,
    pub notes: String,
    pub attributes: Map<String, Value>,
    /// What is left of its history, oldest first.
    pub history: Vec<Row>,
    /// The updates since its start or last reset.
    pub since_reset: Vec<Update>,
    /// Whether it was ever updated here.
    pub was_updated: bool,
    pub lock: Lock,
    /// The token of its newest lock; 0 before the first.
    pub token: i64,
}

/// One update, and its report in JSON.
#[derive(Debug, Clone)]
pub struct Row {
    pub update: Update,
    pub report: Value,
    pub health_status: HealthStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub agent_id: &'static str,
    pub kind: EventKind,
    pub reason: Option<String>,
    pub health_from: Option<HealthStatus>,
    pub health_to: Option<HealthStatus>,
}

impl Row {
    pub fn figure(&self, name: &str) -> f64 {
        self.report["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    pub fn void_active(&self) -> bool {
        self.report["metrics"]["void_active"] == true
    }

    pub fn decision(&self) -> Action {
        let action = self.report["decision"]["action"].clone();
        serde_json::from_value(action).expect("an action")
    }

    pub fn reason(&self) -> &str {
        self.report["decision"]["reason"].as_str().expect("a reason")
    }
}

/// Bit by bit, but for NaN, of which there is one.
fn is_same_input(one: &Update, other: &Update) -> bool {
    let bits = |number: &f64| if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() };
    let all = |numbers: &[f64]| numbers.iter().map(bits).collect::<Vec<_>>();
    let input = |update: &Update| {
        let parameters = update.parameters.as_deref().map(all);
        (parameters, all(&update.ethical_drift), update.response_text.clone(), bits(&update.complexity))
    };
    input(one) == input(other)
}

impl Agent {
    fn new(agent_id: &str) -> Self {
        let is_default = agent_id == "default_agent";
        Self {
            lifecycle_status: Lifecycle::Active,
            has_archived_at: false,
            update_count: 0,
            total_updates: 0,
            tags: is_default.then(|| "pioneer".to_owned()).into_iter().collect(),
            notes: String::new(),
            attributes: Map::new(),
            history: Vec::new(),
            since_reset: Vec::new(),
            was_updated: false,
            lock: Lock::None,
            token: 0,
        }
    }

    /// The update that its present figures are of.
    pub fn newest(&self) -> Option<&Row> {
        self.history.last().filter(|_| self.update_count > 0)
    }

    pub fn health_status(&self, thresholds: &HealthThresholds) -> HealthStatus {
        let (risk, coherence, void_active) = match self.newest() {
            Some(row) => (Some(row.figure("risk_score")), Some(row.figure("coherence")), row.void_active()),
            None => (None, None, false),
        };
        classify(risk, coherence, void_active, thresholds).status
    }

    fn refuse_if_locked(&self, by: Handle) -> Result<(), Refusal> {
        match (self.lock, by) {
            (Lock::Held, Handle::Other) => Err(Refusal::Locked),
            (Lock::Lost, Handle::Registered) => Err(Refusal::Fenced),
            _ => Ok(()),
        }
    }

    fn refuse_if_deleted(&self) -> Result<(), Refusal> {
        if self.lifecycle_status == Lifecycle::Deleted { Err(Refusal::WrongLifecycle) } else { Ok(()) }
    }
}

impl Fleet {
    pub fn new() -> Self {
        Self {
            agents: BTreeMap::new(),
            events: Vec::new(),
            thresholds: HealthThresholds::default(),
            history_limit: None,
        }
    }

    fn agent(&mut self, agent_id: &str) -> Result<&mut Agent, Refusal> {
        self.agents.get_mut(agent_id).ok_or(Refusal::NotFound)
    }

    fn record(&mut self, agent_id: &'static str, kind: EventKind, reason: Option<String>) {
        self.events.push(Event { agent_id, kind, reason, health_from: None, health_to: None });
    }

    /// Whether an update would be taken; if it was already, by its key, the row that it has.
    pub fn admits_update(
        &self,
        by: Handle,
        agent_id: &str,
        update: &Update,
    ) -> Result<Option<&Row>, Refusal> {
        let Some(agent) = self.agents.get(agent_id) else { return Ok(None) };
        let has_key = |row: &&Row| update.key.is_some() && row.update.key == update.key;
        match agent.history.iter().find(has_key) {
            Some(row) if is_same_input(&row.update, update) => Ok(Some(row)),
            Some(_) => Err(Refusal::KeyReused),
            None if agent.lifecycle_status != Lifecycle::Active => Err(Refusal::WrongLifecycle),
            None => agent.refuse_if_locked(by).map(|()| None),
        }
    }

    /// An update that was taken, and what its report said.
    pub fn update(&mut self, agent_id: &'static str, update: &Update, report: Value) {
        if !self.agents.contains_key(agent_id) {
            self.agents.insert(agent_id, Agent::new(agent_id));
            self.record(agent_id, EventKind::Created, None);
        }
        let thresholds = self.thresholds;
        let agent = self.agents.get_mut(agent_id).expect("it is there");
        let before = agent.newest().is_some().then(|| agent.health_status(&thresholds));

        let mut row = Row { update: update.clone(), report, health_status: HealthStatus::Healthy };
        let (risk, coherence) = (row.figure("risk_score"), row.figure("coherence"));
        let void_active = row.void_active();
        let health = classify(Some(risk), Some(coherence), void_active, &thresholds);
        row.health_status = health.status;
        agent.history.push(row);
        agent.since_reset.push(update.clone());
        agent.update_count += 1;
        agent.total_updates += 1;
        agent.was_updated = true;
        if before != Some(health.status) {
            self.events.push(Event {
                agent_id,
                kind: EventKind::HealthChanged,
                reason: Some(explain::health(Some(risk), Some(coherence), void_active, &thresholds)),
                health_from: before,
                health_to: Some(health.status),
            });
        }
    }

    /// Anything but an update.
    pub fn act(&mut self, by: Handle, agent_id: &'static str, act: &Act) -> Result<(), Refusal> {
        use Lifecycle::{Active, Archived, Deleted, Paused};

        let agent = self.agent(agent_id)?;
        let status = agent.lifecycle_status;
        let allowed = |allowed: bool| if allowed { Ok(()) } else { Err(Refusal::WrongLifecycle) };
        match act {
            Act::Update(_) => unreachable!("it has a report"),
            Act::Pause(reason) => {
                allowed(status == Active)?;
                agent.lifecycle_status = Paused;
                self.record(agent_id, EventKind::Paused, reason.clone());
            }
            Act::Resume => {
                allowed(matches!(status, Paused | Archived))?;
                agent.lifecycle_status = Active;
                agent.has_archived_at = false;
                self.record(agent_id, EventKind::Resumed, None);
            }
            Act::Archive(reason) => {
                allowed(matches!(status, Active | Paused))?;
                agent.lifecycle_status = Archived;
                agent.has_archived_at = true;
                self.record(agent_id, EventKind::Archived, reason.clone());
            }
            Act::Delete => {
                if agent.tags.iter().any(|tag| tag == "pioneer") {
                    return Err(Refusal::Protected);
                }
                agent.refuse_if_deleted()?;
                agent.lifecycle_status = Deleted;
                self.record(agent_id, EventKind::Deleted, None);
            }
            Act::Reset => {
                agent.refuse_if_locked(by)?;
                agent.refuse_if_deleted()?;
                agent.update_count = 0;
                agent.since_reset.clear();
                self.record(agent_id, EventKind::Reset, None);
            }
            Act::Edit(edit) => {
                agent.refuse_if_locked(by)?;
                agent.refuse_if_deleted()?;
                if edit.fails {
                    return Err(Refusal::ByEdit);
                }
                let Edit { tags, notes, attribute: (name, value), .. } = edit;
                agent.tags.clone_from(tags);
                agent.notes.push_str(notes);
                agent.attributes.insert(name.clone(), json!(value));
            }
            Act::Lock(_) => {
                if agent.lock != Lock::None {
                    return Err(Refusal::AlreadyLocked);
                }
                agent.refuse_if_deleted()?;
                agent.lock = Lock::Held;
                agent.token += 1;
            }
            Act::Release => agent.lock = Lock::None,
            Act::Unlock(reason) => {
                if agent.lock != Lock::Held {
                    return Err(Refusal::NotLocked);
                }
                agent.lock = Lock::Lost;
                self.record(agent_id, EventKind::Unlocked, reason.clone());
            }
        }
        Ok(())
    }

    /// An agent that was not there.
    pub fn import(&mut self, agent_id: &'static str, paused: bool, total_updates: i64) {
        if self.agents.contains_key(agent_id) {
            return;
        }
        let lifecycle_status = if paused { Lifecycle::Paused } else { Lifecycle::Active };
        let agent = Agent { lifecycle_status, total_updates, tags: Vec::new(), ..Agent::new(agent_id) };
        self.agents.insert(agent_id, agent);
        self.record(agent_id, EventKind::Created, Some("imported".to_owned()));
    }

    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        let mut thresholds = self.thresholds;
        let share = || value.parse().map_err(|_| Refusal::InvalidSetting);
        match key {
            "risk_healthy_max" => thresholds.risk_healthy_max = share()?,
            "risk_degraded_max" => thresholds.risk_degraded_max = share()?,
            "coherence_healthy_min" => thresholds.coherence_healthy_min = share()?,
            "coherence_degraded_min" => thresholds.coherence_degraded_min = share()?,
            "coherence_overrides_risk" => thresholds.coherence_overrides_risk = value == "true",
            "history_limit" => {
                let limit = value.parse().ok();
                if limit == Some(0) {
                    return Err(Refusal::InvalidSetting);
                }
                self.history_limit = limit;
            }
            other => unreachable!("{other} is not set here"),
        }
        let in_order = |low: f64, high: f64| 0.0 <= low && low <= high && high <= 1.0;
        if !in_order(thresholds.risk_healthy_max, thresholds.risk_degraded_max)
            || !in_order(thresholds.coherence_degraded_min, thresholds.coherence_healthy_min)
        {
            return Err(Refusal::InvalidSetting);
        }
        self.thresholds = thresholds;
        Ok(())
    }

    /// Removes history over the limit, and says how many rows. What the figures since a reset need stays.
    pub fn prune(&mut self) -> u64 {
        let Some(limit) = self.history_limit else { return 0 };
        let mut removed = 0;
        for agent in self.agents.values_mut() {
            let kept = usize::try_from(limit.max(agent.update_count.min(WINDOW))).expect("a count");
            let surplus = agent.history.len().saturating_sub(kept);
            agent.history.drain(..surplus);
            removed += surplus as u64;
        }
        let limit = usize::try_from(limit).expect("a count");
        for agent_id in self.agents.keys() {
            let own = |event: &Event| event.agent_id == *agent_id;
            let is_lifecycle = |event: &Event| own(event) && event.kind != EventKind::HealthChanged;
            let newest_of_lifecycle = self.events.iter().rposition(is_lifecycle);
            let places: Vec<usize> =
                self.events.iter().enumerate().filter(|(_, event)| own(event)).map(|(n, _)| n).collect();
            let surplus = &places[..places.len().saturating_sub(limit)];
            let mut place = 0;
            self.events.retain(|_| {
                let goes = surplus.contains(&place) && newest_of_lifecycle != Some(place) && place > 0;
                place += 1;
                !goes
            });
        }
        removed
    }

    /// The registered store was closed: its locks are released.
    pub fn release_all(&mut self) {
        for agent in self.agents.values_mut() {
            agent.lock = Lock::None;
        }
    }
}
