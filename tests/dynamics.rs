//! Recovery after a collapse, and numbers that are no numbers.

use govstore::{Action, Update};
use govstore_testkit::{Database, TestResult};
use serde_json::Value;

#[test]
fn an_agent_recovers_from_a_coherence_collapse_once_its_input_is_steady() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let send = |parameters: Vec<f64>| {
        store.process_update("a", &Update::new().parameters(parameters).complexity(0.2))
    };

    for _ in 0..10 {
        send(vec![0.5; 128])?;
    }
    let steady = store.agent("a")?;
    assert_eq!(steady.coherence, Some(1.0));

    // Parameters that jump to and fro: coherence collapses, every response is rejected, λ₁ falls.
    for n in 0..20 {
        let jump = if n % 2 == 0 { 0.9 } else { 0.1 };
        let report = send(vec![jump; 128])?;
        assert!(report.metrics.coherence < 0.60, "coherence {}", report.metrics.coherence);
        assert_eq!(report.decision.action, Action::Reject);
        assert!(report.decision.require_human);
    }
    let collapsed = store.agent("a")?;
    assert!(collapsed.lambda1 < steady.lambda1, "{} < {}", collapsed.lambda1, steady.lambda1);

    // Steady input again: coherence is back at once after the last jump, λ₁ over the next control steps.
    send(vec![0.5; 128])?;
    for _ in 0..49 {
        let report = send(vec![0.5; 128])?;
        assert_eq!(report.metrics.coherence.to_bits(), 1.0_f64.to_bits());
        assert_eq!(report.decision.action, Action::Approve);
    }
    let recovered = store.agent("a")?;
    assert!(recovered.lambda1 > collapsed.lambda1, "{} > {}", recovered.lambda1, collapsed.lambda1);
    assert!(recovered.lambda1 >= steady.lambda1 - 1e-12);
    Ok(())
}

#[test]
fn numbers_that_are_no_numbers_never_reach_the_database() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE];
    let mut updates = 0;
    for (n, value) in bad.into_iter().enumerate() {
        // One agent a value, so that a bad vector also meets a good one before and after it.
        let agent_id = format!("agent-{n}");
        let mut send = |update: &Update| {
            updates += 1;
            store.process_update(&agent_id, update).map(|report| {
                let m = &report.metrics;
                let figures = [m.energy, m.integrity, m.entropy, m.void_integral, m.coherence];
                assert!(figures.iter().all(|f| f.is_finite()), "{value}: {report:?}");
                assert!(m.risk_score.is_finite() && m.lambda1.is_finite() && m.time.is_finite());
            })
        };
        for position in 0..129 {
            let mut parameters = vec![0.5; position + 1];
            parameters[position] = value;
            send(&Update::new().parameters(parameters))?;
        }
        send(&Update::new().parameters(vec![value; 200]))?;
        send(&Update::new().parameters(vec![-value; 128]))?;
        send(&Update::new().complexity(value))?;
        for position in 0..3 {
            let mut ethical_drift = vec![0.0; 3];
            ethical_drift[position] = value;
            send(&Update::new().ethical_drift(ethical_drift))?;
        }
        send(&Update::new().parameters(vec![value]).ethical_drift(vec![value]).complexity(value))?;
        send(&Update::default())?;
    }

    assert_eq!(database.count("SELECT count(*) FROM agent_updates")?, updates);
    assert_eq!(stored_floats(&database, "SELECT * FROM agents")?, 6 * 9);
    assert_eq!(stored_floats(&database, "SELECT * FROM agent_updates")?, usize::try_from(updates)? * 9);
    Ok(())
}

/// How many floats a query answers with, beside those in vectors. All must be finite: one that is not would be a null.
fn stored_floats(database: &Database, sql: &str) -> TestResult<usize> {
    let mut floats = 0;
    for cell in database.rows(sql)?.into_iter().flatten() {
        match cell {
            Value::Number(number) if number.is_f64() => floats += 1,
            Value::Array(vector) => assert!(vector.iter().all(Value::is_f64), "{sql}: {vector:?}"),
            _ => {}
        }
    }
    Ok(floats)
}

#[test]
fn a_reset_goes_back_to_the_start_and_keeps_the_lifetime_total() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let update = Update::new().parameters(vec![0.5; 6]);
    let first = store.process_update("a", &update)?;
    for _ in 0..14 {
        store.process_update("a", &update)?;
    }
    let agent = store.reset("a")?;
    assert_eq!((agent.update_count, agent.total_updates), (0, 15));
    assert_eq!((agent.coherence, agent.risk_score, agent.last_decision), (None, None, None));
    assert_eq!(store.window_statistics("a")?.history_size, 0);

    let again = store.process_update("a", &update)?;
    assert_eq!(again.metrics.energy.to_bits(), first.metrics.energy.to_bits());
    assert_eq!((again.metrics.updates, again.metrics.total_updates), (1, 16));
    assert_eq!(store.history("a", None)?.len(), 16);
    Ok(())
}
