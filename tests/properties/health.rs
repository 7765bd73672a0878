//! Health has one meaning: for any row and any thresholds, the view says what the classifier says.

use govstore::health::classify;
use govstore::{AgentFilter, HealthThresholds, Store};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rusqlite::{Connection, named_params};

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

/// As with the `sqlite3` shell: the row of settings and the agents' own.
fn write(conn: &mut Connection, thresholds: &HealthThresholds, fleet: &[Figures]) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    tx.execute("DELETE FROM agents", [])?;
    tx.execute(
        "UPDATE settings SET
           risk_healthy_max = :risk_healthy_max, risk_degraded_max = :risk_degraded_max,
           coherence_healthy_min = :coherence_healthy_min, coherence_degraded_min = :coherence_degraded_min,
           coherence_overrides_risk = :coherence_overrides_risk",
        named_params! {
            ":risk_healthy_max": thresholds.risk_healthy_max,
            ":risk_degraded_max": thresholds.risk_degraded_max,
            ":coherence_healthy_min": thresholds.coherence_healthy_min,
            ":coherence_degraded_min": thresholds.coherence_degraded_min,
            ":coherence_overrides_risk": thresholds.coherence_overrides_risk,
        },
    )?;
    for (n, figures) in fleet.iter().enumerate() {
        tx.execute(
            "INSERT INTO agents (agent_id, created_at, risk_score, coherence, void_active)
             VALUES (:agent_id, '2025-11-19T20:41:09.824Z', :risk_score, :coherence, :void_active)",
            named_params! {
                ":agent_id": format!("agent-{n:03}"),
                ":risk_score": figures.risk_score,
                ":coherence": figures.coherence,
                ":void_active": figures.void_active,
            },
        )?;
    }
    tx.commit()
}

#[test]
fn the_view_says_what_the_classifier_says() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("governance.db"))?;
    let mut conn = Connection::open(store.path())?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    let fleets =
        thresholds().prop_flat_map(|thresholds| (Just(thresholds), vec(figures(&thresholds), 1..60)));
    let conn = std::cell::RefCell::new(&mut conn);
    proptest!(config(64), |((thresholds, fleet) in fleets)| {
        write(&mut conn.borrow_mut(), &thresholds, &fleet)?;
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
