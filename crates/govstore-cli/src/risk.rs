//! What a risk was made of, as people read it.

use govstore::{HealthThresholds, explain};
use govstore_mcp::wire::RiskParts;

/// The risk with its parts, the largest first, and the patterns that were found:
/// `15.4 %: complexity 15.0 %, length 0.4 %`.
pub fn parts(risk: f64, parts: &RiskParts, patterns: &[&str], thresholds: &HealthThresholds) -> String {
    let total = explain::risk(risk, 1, thresholds);
    // As many decimals as the risk itself has: fewer would seem not to add up.
    let decimals = total.trim_end_matches(" %").split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let nothing = format!("{:.decimals$}", 0.0);
    let listed: Vec<String> = largest_first(parts)
        .into_iter()
        .map(|(name, part)| (name, format!("{:.decimals$}", part * 100.0)))
        .filter(|(_, part)| *part != nothing)
        .map(|(name, part)| format!("{name} {part} %"))
        .collect();
    let found = if patterns.is_empty() { String::new() } else { format!(" ({})", patterns.join(", ")) };
    if listed.is_empty() { total } else { format!("{total}: {}{found}", listed.join(", ")) }
}

fn largest_first(parts: &RiskParts) -> [(&'static str, f64); 4] {
    let mut parts = [
        ("length", parts.length),
        ("complexity", parts.complexity),
        ("coherence", parts.coherence),
        ("patterns", parts.patterns),
    ];
    parts.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    parts
}
