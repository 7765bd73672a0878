//! Which agents are shown, and in which order.

use govstore::{AgentFilter, AgentOrder, HealthStatus, Lifecycle};

const ORDERS: [AgentOrder; 6] = [
    AgentOrder::Worst,
    AgentOrder::Risk,
    AgentOrder::Coherence,
    AgentOrder::Updates,
    AgentOrder::Latest,
    AgentOrder::Id,
];

const HEALTHS: [HealthStatus; 3] = [HealthStatus::Critical, HealthStatus::Degraded, HealthStatus::Healthy];

const LIFECYCLES: [Lifecycle; 4] =
    [Lifecycle::Active, Lifecycle::Paused, Lifecycle::Archived, Lifecycle::Deleted];

/// What is asked of the database once a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub order: AgentOrder,
    pub health: Option<HealthStatus>,
    pub lifecycle: Option<Lifecycle>,
    /// Ids have this in them.
    pub text: String,
    /// At most this many agents.
    pub limit: u32,
}

impl Query {
    /// The first `limit` agents by this order, of all that there are.
    pub fn new(order: AgentOrder, limit: u32) -> Self {
        Self { order, health: None, lifecycle: None, text: String::new(), limit }
    }

    pub fn filter(&self) -> AgentFilter {
        AgentFilter::new()
            .lifecycle_status(self.lifecycle)
            .health_status(self.health)
            .id_contains(self.text.clone())
            .limit(self.limit)
    }

    /// The next order, or with `back` the one before; the last is followed by the first.
    pub fn turn_order(&mut self, back: bool) {
        let at = ORDERS.iter().position(|order| *order == self.order).unwrap_or_default();
        let step = if back { ORDERS.len() - 1 } else { 1 };
        self.order = ORDERS[(at + step) % ORDERS.len()];
    }

    /// The next health, and after the last of them any.
    pub fn turn_health(&mut self) {
        self.health = following(&HEALTHS, self.health);
    }

    /// The next lifecycle status, and after the last of them any.
    pub fn turn_lifecycle(&mut self) {
        self.lifecycle = following(&LIFECYCLES, self.lifecycle);
    }

    /// What is shown, in words, but for the text: `worst first, critical, paused`.
    pub fn describe(&self) -> String {
        let order = match self.order {
            AgentOrder::Worst => "worst first",
            AgentOrder::Risk => "by risk",
            AgentOrder::Coherence => "lowest coherence first",
            AgentOrder::Updates => "most updates first",
            AgentOrder::Latest => "latest update first",
            AgentOrder::Id => "by id",
            other => other.as_str(),
        };
        let filters = [self.health.map(HealthStatus::as_str), self.lifecycle.map(Lifecycle::as_str)];
        let filters = filters.into_iter().flatten().map(|filter| format!(", only {filter}"));
        order.to_owned() + &filters.collect::<String>()
    }
}

fn following<T: Copy + PartialEq>(all: &[T], present: Option<T>) -> Option<T> {
    match present {
        None => all.first().copied(),
        Some(present) => all.iter().skip_while(|one| **one != present).nth(1).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_filters_come_round() {
        let start = Query::new(AgentOrder::Worst, 10);
        let mut query = start.clone();
        let mut seen = Vec::new();
        for _ in ORDERS {
            seen.push(query.describe());
            query.turn_order(false);
        }
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), &query), (ORDERS.len(), &start));
        query.turn_order(true);
        assert_eq!(query.order, AgentOrder::Id);
        query.turn_order(false);

        query.turn_health();
        query.turn_lifecycle();
        query.turn_lifecycle();
        assert_eq!(query.describe(), "worst first, only critical, only paused");
        for _ in 0..3 {
            query.turn_health();
            query.turn_lifecycle();
        }
        assert_eq!(query, start);
    }
}
