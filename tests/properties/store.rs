//! Whatever is done to a store, in whatever order, by whom and with whatever reopened in between, it shows what a
//! simple model of it says.

use govstore::{AgentFilter, EventKind, HealthStatus, Lifecycle, Store, Update};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::config;
use crate::dynamics::Twin;
use crate::model::{Agent, Fleet, Lock, Refusal, WINDOW};
use crate::operation::{Act, Handle, Operation, operation};
use crate::world::World;

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_store_shows_what_a_model_of_it_says(operations in vec(operation(), 1..60)) {
        let mut run = Run { world: World::new(), model: Fleet::new(), backups: Vec::new(), keyed: Vec::new() };
        for operation in operations {
            run.perform(&operation);
            run.compare(Handle::Registered, Some(10));
            run.compare(Handle::Other, Some(10));
        }
        run.compare(Handle::Other, None);
        run.recompute();
        let findings = run.world.store(Handle::Other).check();
        let failed: Vec<_> = findings.iter().filter(|check| is_about_rows(check.name) && check.status.as_str() != "ok").collect();
        prop_assert!(failed.is_empty(), "{failed:?}");
    }
}

/// A report without what is judged by the settings of now.
fn without_health(mut report: Value) -> Value {
    let metrics = report["metrics"].as_object_mut().expect("an object");
    metrics.retain(|name, _| !["health_status", "health_message"].contains(&name.as_str()));
    report
}

/// The findings that are about what was written, and not about the machine.
fn is_about_rows(check: &str) -> bool {
    ["integrity", "foreign keys", "schema", "history"].contains(&check)
}

struct Run {
    world: World,
    model: Fleet,
    /// What the model was when each backup was made.
    backups: Vec<Fleet>,
    /// The updates with a key that were asked for, taken or not.
    keyed: Vec<(&'static str, Update)>,
}

impl Run {
    fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Act { by, agent_id, act: Act::Update(update) } => self.update(*by, agent_id, update),
            Operation::Keyed { by, agent_id, key, update, again } => {
                let earlier: Vec<&Update> = self
                    .keyed
                    .iter()
                    .filter(|(agent, update)| agent == agent_id && update.key.as_deref() == Some(*key))
                    .map(|(_, update)| update)
                    .collect();
                let again = again.filter(|_| !earlier.is_empty()).map(|which| which.get(&earlier));
                let update = again.map_or(update, |earlier| earlier).clone();
                self.update(*by, agent_id, &update);
                self.keyed.push((agent_id, update));
            }
            Operation::Burst { by, agent_id, updates, times } => {
                for update in updates.iter().cycle().take(*times) {
                    self.update(*by, agent_id, update);
                }
            }
            Operation::Act { by, agent_id, act } => {
                let by = if matches!(act, Act::Lock(_)) { Handle::Registered } else { *by };
                let expected = self.model.act(by, agent_id, act);
                let is_locked_out = expected == Err(Refusal::Locked);
                assert_eq!(self.world.act(by, agent_id, act, is_locked_out), expected);
            }
            Operation::UpdateElsewhere { agent_id, update } => {
                let expected = self.model.admits_update(Handle::Other, agent_id, update).map(drop);
                match self.world.update_elsewhere(agent_id, update) {
                    Ok(report) => {
                        assert_eq!(expected, Ok(()), "{report}");
                        self.model.update(agent_id, update, report);
                    }
                    Err(reason) => {
                        let word = match expected {
                            Err(Refusal::Locked) => "stayed locked",
                            Err(Refusal::WrongLifecycle) => "it cannot be updated",
                            other => panic!("{reason}, and not {other:?}"),
                        };
                        assert!(reason.contains(word), "{reason}");
                    }
                }
            }
            Operation::Import { agent_id, paused, total_updates } => {
                self.world.import(agent_id, *paused, *total_updates);
                self.model.import(agent_id, *paused, *total_updates);
            }
            Operation::Set { key, value } => {
                assert_eq!(self.world.set(key, value), self.model.set(key, value), "{key} = {value}");
            }
            Operation::Prune => {
                let pruned = self.world.store(Handle::Other).prune().expect("pruning");
                assert_eq!(pruned.updates, self.model.prune());
            }
            Operation::Backup => {
                if self.world.backup() {
                    self.backups.push(self.model.clone());
                }
            }
            Operation::Restore(which) => {
                if !self.backups.is_empty() {
                    let number = which.index(self.backups.len());
                    self.world.restore(u32::try_from(number).expect("a few"));
                    self.model = self.backups[number].clone();
                    self.model.release_all();
                }
            }
            Operation::Reopen(handle) => {
                self.world.reopen(*handle);
                if *handle == Handle::Registered {
                    self.model.release_all();
                }
            }
        }
    }

    fn update(&mut self, by: Handle, agent_id: &'static str, update: &Update) {
        let expected = self.model.admits_update(by, agent_id, update);
        let is_locked_out = matches!(expected, Err(Refusal::Locked));
        let found = self.world.update(by, agent_id, update, is_locked_out);
        match (found, expected) {
            (Ok(mut report), Ok(Some(row))) => {
                let repeated = report.as_object_mut().and_then(|report| report.remove("repeated"));
                assert_eq!(repeated, Some(Value::Bool(true)));
                assert_eq!(without_health(report), without_health(row.report.clone()));
            }
            (Ok(report), Ok(None)) => {
                assert_eq!(report.get("repeated"), None);
                self.model.update(agent_id, update, report);
            }
            (found, expected) => assert_eq!(found.map(drop), expected.map(drop)),
        }
    }

    /// Everything that `by` can see is as in the model; of histories the newest `last` rows.
    fn compare(&self, by: Handle, last: Option<u32>) {
        let store = self.world.store(by);
        let thresholds = self.model.thresholds;
        let agents = store.agents(&AgentFilter::default()).expect("the agents");
        let ids: Vec<_> = agents.iter().map(|agent| agent.agent_id.as_str()).collect();
        assert_eq!(ids, self.model.agents.keys().copied().collect::<Vec<_>>());
        for (found, (agent_id, expected)) in agents.iter().zip(&self.model.agents) {
            assert_eq!(&store.agent(agent_id).expect("it is listed"), found);
            assert_eq!(found.health_status, expected.health_status(&thresholds), "{agent_id}");
            compare_record(found, expected);
            compare_history(store, agent_id, expected, last);
            assert_eq!(self.world.token(agent_id).is_some(), expected.lock != Lock::None);
            assert!(self.world.token(agent_id).is_none_or(|token| token == expected.token));
        }
        assert_eq!(store.settings().expect("settings").health_thresholds(), thresholds);
        let fleet = store.health().expect("the fleet");
        let counts = [
            fleet.total_agents,
            fleet.active,
            fleet.paused,
            fleet.archived,
            fleet.deleted,
            fleet.healthy,
            fleet.degraded,
            fleet.critical,
        ];
        assert_eq!((fleet.fleet_status, counts), self.fleet_health());
        self.compare_events(store);
        self.compare_locks(store);
    }

    /// How the fleet is, then how many agents there are, by lifecycle and by health.
    fn fleet_health(&self) -> (Option<HealthStatus>, [u64; 8]) {
        let with_status = |status| {
            self.model.agents.values().filter(|agent| agent.lifecycle_status == status).count() as u64
        };
        let statuses: Vec<HealthStatus> = self
            .model
            .agents
            .values()
            .filter(|agent| agent.lifecycle_status.in_service())
            .map(|agent| agent.health_status(&self.model.thresholds))
            .collect();
        let of = |status| statuses.iter().filter(|found| **found == status).count() as u64;
        let counts = [
            self.model.agents.len() as u64,
            with_status(Lifecycle::Active),
            with_status(Lifecycle::Paused),
            with_status(Lifecycle::Archived),
            with_status(Lifecycle::Deleted),
            of(HealthStatus::Healthy),
            of(HealthStatus::Degraded),
            of(HealthStatus::Critical),
        ];
        (statuses.iter().max().copied(), counts)
    }

    fn compare_events(&self, store: &Store) {
        let found = store.events_after(0, u32::MAX).expect("the events");
        assert_eq!(found.len(), self.model.events.len(), "{found:?}");
        for (found, expected) in found.iter().zip(&self.model.events) {
            assert_eq!((found.agent_id.as_str(), found.event), (expected.agent_id, expected.kind));
            assert_eq!((found.health_from, found.health_to), (expected.health_from, expected.health_to));
            match (expected.kind, &found.reason, &expected.reason) {
                (EventKind::Unlocked, Some(found), Some(given)) => assert!(found.ends_with(given), "{found}"),
                (EventKind::Unlocked, found, None) => assert!(found.is_some()),
                (_, found, expected) => assert_eq!(found, expected),
            }
        }
        for agent_id in self.model.agents.keys() {
            let own = store.events(agent_id).expect("its events");
            assert!(own.iter().eq(found.iter().filter(|event| event.agent_id == *agent_id)));
        }
    }

    fn compare_locks(&self, store: &Store) {
        let mut found: Vec<_> = store
            .locks()
            .expect("the locks")
            .into_iter()
            .map(|lock| (lock.agent_id, lock.token, lock.pid))
            .collect();
        found.sort();
        let held = self.model.agents.iter().filter(|(_, agent)| agent.lock == Lock::Held);
        let pid = Some(std::process::id());
        let mut expected: Vec<_> =
            held.map(|(agent_id, agent)| ((*agent_id).to_owned(), agent.token, pid)).collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    /// An agent's figures are those that its updates since its start or last reset lead to.
    fn recompute(&self) {
        for (agent_id, agent) in &self.model.agents {
            let mut twin = Twin::new();
            let expected: Vec<_> = agent.since_reset.iter().map(|update| twin.update(update)).collect();
            for (row, expected) in agent.history.iter().rev().zip(expected.iter().rev()) {
                for (name, figure) in expected.named {
                    let found = row.figure(name);
                    assert!(
                        (found - figure).abs() < 1e-9,
                        "{name} of {agent_id} is {found}, and not {figure}"
                    );
                }
                let is_close = expected.void_margin < 1e-9;
                assert!(is_close || row.void_active() == expected.void_active, "{agent_id}: {expected:?}");
            }
        }
    }
}

/// The agent's row.
fn compare_record(found: &govstore::Agent, expected: &Agent) {
    assert_eq!(found.lifecycle_status, expected.lifecycle_status);
    assert_eq!(found.paused_at.is_some(), expected.lifecycle_status == Lifecycle::Paused);
    assert_eq!(found.archived_at.is_some(), expected.has_archived_at);
    assert_eq!(found.deleted_at.is_some(), expected.lifecycle_status == Lifecycle::Deleted);
    assert_eq!(found.last_update_at.is_some(), expected.was_updated);
    assert!(found.last_update_at.is_none_or(|at| at >= found.created_at), "{found:?}");
    assert_eq!((found.update_count, found.total_updates), (expected.update_count, expected.total_updates));
    assert_eq!(found.tags, expected.tags);
    assert_eq!(found.notes, expected.notes);
    assert_eq!(found.attributes, expected.attributes);

    let Some(row) = expected.newest() else {
        let unknown = (found.risk_score, found.coherence, found.void_active, found.last_decision);
        assert_eq!(unknown, (None, None, false, None));
        let fresh = [0.5, 0.9, 0.5, 0.0, 0.15, 0.0].map(f64::to_bits);
        let found =
            [found.energy, found.integrity, found.entropy, found.void_integral, found.lambda1, found.elapsed];
        assert_eq!(found.map(f64::to_bits), fresh);
        return;
    };
    assert_eq!(
        found.last_update_at.map(|at| Value::from(at.to_string())),
        Some(row.report["timestamp"].clone())
    );
    let figures = [
        ("E", found.energy),
        ("I", found.integrity),
        ("S", found.entropy),
        ("V", found.void_integral),
        ("lambda1", found.lambda1),
        ("time", found.elapsed),
        ("coherence", found.coherence.expect("it was updated")),
        ("risk_score", found.risk_score.expect("it was updated")),
    ];
    for (name, found) in figures {
        assert_eq!(found.to_bits(), row.figure(name).to_bits(), "{name}");
    }
    assert_eq!(found.void_active, row.void_active());
    assert_eq!(found.last_decision, Some(row.decision()));
    assert_eq!(found.last_decision_reason.as_deref(), Some(row.reason()));
}

fn compare_history(store: &Store, agent_id: &str, expected: &Agent, last: Option<u32>) {
    let history = store.history(agent_id, last).expect("its history");
    let kept = expected.history.len();
    let rows = last.map_or(kept, |last| kept.min(last as usize));
    assert_eq!(history.len(), rows);
    let first = expected.total_updates - i64::try_from(rows).expect("a count") + 1;
    for (update_no, (found, row)) in (first..).zip(history.iter().zip(&expected.history[kept - rows..])) {
        assert_eq!(found.update_no, update_no);
        assert_eq!(Value::from(update_no), row.report["metrics"]["total_updates"]);
        let figures = [
            ("E", found.energy),
            ("I", found.integrity),
            ("S", found.entropy),
            ("lambda1", found.lambda1),
            ("time", found.elapsed),
            ("V", Some(found.void_integral)),
            ("coherence", Some(found.coherence)),
            ("risk_score", Some(found.risk_score)),
        ];
        for (name, found) in figures {
            assert_eq!(found.map(f64::to_bits), Some(row.figure(name).to_bits()), "{name}");
        }
        assert_eq!(found.void_active, row.void_active());
        assert_eq!(found.decision, row.decision());
        assert_eq!(found.decision_reason.as_deref(), Some(row.reason()));
        assert_eq!(found.key, row.update.key);
        assert_eq!(found.health_status, row.health_status);
        assert_eq!(row.report["metrics"]["health_status"], found.health_status.as_str());
        assert_eq!(
            found.applied_at.map(|at| Value::from(at.to_string())),
            Some(row.report["timestamp"].clone())
        );
    }

    let window = usize::try_from(expected.update_count.min(WINDOW)).expect("a count");
    let window = &expected.history[kept - window..];
    let statistics = store.window_statistics(agent_id).expect("its statistics");
    let decided = |action| window.iter().filter(|row| row.decision() == action).count() as u64;
    assert_eq!(statistics.history_size, window.len() as u64);
    assert_eq!(statistics.approve, decided(govstore::Action::Approve));
    assert_eq!(statistics.revise, decided(govstore::Action::Revise));
    assert_eq!(statistics.reject, decided(govstore::Action::Reject));
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let mean = window.iter().map(|row| row.figure("risk_score")).sum::<f64>() / window.len().max(1) as f64;
    assert!((statistics.mean_risk - mean).abs() < 1e-12, "{} and not {mean}", statistics.mean_risk);
}
