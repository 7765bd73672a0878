//! Calls of the tools of wrapped servers, as people read them.

use std::time::Duration;

use govstore::ToolCalls;

use super::figures::percent;

/// Over how long calls are summed up.
pub const OVER: Duration = Duration::from_hours(24);

/// The titles of [`row`].
pub const TITLES: [&str; 7] = ["SERVER", "TOOL", "CALLS", "ERRORS", "MEAN", "95 %", "SLOWEST"];

/// One tool: the server and the tool first.
pub fn row(calls: &ToolCalls) -> [String; 7] {
    let errors = match calls.errors {
        0 => "0".to_owned(),
        errors => format!("{errors} ({})", percent(share(errors, calls.calls))),
    };
    let most = match calls.within(0.95) {
        Some(bound) => format!("≤ {}", milliseconds(bound.as_secs_f64() * 1_000.0)),
        None => "> 10 s".to_owned(),
    };
    [
        calls.server.clone(),
        calls.tool.clone(),
        calls.calls.to_string(),
        errors,
        milliseconds(calls.mean_ms),
        most,
        milliseconds(calls.max_ms),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a share of a count")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// `0.31 ms`, `14 ms`, `2.5 s`.
fn milliseconds(ms: f64) -> String {
    match ms {
        ..9.995 if ms.fract() == 0.0 => format!("{ms:.0} ms"),
        ..9.995 => format!("{ms:.2} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ if ms % 1_000.0 == 0.0 => format!("{:.0} s", ms / 1_000.0),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_or_three_figures() {
        for (ms, text) in [
            (0.0, "0 ms"),
            (0.314, "0.31 ms"),
            (1.0, "1 ms"),
            (14.4, "14 ms"),
            (1_000.0, "1 s"),
            (2_512.0, "2.5 s"),
        ] {
            assert_eq!(milliseconds(ms), text);
        }
    }
}
