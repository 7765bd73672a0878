//! A group of updates, of which some fail, leaves what the others alone would leave.

use std::cell::Cell;

use govstore::{Store, Update, UpdateReport};
use govstore_testkit::Database;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::config;

/// The agents of a case: two that take updates, one that is paused, one whose next row is there already, so that its
/// updates fail half way, and a name that none can have.
const AGENTS: [&str; 5] = ["calm", "busy", "paused", "broken", " "];

#[derive(Debug, Clone)]
struct Wanted {
    agent: &'static str,
    complexity: f64,
    key: Option<String>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let agent = prop_oneof![6 => Just(AGENTS[0]), 6 => Just(AGENTS[1]), 1 => Just(AGENTS[2]), 1 => Just(AGENTS[3]), 1 => Just(AGENTS[4])];
    // Few keys and few inputs, so that some are retries, and some are mistakes.
    let complexity = prop::sample::select(vec![0.1, 0.9]);
    let key = prop_oneof![4 => Just(None), 4 => prop::sample::select(vec!["k", "l", ""]).prop_map(|key| Some(key.to_owned()))];
    (agent, complexity, key).prop_map(|(agent, complexity, key)| Wanted { agent, complexity, key })
}

impl Wanted {
    fn update(&self) -> Update {
        let mut update = Update::new().complexity(self.complexity).response_text("done");
        update.key.clone_from(&self.key);
        update
    }
}

/// An agent's name in a case of its own.
fn named(agent: &str, case: u32) -> String {
    if agent == " " { agent.to_owned() } else { format!("{agent}-{case:06}") }
}

fn prepare(database: &Database, store: &Store, case: u32) {
    for agent in ["paused", "broken"] {
        store.process_update(&named(agent, case), &Update::new()).expect("an agent");
    }
    store.pause(&named("paused", case), None).expect("a pause");
    let broken =
        "INSERT INTO agent_updates (agent_id, update_no, void_integral, coherence, risk_score, void_active,
                    decision, health_status)
                  VALUES ($1, 2, 0, 1, 0.1, false, 'approve', 'healthy')";
    database.write(&[(broken, vec![named("broken", case).into()])]).expect("a row");
}

/// What a caller is told, but for the time.
fn told(made: govstore::Result<UpdateReport>) -> Result<Value, String> {
    let report = made.map_err(|error| error.to_string())?;
    let mut report = serde_json::to_value(report).expect("a report is JSON");
    report["timestamp"] = Value::Null;
    Ok(report)
}

/// Everything that updates leave, but for times.
fn left(database: &Database, case: u32) -> Vec<Vec<Value>> {
    let like = format!("%-{case:06}");
    let queries = [
        "SELECT agent_id, lifecycle_status, energy, integrity, entropy, void_integral, coherence, lambda1, pi_integral,
                elapsed, risk_score, void_active, update_count, total_updates, last_decision, last_decision_reason
         FROM agents WHERE agent_id LIKE '",
        "SELECT agent_id, update_no, energy, integrity, entropy, void_integral, coherence, lambda1, risk_score, decision,
                decision_reason, health_status, complexity, text_length, patterns, key
         FROM agent_updates WHERE agent_id LIKE '",
        "SELECT agent_id, event, reason, health_from, health_to, actor FROM agent_events WHERE agent_id LIKE '",
    ];
    let orders = ["agent_id", "agent_id, update_no", "agent_id, event_id"];
    let rows = |(query, order)| database.rows(&format!("{query}{like}' ORDER BY {order}")).expect("rows");
    queries.into_iter().zip(orders).flat_map(rows).collect()
}

#[test]
fn a_group_leaves_what_its_updates_alone_would_leave() -> Result<(), Box<dyn std::error::Error>> {
    let (grouped, alone) = (Database::new(&[])?, Database::new(&[])?);
    let (in_groups, one_by_one) = (grouped.store()?, alone.store()?);
    let cases = Cell::new(0);
    proptest!(config(64), |(wanted in vec(wanted(), 1..12))| {
        let case = cases.get();
        cases.set(case + 1);
        prepare(&grouped, &in_groups, case);
        prepare(&alone, &one_by_one, case);
        let updates: Vec<_> = wanted.iter().map(|wanted| (named(wanted.agent, case), wanted.update())).collect();
        let group: Vec<_> = in_groups.process_updates(&updates).into_iter().map(told).collect();
        let each: Vec<_> = updates.iter().map(|(agent, update)| told(one_by_one.process_update(agent, update))).collect();
        prop_assert_eq!(group, each);
        prop_assert_eq!(left(&grouped, case), left(&alone, case));
    });
    Ok(())
}
