//! What a risk was made of, as people read it.

use govstore::{HealthThresholds, explain};
use govstore_mcp::wire::RiskParts;

/// The risk with its parts, the largest first, and the patterns that were found:
/// `15.4 %: complexity 15.0 %, length 0.4 %`.
pub fn parts(risk: f64, parts: &RiskParts, patterns: &[&str], thresholds: &HealthThresholds) -> String {
    let total = explain::risk(risk, thresholds);
    let listed: Vec<String> = largest_first(parts)
        .into_iter()
        .map(|(name, part)| format!("{name} {:.1} %", part * 100.0))
        .collect();
    let found = if patterns.is_empty() { String::new() } else { format!(" ({})", patterns.join(", ")) };
    if listed.is_empty() { total } else { format!("{total}: {}{found}", listed.join(", ")) }
}

/// The parts that make a difference at one decimal.
fn largest_first(parts: &RiskParts) -> Vec<(&'static str, f64)> {
    let mut parts = vec![
        ("length", parts.length),
        ("complexity", parts.complexity),
        ("coherence", parts.coherence),
        ("patterns", parts.patterns),
    ];
    parts.retain(|(_, part)| *part >= 0.000_5);
    parts.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    parts
}
