//! The views of both backends answer alike, for fleets that are made up.

use govstore_testkit::{Database, TestResult};
use serde_json::{Value, json};

use crate::database;

/// The views, without what depends on the moment, in an order of their rows that both have.
const VIEWS: [&str; 6] = [
    "SELECT * FROM agent_health ORDER BY agent_id",
    "SELECT * FROM fleet_health",
    "SELECT * FROM recent_updates ORDER BY applied_at DESC, agent_id",
    "SELECT * FROM risk_parts ORDER BY agent_id, update_no",
    "SELECT process_id, pid, name, version, client_name, client_version, protocol_version, state, suspected, parent_gone,
            claim_verdict, claim_evidence, registered_at, ended_at FROM process_status ORDER BY process_id",
    "SELECT process_id, pid, name, version, state, beat_at, suspected FROM stale_processes ORDER BY process_id",
];

fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-9,
        _ => one == other,
    }
}

#[test]
fn made_up_fleets_look_alike_in_both() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let fleets: u64 = std::env::var("GOVSTORE_FLEETS").map_or(Ok(60), |fleets| fleets.parse())?;
    let file = Database::in_a_file(&[])?;
    drop((server.store()?, file.store()?));
    for fleet in 0..fleets {
        let statements = made_up(fleet);
        let statements: Vec<(&str, Vec<Value>)> =
            statements.iter().map(|(sql, parameters)| (sql.as_str(), parameters.clone())).collect();
        file.write(&statements)?;
        server.write(&statements)?;
        for view in VIEWS {
            let (of_file, of_server) = (file.rows(view)?, server.rows(view)?);
            assert_eq!(of_file.len(), of_server.len(), "fleet {fleet}: {view}");
            for (one, other) in of_file.iter().zip(&of_server) {
                let is_same = one.iter().zip(other).all(|(one, other)| same(one, other));
                assert!(is_same, "fleet {fleet}: {view}\n  in a file   {one:?}\n  on a server {other:?}");
            }
        }
    }
    Ok(())
}

fn made_up(fleet: u64) -> Vec<(String, Vec<Value>)> {
    let mut random = fastrand::Rng::with_seed(fleet);
    let mut statements: Vec<(String, Vec<Value>)> = [
        "DELETE FROM agent_updates",
        "DELETE FROM agent_events",
        "DELETE FROM agents",
        "DELETE FROM heartbeats",
        "DELETE FROM processes",
    ]
    .map(|sql| (sql.to_owned(), Vec::new()))
    .to_vec();
    let mut risks = [random.f64(), random.f64()];
    risks.sort_by(f64::total_cmp);
    let mut coherences = [random.f64(), random.f64()];
    coherences.sort_by(f64::total_cmp);
    statements.push((
        "UPDATE settings SET risk_healthy_max = $1, risk_degraded_max = $2, coherence_degraded_min = $3,
                             coherence_healthy_min = $4, coherence_overrides_risk = $5"
            .to_owned(),
        vec![
            json!(risks[0]),
            json!(risks[1]),
            json!(coherences[0]),
            json!(coherences[1]),
            json!(random.bool()),
        ],
    ));
    // Boundaries, and anything else. Not the middle between two figures that are shown: there PostgreSQL rounds up, and
    // SQLite by the digits of the binary fraction.
    let share = |random: &mut fastrand::Rng| match random.u8(..6) {
        0 => risks[0],
        1 => coherences[1],
        2 => f64::from(random.u32(..=1_000)) / 1_000.0,
        _ => random.f64(),
    };
    for n in 0..random.usize(0..6) {
        let agent_id = json!(format!("agent é{n}"));
        let is_new = random.u8(..4) == 0;
        let or_null = |value: f64| if is_new { Value::Null } else { json!(value) };
        statements.push((
            "INSERT INTO agents (agent_id, lifecycle_status, created_at, last_update_at, coherence, risk_score,
                                 void_active, update_count, total_updates, last_decision)
             VALUES ($1, $2, '2025-11-19T20:41:09.824Z', $3, $4, $5, $6, 1, 3, $7)"
                .to_owned(),
            vec![
                agent_id.clone(),
                word(&mut random, &["active", "active", "paused", "archived", "deleted"]),
                if is_new { Value::Null } else { json!("2025-11-20T20:41:09.824Z") },
                or_null(share(&mut random)),
                or_null(share(&mut random)),
                json!(random.u8(..8) == 0),
                if is_new { Value::Null } else { word(&mut random, &["approve", "revise", "reject"]) },
            ],
        ));
        for update_no in 1..=random.i64(0..4) {
            let is_old = random.u8(..5) == 0;
            let or_null = |value: Value| if is_old { Value::Null } else { value };
            let at = format!(
                "2025-11-{:02}T20:{:02}:{n:02}.{:03}Z",
                10 + update_no,
                random.u8(..60),
                random.u16(..1_000)
            );
            statements.push((
                "INSERT INTO agent_updates (agent_id, update_no, applied_at, void_integral, coherence, lambda1, risk_score,
                                            void_active, decision, decision_reason, health_status, complexity,
                                            text_length, patterns)
                 VALUES ($1, $2, $3, 0.1, $4, $5, $6, $7, $8, 'because', $9, $10, $11, $12)"
                    .to_owned(),
                vec![
                    agent_id.clone(),
                    json!(update_no),
                    or_null(json!(at)),
                    json!(share(&mut random)),
                    json!(share(&mut random)),
                    json!(share(&mut random)),
                    json!(random.bool()),
                    word(&mut random, &["approve", "revise", "reject"]),
                    word(&mut random, &["healthy", "degraded", "critical"]),
                    or_null(json!(share(&mut random))),
                    or_null(json!(random.u32(..10_000))),
                    or_null(json!(random.u16(..1_024))),
                ],
            ));
        }
    }
    statements.extend(made_up_processes(&mut random));
    statements
}

fn word(random: &mut fastrand::Rng, words: &[&str]) -> Value {
    json!(words[random.usize(..words.len())])
}

fn made_up_processes(random: &mut fastrand::Rng) -> Vec<(String, Vec<Value>)> {
    let mut statements = Vec::new();
    for process_id in 1..=random.i64(0..4) {
        let state = word(random, &["running", "running", "terminating", "exited", "killed"]);
        let is_claimed = state == "terminating";
        let claim = |value: Value| if is_claimed { value } else { Value::Null };
        let has_ended = !is_claimed && state != "running";
        statements.push((
            "INSERT INTO processes (process_id, name, version, pid, boot_id, start_ticks, registered_at, parent_gone,
                                    last_activity_monotonic_ms, state, ended_at, claim_verdict, claim_evidence, claimed_at,
                                    claim_until_monotonic_ms)
             VALUES ($1, 'server', '1', $1, 'boot', $1, '2025-11-19T20:41:09.824Z', $2, 0, $3, $4, $5, $6, $7, $8)"
                .to_owned(),
            vec![
                json!(process_id),
                json!(random.bool()),
                state,
                if has_ended { json!("2025-11-20T20:41:09.824Z") } else { Value::Null },
                claim(json!("stale")),
                claim(json!("its heartbeat is old")),
                claim(json!("2025-11-20T20:41:09.824Z")),
                claim(json!(5)),
            ],
        ));
        if !has_ended {
            statements.push((
                "INSERT INTO heartbeats (process_id, boot_id, monotonic_ms, beat_at, interval_ms, suspected_monotonic_ms)
                 VALUES ($1, 'boot', 0, '2025-11-19T20:41:09.824Z', 1000, $2)"
                    .to_owned(),
                vec![json!(process_id), if random.bool() { json!(1) } else { Value::Null }],
            ));
        }
    }
    statements
}
