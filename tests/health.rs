//! Health has one meaning: the view `agent_health` and the classifier agree on every row, whatever the
//! thresholds and whoever changed them.

use govstore::health::{HealthStatus, classify};
use govstore::{AgentFilter, Error, EventKind, Settings, Store, Update};
use govstore_testkit::{Database, TestResult};
use serde_json::json;

const ROWS: usize = 4_000;

/// Fills the table with agents on, beside and between the boundaries of `settings`, and at random.
fn generate_agents(database: &Database, settings: &Settings, seed: u64) -> TestResult {
    let mut rng = fastrand::Rng::with_seed(seed);
    let boundaries = [
        settings.risk_healthy_max,
        settings.risk_degraded_max,
        settings.coherence_healthy_min,
        settings.coherence_degraded_min,
        0.0,
        1.0,
    ];
    let share = |rng: &mut fastrand::Rng| -> Option<f64> {
        let boundary = boundaries[rng.usize(..boundaries.len())];
        match rng.u8(..5) {
            0 => None,
            1 => Some(boundary),
            2 => Some(boundary.next_up().min(1.0)),
            3 => Some(boundary.next_down().max(0.0)),
            _ => Some(rng.f64()),
        }
    };
    let mut statements = vec![("DELETE FROM agents", Vec::new())];
    for n in 0..ROWS {
        let lifecycle = ["active", "paused", "archived", "deleted"][rng.usize(..4)];
        let (risk, coherence, void) = (share(&mut rng), share(&mut rng), rng.u8(..8) == 0);
        statements.push((
            "INSERT INTO agents (agent_id, created_at, lifecycle_status, risk_score, coherence, void_active)
             VALUES ($1, '2025-11-19T20:41:09.824Z', $2, $3, $4, $5)",
            vec![json!(format!("agent-{n}")), json!(lifecycle), json!(risk), json!(coherence), json!(void)],
        ));
    }
    database.write(&statements)
}

/// Compares view, classifier, library and fleet counts over every row. Returns how often each status came.
fn compare(store: &Store, database: &Database) -> TestResult<[usize; 3]> {
    let thresholds = store.settings()?.health_thresholds();
    let rows = database.rows(
        "SELECT a.agent_id, a.lifecycle_status, a.risk_score, a.coherence, a.void_active, h.health_status
         FROM agents AS a JOIN agent_health AS h ON h.agent_id = a.agent_id ORDER BY a.agent_id",
    )?;
    let listed = store.agents(&AgentFilter::default())?;
    let mut counts = [0; 3];
    let mut in_service = [0_u64; 3];
    assert_eq!((rows.len(), listed.len()), (ROWS, ROWS));
    for (row, listed) in rows.iter().zip(&listed) {
        let [agent_id, lifecycle, risk, coherence, void, view] = &row[..] else { panic!("{row:?}") };
        let health = classify(risk.as_f64(), coherence.as_f64(), *void == 1, &thresholds);
        assert_eq!(*view, health.status.as_str(), "risk {risk}, coherence {coherence}, void {void}");
        assert_eq!(*agent_id, listed.agent_id);
        assert_eq!(listed.health_status, health.status);
        counts[health.status as usize] += 1;
        if lifecycle == "active" || lifecycle == "paused" {
            in_service[health.status as usize] += 1;
        }
    }
    let fleet = store.health()?;
    assert_eq!([fleet.healthy, fleet.degraded, fleet.critical], in_service);
    assert_eq!(fleet.total_agents, ROWS as u64);
    assert_eq!(fleet.active + fleet.paused + fleet.archived + fleet.deleted, fleet.total_agents);
    assert_eq!(fleet.fleet_status, Some(HealthStatus::Critical));
    Ok(counts)
}

#[test]
fn view_and_classifier_agree_on_every_row_after_every_change_of_thresholds() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;

    let check = |seed| -> TestResult {
        generate_agents(&database, &store.settings()?, seed)?;
        let counts = compare(&store, &database)?;
        assert!(counts.iter().all(|count| *count > ROWS / 100), "every status occurs: {counts:?}");
        Ok(())
    };
    check(1)?;
    store.set_setting("coherence_overrides_risk", "1")?;
    check(2)?;
    store.set_setting("risk_degraded_max", "0.55")?;
    store.set_setting("risk_healthy_max", "0.4")?;
    store.set_setting("coherence_degraded_min", "0.25")?;
    check(3)?;
    store.set_setting("coherence_overrides_risk", "false")?;
    check(4)?;

    database.execute(
        "UPDATE settings SET risk_healthy_max = 0.2, risk_degraded_max = 0.2,
                             coherence_healthy_min = 0.7, coherence_degraded_min = 0.7,
                             coherence_overrides_risk = true",
    )?;
    assert!((store.settings()?.risk_degraded_max - 0.2).abs() < f64::EPSILON, "a change by hand is followed");
    generate_agents(&database, &store.settings()?, 5)?;
    compare(&store, &database)?;
    Ok(())
}

#[test]
fn an_empty_fleet_has_no_health() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let fleet = store.health()?;
    assert_eq!((fleet.fleet_status, fleet.total_agents, fleet.critical), (None, 0, 0));
    store.process_update("a", &Update::new().complexity(1.0))?;
    store.archive("a", None)?;
    assert_eq!(store.health()?.fleet_status, None, "an archived agent is out of service");
    Ok(())
}

#[test]
fn a_change_of_health_is_an_event_and_no_change_is_none() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let send = |complexity| store.process_update("a", &Update::new().complexity(complexity));
    for complexity in [0.1, 0.1, 0.9, 0.9, 1.0, 0.1] {
        send(complexity)?;
    }
    send(1.0)?;
    store.set_setting("risk_degraded_max", "0.2")?;
    send(1.0)?; // the limit moved below its risk: it was critical before this update, and still is
    let changes: Vec<_> = store
        .events("a")?
        .into_iter()
        .filter(|event| event.event == EventKind::HealthChanged)
        .map(|event| (event.health_from.map(HealthStatus::as_str), event.health_to.map(HealthStatus::as_str)))
        .collect();
    let (healthy, degraded, critical) = (Some("healthy"), Some("degraded"), Some("critical"));
    let expected = [
        (None, healthy), // the first update
        (healthy, degraded),
        (degraded, critical),
        (critical, healthy),
        (healthy, critical),
    ];
    assert_eq!(changes, expected);
    Ok(())
}

#[test]
fn a_setting_that_makes_no_sense_is_refused_with_its_rule() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let before = store.settings()?;
    let refusals = [
        ("risk_healthy_max", "0.5", "risk_healthy_max <= risk_degraded_max"),
        ("risk_healthy_max", "-0.1", "0 <= risk_healthy_max"),
        ("risk_healthy_max", "much", "it takes a number"),
        ("risk_healthy_max", "none", "it takes a number"),
        ("risk_degraded_max", "1e999", "it takes a number"),
        ("coherence_overrides_risk", "2", "true or false"),
        ("limit_policy", "perhaps", "evict or refuse"),
        ("lock_timeout_ms", "-1", "a whole number"),
        ("lock_timeout_ms", "99999999", "lock_timeout_ms lies between 0 and 3600000"),
        ("heartbeat_interval_s", "301", "stale_after_s is at least heartbeat_interval_s"),
        ("history_limit", "few", "it takes a whole number from 1 on, or none"),
        ("history_limit", "0", "history_limit is NULL or at least 1"),
    ];
    for (key, value, rule) in refusals {
        match store.set_setting(key, value) {
            Err(Error::InvalidSetting { reason, .. }) => {
                assert!(reason.contains(rule), "{key} = {value}: {reason}");
            }
            other => panic!("{key} = {value}: {other:?}"),
        }
    }
    assert!(matches!(store.set_setting("colour", "1"), Err(Error::UnknownSetting { .. })));
    assert_eq!(store.settings()?, before);
    Ok(())
}
