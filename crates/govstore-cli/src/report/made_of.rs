//! What the risks of an agent were made of: four areas, one upon the other, over time.

use std::fmt::Write;

use govstore::{HistoryRow, RiskParts, Timestamp};
use maud::{Markup, html};

use super::figures::{count, percent, time};
use super::line::{HEIGHT, Scale, WIDTH};

/// A percent is as high as it is in the plot of the risk.
const SHARE: Scale = Scale { low: 0.0, high: 1.0 };

/// Moments closer together than this share a column.
const COLUMN: usize = 2;

/// The areas, the lowest first: a name, its class, and which part it is.
type Area = (&'static str, fn(&RiskParts) -> f64);
const AREAS: [Area; 4] = [
    ("complexity", |parts| parts.complexity),
    ("coherence", |parts| parts.coherence),
    ("length", |parts| parts.length),
    ("patterns", |parts| parts.patterns),
];

/// The plot; nothing where the parts of no update are known.
pub fn made_of(history: &[HistoryRow]) -> Markup {
    let known: Vec<(Timestamp, RiskParts)> =
        history.iter().filter_map(|row| Some((row.applied_at?, row.risk_parts()?))).collect();
    let (Some((first, _)), Some((last, newest))) = (known.first(), known.last()) else { return html! {} };
    let columns = columns(&known);
    let told: Vec<String> =
        AREAS.iter().map(|(name, part)| format!("{name} {}", percent(part(newest)))).collect();
    let description = format!(
        "What the risk was made of, {}, from {} to {} UTC; newest: {}",
        count(known.len(), "update"),
        time(*first),
        time(*last),
        told.join(", ")
    );
    html! {
        figure {
            figcaption { span { "Risk, made of" } }
            svg role="img" aria-label=(description) viewBox={ "0 -6 " (WIDTH + 42) " " (HEIGHT + 24) } {
                @for (n, (name, _)) in AREAS.iter().enumerate() {
                    path.area.(name) d=(area(&columns, n)) {}
                }
                rect.frame width=(WIDTH) height=(HEIGHT) {}
                text x="0" y=(HEIGHT + 13) { (time(*first)) }
                @if last > first { text.end x=(WIDTH) y=(HEIGHT + 13) { (time(*last)) } }
            }
            ul.legend {
                @for ((name, _), told) in AREAS.iter().zip(&told) {
                    li { span.swatch.(name) aria-hidden="true" {} (told) }
                }
            }
        }
    }
}

/// Where from left to right each moment stands. A column shows the highest risk of its moments: no peak is left out.
fn columns(known: &[(Timestamp, RiskParts)]) -> Vec<(usize, RiskParts)> {
    let ms = |at: Timestamp| at.to_utc().timestamp_millis();
    // Clocks are set back now and then: a plot goes forward all the same.
    let begin = known.iter().map(|(at, _)| ms(*at)).min().unwrap_or_default();
    let end = known.iter().map(|(at, _)| ms(*at)).max().unwrap_or_default();
    let x = |at: Timestamp| -> usize {
        let share = u128::from((ms(at) - begin).unsigned_abs()) * (WIDTH / COLUMN) as u128
            / u128::from((end - begin).unsigned_abs().max(1));
        usize::try_from(share).unwrap_or_default() * COLUMN
    };
    let mut columns: Vec<(usize, RiskParts)> = Vec::new();
    for (at, parts) in known {
        let at = columns.last().map_or(0, |(last, _)| *last).max(x(*at));
        match columns.last_mut() {
            Some(last) if last.0 == at => {
                if parts.score() > last.1.score() {
                    last.1 = *parts;
                }
            }
            _ => columns.push((at, *parts)),
        }
    }
    if let [only] = columns[..] {
        columns = vec![(0, only.1), (WIDTH, only.1)];
    }
    columns
}

/// Path data of the area between the sum of the first `n` parts and the next one, straight from
/// column to column.
fn area(columns: &[(usize, RiskParts)], n: usize) -> String {
    let sum = |parts: &RiskParts, parts_below: usize| {
        SHARE.y(AREAS.iter().take(parts_below).map(|(_, part)| part(parts)).sum())
    };
    let mut data = String::new();
    for (place, (x, parts)) in columns.iter().enumerate() {
        let _ = write!(data, "{}{x} {}", if place == 0 { 'M' } else { 'L' }, sum(parts, n + 1)); // into a String
    }
    for (x, parts) in columns.iter().rev() {
        let _ = write!(data, "L{x} {}", sum(parts, n));
    }
    data + "z"
}

#[cfg(test)]
mod tests {
    use govstore::{Store, Update};
    use govstore_testkit::TestResult;

    use super::*;

    /// Updates that shared a commit have one time, and stand in one column.
    #[test]
    fn a_peak_is_not_hidden_by_what_came_at_the_same_time() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        for complexity in [0.1, 0.9, 0.2] {
            store.process_update("a", &Update::new().complexity(complexity))?;
        }
        let parts: Vec<RiskParts> =
            store.history("a", None)?.iter().filter_map(HistoryRow::risk_parts).collect();
        let at = Timestamp::now();
        let known: Vec<_> = parts.iter().map(|parts| (at, *parts)).collect();
        assert_eq!(columns(&known), [(0, parts[1]), (WIDTH, parts[1])]);
        Ok(())
    }
}
