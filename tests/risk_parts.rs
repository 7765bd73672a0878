//! What a risk was made of is the same in SQL, in Rust and in JSON. As many made-up updates as you like:
//! `GOVSTORE_UPDATES=10000 cargo test --test risk_parts`.

use govstore::Update;
use govstore_mcp::wire;
use govstore_testkit::{Database, TestResult};

const WORDS: [&str; 8] =
    ["sudo ", "RM -RF ", "Drop Table ", "script>", "bypass", "harmless ", "Jailbreak", "システム"];

/// Anything that a client might send.
fn made_up(random: &mut fastrand::Rng) -> Update {
    let words = (0..random.usize(..6)).map(|_| WORDS[random.usize(..WORDS.len())]);
    let text: String = words.collect::<String>() + &"é".repeat(random.usize(..5_000));
    let numbers = [0.0, 1.0, -3.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, random.f64(), random.f64()];
    let mut update = Update::new().response_text(text).complexity(numbers[random.usize(..numbers.len())]);
    if random.bool() {
        update = update.parameters([random.f64(), numbers[random.usize(..numbers.len())]]);
    }
    update
}

#[test]
fn the_view_the_library_and_json_agree_on_the_parts_of_each_risk() -> TestResult {
    let updates: usize = std::env::var("GOVSTORE_UPDATES").map_or(Ok(600), |updates| updates.parse())?;
    let database = Database::new(&[])?;
    let store = database.store()?;
    let mut random = fastrand::Rng::with_seed(14);
    let batch: Vec<_> = (0..updates).map(|_| ("a", made_up(&mut random))).collect();
    let reports: Vec<_> = store.process_updates(&batch).into_iter().collect::<Result<_, _>>()?;
    let rows = database.rows(
        "SELECT length_part, complexity_part, coherence_part, pattern_part, risk_score, text_length, patterns
         FROM risk_parts WHERE agent_id = 'a' ORDER BY update_no",
    )?;
    let history = store.history("a", None)?;
    assert_eq!((rows.len(), history.len(), reports.len()), (updates, updates, updates));
    for ((row, kept), report) in rows.iter().zip(history).zip(reports) {
        let view: Vec<f64> = row[..5].iter().filter_map(serde_json::Value::as_f64).collect();
        let parts = kept.risk_parts().ok_or("no parts")?;
        assert_eq!(parts, report.metrics.risk_parts, "{row:?}");
        let basis = kept.risk_basis.ok_or("nothing was kept")?;
        let patterns: Vec<&str> = basis.patterns.iter().collect();
        assert_eq!(
            (row[5].as_u64(), row[6].as_str()),
            (Some(basis.text_length), Some(patterns.join(", ").as_str()))
        );
        let json = serde_json::to_value(wire::UpdateReport::from(report))?;
        let in_json = |part: &str| json["metrics"]["risk_parts"][part].as_f64().ok_or("no part");
        let rust = [parts.length, parts.complexity, parts.coherence, parts.patterns];
        let json = [in_json("length")?, in_json("complexity")?, in_json("coherence")?, in_json("patterns")?];
        for ((sql, rust), json) in view.iter().zip(rust).zip(json) {
            assert!((sql - rust).abs() <= 1e-12 && (rust - json).abs() <= 1e-12, "{row:?}: {parts:?}");
        }
        let sum: f64 = rust.iter().sum();
        assert!((sum - view[4]).abs() <= 1e-12 && (parts.score() - view[4]).abs() <= 1e-12, "{row:?}");
    }
    Ok(())
}
