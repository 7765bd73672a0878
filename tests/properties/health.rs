//! Health has one meaning: for any row and any thresholds, the view says what the classifier says.

use govstore::health::classify;
use govstore::{AgentFilter, HealthThresholds};
use govstore_testkit::{Database, TestResult};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use crate::config;

/// What health is judged by.
#[derive(Debug, Clone)]
struct Figures {
    risk_score: Option<f64>,
    coherence: Option<f64>,
    void_active: bool,
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..=1.0, 1 => Just(0.0), 1 => Just(1.0), 1 => Just(-0.0), 1 => Just(f64::MIN_POSITIVE / 2.0)]
}

fn thresholds() -> impl Strategy<Value = HealthThresholds> {
    let ordered = || (share(), share()).prop_map(|(a, b)| if a <= b { (a, b) } else { (b, a) });
    (ordered(), ordered(), any::<bool>()).prop_map(|(risk, coherence, coherence_overrides_risk)| {
        HealthThresholds {
            risk_healthy_max: risk.0,
            risk_degraded_max: risk.1,
            coherence_degraded_min: coherence.0,
            coherence_healthy_min: coherence.1,
            coherence_overrides_risk,
        }
    })
}

/// Anywhere, or on a threshold, or just beside one.
fn figures(thresholds: &HealthThresholds) -> impl Strategy<Value = Figures> + use<> {
    let on = prop::sample::select(vec![
        thresholds.risk_healthy_max,
        thresholds.risk_degraded_max,
        thresholds.coherence_healthy_min,
        thresholds.coherence_degraded_min,
    ]);
    let beside = (on, -1..=1).prop_map(|(on, side): (f64, i32)| match side {
        -1 => on.next_down().max(0.0),
        0 => on,
        _ => on.next_up().min(1.0),
    });
    let figure = option::weighted(0.8, prop_oneof![share(), beside]);
    (figure.clone(), figure, prop::bool::weighted(0.1))
        .prop_map(|(risk_score, coherence, void_active)| Figures { risk_score, coherence, void_active })
}

/// As by hand: the row of settings and the agents' own.
fn write(database: &Database, thresholds: &HealthThresholds, fleet: &[Figures]) -> TestResult {
    let mut statements = vec![
        ("DELETE FROM agents", Vec::new()),
        (
            "UPDATE settings SET
               risk_healthy_max = $1, risk_degraded_max = $2,
               coherence_healthy_min = $3, coherence_degraded_min = $4,
               coherence_overrides_risk = $5",
            vec![
                json!(thresholds.risk_healthy_max),
                json!(thresholds.risk_degraded_max),
                json!(thresholds.coherence_healthy_min),
                json!(thresholds.coherence_degraded_min),
                json!(thresholds.coherence_overrides_risk),
            ],
        ),
    ];
    for (n, figures) in fleet.iter().enumerate() {
        statements.push((
            "INSERT INTO agents (agent_id, created_at, risk_score, coherence, void_active)
             VALUES ($1, '2025-11-19T20:41:09.824Z', $2, $3, $4)",
            vec![
                json!(format!("agent-{n:03}")),
                json!(figures.risk_score),
                json!(figures.coherence),
                json!(figures.void_active),
            ],
        ));
    }
    database.write(&statements)
}

#[test]
fn the_view_says_what_the_classifier_says() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let fleets =
        thresholds().prop_flat_map(|thresholds| (Just(thresholds), vec(figures(&thresholds), 1..60)));
    proptest!(config(64), |((thresholds, fleet) in fleets)| {
        write(&database, &thresholds, &fleet).expect("rows that break no rule");
        prop_assert_eq!(store.settings()?.health_thresholds(), thresholds);
        let listed = store.agents(&AgentFilter::default())?;
        prop_assert_eq!(listed.len(), fleet.len());
        for (agent, Figures { risk_score, coherence, void_active }) in listed.iter().zip(&fleet) {
            let health = classify(*risk_score, *coherence, *void_active, &thresholds);
            prop_assert_eq!(agent.health_status, health.status);
        }
        let fleet_status = listed.iter().map(|agent| agent.health_status).max();
        prop_assert_eq!(store.health()?.fleet_status, fleet_status);
    });
    Ok(())
}
