//! The rows of imported agents. Everything was checked before the transaction; here is only SQL.

use rusqlite::named_params;

use super::export::Export;
use super::folder::{History, V1Agent, V1Folder};
use super::{ImportReport, ImportedAgent};
use crate::agent::{AgentId, event};
use crate::governance::State;
use crate::health::{self, HealthThresholds};
use crate::store::column::{Json, bytes};
use crate::store::{TxResult, WriteTx};

/// Inserts the agents that the database does not have.
pub(super) fn insert(
    tx: &WriteTx<'_>,
    folder: V1Folder,
    thresholds: &HealthThresholds,
) -> TxResult<ImportReport> {
    let mut report = ImportReport { remarks: folder.remarks, ..ImportReport::default() };
    for agent in folder.agents {
        let id = AgentId::parse(&agent.agent_id)?;
        if exists(tx, id)? {
            report.unchanged.push(agent.agent_id);
            continue;
        }
        insert_agent(tx, id, &agent)?;
        for happened in &agent.metadata.events {
            event::insert(
                tx,
                id,
                happened.kind,
                &happened.at.to_string(),
                happened.reason.as_deref(),
                (None, None),
            )?;
        }
        if let Some(history) = &agent.history {
            insert_history(tx, id, history, agent.total_updates(), thresholds)?;
        }
        report.remarks.extend(agent.remarks());
        report.imported.push(ImportedAgent {
            lifecycle_status: agent.metadata.lifecycle_status,
            total_updates: agent.total_updates(),
            events: agent.metadata.events.len(),
            history_rows: agent.history.as_ref().map_or(0, |history| history.export.updates.len()),
            history_file: agent.history.map(|history| history.file),
            agent_id: agent.agent_id,
        });
    }
    report.remarks.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(report)
}

fn exists(tx: &WriteTx<'_>, id: AgentId<'_>) -> TxResult<bool> {
    let mut statement =
        tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM agents WHERE agent_id = :agent_id)")?;
    Ok(statement.query_row(named_params! { ":agent_id": id.as_str() }, |row| row.get(0))?)
}

fn insert_agent(tx: &WriteTx<'_>, id: AgentId<'_>, agent: &V1Agent) -> TxResult<()> {
    let metadata = &agent.metadata;
    let fresh = State::default();
    let export = agent.history.as_ref().map(|history| &history.export);
    let state = export.map_or(&fresh, |export| &export.state);
    let newest = export.and_then(|export| export.updates.last());
    tx.prepare_cached(
        "INSERT INTO agents (
           agent_id, lifecycle_status, created_at, last_update_at, paused_at, archived_at, deleted_at, version,
           energy, integrity, entropy, void_integral, coherence, lambda1, elapsed,
           risk_score, void_active, update_count, total_updates, last_decision, tags, notes, recent_void
         ) VALUES (
           :agent_id, :lifecycle_status, :created_at, :last_update_at, :paused_at, :archived_at, :deleted_at,
           :version,
           :energy, :integrity, :entropy, :void_integral, :coherence, :lambda1, :elapsed,
           :risk_score, :void_active, :update_count, :total_updates, :last_decision, :tags, :notes, :recent_void
         )",
    )?
    .execute(named_params! {
        ":agent_id": id.as_str(),
        ":lifecycle_status": metadata.lifecycle_status.as_str(),
        ":created_at": metadata.created_at.to_string(),
        ":last_update_at": metadata.last_update_at.map(|at| at.to_string()),
        ":paused_at": metadata.paused_at.map(|at| at.to_string()),
        ":archived_at": metadata.archived_at.map(|at| at.to_string()),
        ":deleted_at": metadata.deleted_at().map(|at| at.to_string()),
        ":version": metadata.version,
        ":energy": state.energy,
        ":integrity": state.integrity,
        ":entropy": state.entropy,
        ":void_integral": state.void_integral,
        ":coherence": state.measured_coherence,
        ":lambda1": state.lambda1,
        ":elapsed": state.elapsed,
        ":risk_score": newest.map(|update| update.risk_score),
        ":void_active": newest.is_some_and(|update| update.void_active),
        ":update_count": state.update_count,
        ":total_updates": agent.total_updates(),
        ":last_decision": newest.map(|update| update.decision.as_str()),
        ":tags": Json(&metadata.tags),
        ":notes": metadata.notes,
        ":recent_void": bytes(&state.recent_void),
    })?;
    Ok(())
}

/// Inserts the updates so that the last one has the number `total_updates`.
fn insert_history(
    tx: &WriteTx<'_>,
    id: AgentId<'_>,
    history: &History,
    total_updates: i64,
    thresholds: &HealthThresholds,
) -> TxResult<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO agent_updates (
           agent_id, update_no, energy, integrity, entropy, void_integral, coherence, lambda1, risk_score,
           void_active, elapsed, decision, health_status
         ) VALUES (
           :agent_id, :update_no, :energy, :integrity, :entropy, :void_integral, :coherence, :lambda1,
           :risk_score, :void_active, :elapsed, :decision, :health_status
         )",
    )?;
    let Export { updates, state, .. } = &history.export;
    let rows = i64::try_from(updates.len()).unwrap_or(total_updates);
    for (update_no, update) in (total_updates - rows + 1..).zip(updates) {
        let is_last = update_no == total_updates;
        let health =
            health::classify(Some(update.risk_score), Some(update.coherence), update.void_active, thresholds);
        statement.execute(named_params! {
            ":agent_id": id.as_str(),
            ":update_no": update_no,
            ":energy": update.energy,
            ":integrity": update.integrity,
            ":entropy": update.entropy,
            ":void_integral": update.void_integral,
            ":coherence": update.coherence,
            ":lambda1": is_last.then_some(state.lambda1),
            ":risk_score": update.risk_score,
            ":void_active": update.void_active,
            ":elapsed": is_last.then_some(state.elapsed),
            ":decision": update.decision.as_str(),
            ":health_status": health.status.as_str(),
        })?;
    }
    Ok(())
}
