//! The rows of imported agents. Everything was checked before the transaction; here they are only written.

use super::export::{Export, ExportedUpdate};
use super::folder::{History, V1Agent, V1Folder};
use super::report::{ImportReport, ImportedAgent};
use crate::backend::statements::{NewAgentRow, Transaction, TxResult};
use crate::governance::State;
use crate::health::{self, HealthThresholds};
use crate::model::{HistoryRow, NewEvent};

/// Inserts the agents that the database does not have.
pub(crate) fn insert(
    tx: &dyn Transaction,
    folder: &V1Folder,
    thresholds: &HealthThresholds,
) -> TxResult<ImportReport> {
    let mut report = ImportReport { remarks: folder.remarks.clone(), ..ImportReport::default() };
    for agent in &folder.agents {
        let agent_id = agent.agent_id.as_str();
        if tx.agent(agent_id)?.is_some() {
            report.unchanged.push(agent.agent_id.clone());
            continue;
        }
        insert_agent(tx, agent)?;
        for happened in &agent.metadata.events {
            tx.insert_event(&NewEvent {
                agent_id,
                event: happened.kind,
                occurred_at: happened.at,
                reason: happened.reason.as_deref(),
                by: None,
                health_from: None,
                health_to: None,
            })?;
        }
        if let Some(history) = &agent.history {
            tx.import_updates(agent_id, &rows(history, agent.total_updates(), thresholds))?;
        }
        report.remarks.extend(agent.remarks());
        report.imported.push(ImportedAgent {
            lifecycle_status: agent.metadata.lifecycle_status,
            total_updates: agent.total_updates(),
            events: agent.metadata.events.len(),
            history_rows: agent.history.as_ref().map_or(0, |history| history.export.updates.len()),
            history_file: agent.history.as_ref().map(|history| history.file.clone()),
            agent_id: agent.agent_id.clone(),
        });
    }
    report.remarks.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(report)
}

fn insert_agent(tx: &dyn Transaction, agent: &V1Agent) -> TxResult<()> {
    let metadata = &agent.metadata;
    let fresh = State::default();
    let export = agent.history.as_ref().map(|history| &history.export);
    let newest = export.and_then(|export| export.updates.last());
    tx.import_agent(&NewAgentRow {
        agent_id: &agent.agent_id,
        lifecycle_status: metadata.lifecycle_status,
        created_at: metadata.created_at,
        last_update_at: metadata.last_update_at,
        paused_at: metadata.paused_at,
        archived_at: metadata.archived_at,
        deleted_at: metadata.deleted_at(),
        version: &metadata.version,
        state: export.map_or(&fresh, |export| &export.state),
        risk_score: newest.map(|update| update.risk_score),
        void_active: newest.is_some_and(|update| update.void_active),
        total_updates: agent.total_updates(),
        last_decision: newest.map(|update| update.decision),
        tags: &metadata.tags,
        notes: &metadata.notes,
    })
}

/// The history, so that the last update has the number `total_updates`.
fn rows(history: &History, total_updates: i64, thresholds: &HealthThresholds) -> Vec<HistoryRow> {
    let Export { updates, state, .. } = &history.export;
    let count = i64::try_from(updates.len()).unwrap_or(total_updates);
    let row = |(update_no, update): (i64, &ExportedUpdate)| {
        let is_last = update_no == total_updates;
        let health =
            health::classify(Some(update.risk_score), Some(update.coherence), update.void_active, thresholds);
        HistoryRow {
            update_no,
            applied_at: None,
            energy: update.energy,
            integrity: update.integrity,
            entropy: update.entropy,
            void_integral: update.void_integral,
            coherence: update.coherence,
            lambda1: is_last.then_some(state.lambda1),
            risk_score: update.risk_score,
            void_active: update.void_active,
            elapsed: is_last.then_some(state.elapsed),
            decision: update.decision,
            decision_reason: None,
            health_status: health.status,
            risk_basis: None,
            key: None,
        }
    };
    (total_updates - count + 1..).zip(updates).map(row).collect()
}
