//! Recording what happens to an agent.

use crate::backend::statements::{Transaction, TxResult};
use crate::health::HealthStatus;
use crate::model::{Actor, AgentId, EventKind, NewEvent};

/// Records a lifecycle event at the time of the transaction.
pub(crate) fn record(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    event: EventKind,
    reason: Option<&str>,
    by: &Actor,
) -> TxResult<()> {
    tx.insert_event(&NewEvent {
        agent_id: id.as_str(),
        event,
        occurred_at: tx.at(),
        reason,
        by: Some(by),
        health_from: None,
        health_to: None,
    })
}

/// Records a change of health. `from` is `None` at the first update.
pub(super) fn record_health(
    tx: &dyn Transaction,
    id: AgentId<'_>,
    from: Option<HealthStatus>,
    to: HealthStatus,
    why: &str,
    by: &Actor,
) -> TxResult<()> {
    tx.insert_event(&NewEvent {
        agent_id: id.as_str(),
        event: EventKind::HealthChanged,
        occurred_at: tx.at(),
        reason: Some(why),
        by: Some(by),
        health_from: from,
        health_to: Some(to),
    })
}
