//! Updates that share a commit: what fails in one of them changes nothing for the others.

use std::sync::{Arc, Barrier};
use std::thread;

use govstore::{Actor, Error, Store, Update};
use govstore_testkit::{Database, TestResult};

use super::assert_each_once;

const ROUNDS: usize = 60;
const KEYS: usize = 100;

/// Threads that line up: some of their agents are paused, some ids are none, and one agent's next row is there already,
/// so that its update fails after it has written half of it.
#[test]
fn threads_that_share_commits_fail_alone() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    for agent in ["paused", "broken", "good-0"] {
        store.process_update(agent, &Update::new())?;
    }
    store.pause("paused", None)?;
    database.execute(
        "INSERT INTO agent_updates (agent_id, update_no, void_integral, coherence, risk_score, void_active, decision, health_status)
         VALUES ('broken', 2, 0, 1, 0.1, false, 'approve', 'healthy')",
    )?;
    let agents = ["good-0", "paused", "good-1", "broken", "good-2", "good-0", "", "good-1"];
    let start = Arc::new(Barrier::new(agents.len()));
    thread::scope(|scope| {
        for (n, agent) in agents.into_iter().enumerate() {
            let (store, start) = (store.acting_as(Actor::library()), Arc::clone(&start));
            scope.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    let update = Update::new().key(format!("{n}-{round}"));
                    match (agent, store.process_update(agent, &update)) {
                        ("paused", Err(Error::WrongLifecycle { .. }))
                        | ("broken", Err(Error::Constraint { .. }))
                        | ("", Err(Error::InvalidAgentId { .. })) => {}
                        (good, Ok(report)) if good.starts_with("good") => assert!(!report.repeated),
                        (agent, other) => panic!("{agent}: {other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(store.agent("broken")?.total_updates, 1, "half an update is none");
    let good = agents.iter().filter(|agent| agent.starts_with("good")).count();
    let stored = database.count("SELECT count(DISTINCT key) FROM agent_updates")?;
    assert_eq!(usize::try_from(stored)?, good * ROUNDS);
    assert_eq!(database.count("SELECT count(key) FROM agent_updates")?, stored);
    Ok(())
}

/// Every thread retries under the same keys at once: whoever comes first makes the update, the others get its report.
#[test]
fn one_key_in_many_threads_is_one_update() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let first: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let store: &Store = &store;
                scope.spawn(move || {
                    let made = |n: usize| {
                        let update = Update::new().response_text("done").key(format!("key-{n}"));
                        let report = store.process_update("shared", &update).expect("a report");
                        assert_eq!(report.key.as_deref(), Some(format!("key-{n}").as_str()));
                        usize::from(!report.repeated)
                    };
                    (0..KEYS).map(made).sum::<usize>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    assert_eq!(first, KEYS);
    assert_each_once(&database, &(0..KEYS).map(|n| format!("key-{n}")).collect::<Vec<_>>())
}

/// A retry is answered though the agent was paused, archived or deleted since, and whatever it would collide with.
#[test]
fn a_retry_is_the_first_report_again() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let update =
        Update::new().parameters([0.5, 0.4]).response_text("sudo rm -rf /").complexity(-0.0).key("k");
    let first = store.process_update("default_agent", &update)?;
    assert!(!first.repeated && first.warning.is_some());
    store.process_update("default_agent", &Update::new())?;
    store.pause("default_agent", None)?;
    let mut again = store.process_update("default_agent", &update)?;
    assert!(again.repeated);
    again.repeated = false;
    assert_eq!(serde_json::to_string(&again)?, serde_json::to_string(&first)?);

    let other = update.clone().complexity(0.1);
    match store.process_update("default_agent", &other) {
        Err(Error::KeyReused { key, update_no, .. }) => assert_eq!((key.as_str(), update_no), ("k", 1)),
        unexpected => panic!("{unexpected:?}"),
    }
    assert_eq!(store.agent("default_agent")?.total_updates, 2);
    // In a batch, and within one.
    let batch = [("a", Update::new().key("x")), ("a", Update::new().key("x")), ("b", Update::new().key("x"))];
    let repeated: Vec<bool> = store
        .process_updates(&batch)
        .into_iter()
        .map(|made| made.map(|r| r.repeated))
        .collect::<Result<_, _>>()?;
    assert_eq!(repeated, [false, true, false]);
    for (key, is_valid) in [("", false), ("a\0b", false), (&"é".repeat(200), true), (&"é".repeat(201), false)]
    {
        let made = store.process_update("c", &Update::new().key(key));
        assert_eq!(made.is_ok(), is_valid, "{key:?}: {made:?}");
    }
    Ok(())
}
