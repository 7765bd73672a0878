//! Figures and times as people read them.

use govstore::{HealthThresholds, Timestamp, explain};

/// What stands for a figure that there isn't.
pub const NONE: &str = "–";

/// A share from 0 to 1 as a percentage: `12.34%`.
pub fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// A risk in a table: `15.36%`, and more decimals only where it takes them to tell it from a boundary.
pub fn risk(risk: f64, thresholds: &HealthThresholds) -> String {
    explain::risk(risk, 2, thresholds).replace(' ', "") // tables are cut at blanks
}

/// A coherence likewise: `0.4321`.
pub fn coherence(coherence: f64, thresholds: &HealthThresholds) -> String {
    explain::coherence(coherence, 4, thresholds)
}

/// `2025-11-19 20:41:09`, in UTC.
pub fn time(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago something was, in its largest unit: `12 s`, `3 min`, `5 h`, `40 d`. A time that is still to
/// come, by the clock of another machine, is `0 s`.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    in_largest_unit(now.to_utc().signed_duration_since(at.to_utc()).num_seconds().max(0))
}

/// A number of seconds, likewise.
#[expect(clippy::cast_possible_truncation, reason = "an age of a process")]
pub fn span(seconds: f64) -> String {
    in_largest_unit(seconds as i64)
}

fn in_largest_unit(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes in megabytes: `14.2 MB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `1 update`, `2 updates`, `2 processes`.
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or_default();
    let ending = if noun.ends_with('s') { "es" } else { "s" };
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}{ending}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() -> Result<(), govstore::ParseTimestampError> {
        let now: Timestamp = "2025-11-19T20:41:09.824Z".parse()?;
        #[rustfmt::skip]
        let cases = [
            ("2025-11-19T20:41:09.000Z", "0 s"),
            ("2025-11-19T20:40:10.000Z", "59 s"),
            ("2025-11-19T20:40:09.000Z", "1 min"),
            ("2025-11-19T19:41:10.000Z", "59 min"),
            ("2025-11-18T20:41:10.000Z", "23 h"),
            ("2025-11-18T20:41:09.000Z", "1 d"),
            ("2025-11-20T00:00:00.000Z", "0 s"),
        ];
        for (at, expected) in cases {
            assert_eq!(age(at.parse()?, now), expected, "{at}");
        }
        Ok(())
    }

    #[test]
    fn one_is_not_plural() {
        assert_eq!(count(1, "update"), "1 update");
        assert_eq!(count(0, "update"), "0 updates");
        assert_eq!(count(2, "process"), "2 processes");
    }
}
