//! Colours. They mean the same everywhere, and no text needs them to be understood.

use anstyle::{AnsiColor, Style};
use govstore::{Action, CheckStatus, HealthStatus, Lifecycle, Verdict};

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const PALE: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

pub fn health(status: HealthStatus) -> String {
    let style = match status {
        HealthStatus::Healthy => GOOD,
        HealthStatus::Degraded => DOUBTFUL,
        HealthStatus::Critical => BAD,
    };
    paint(style, status.as_str())
}

pub fn lifecycle(status: Lifecycle) -> String {
    let style = match status {
        Lifecycle::Active => Style::new(),
        Lifecycle::Paused => DOUBTFUL,
        Lifecycle::Archived | Lifecycle::Deleted => PALE,
    };
    paint(style, status.as_str())
}

pub fn action(action: Action) -> String {
    let style = match action {
        Action::Approve => GOOD,
        Action::Revise => DOUBTFUL,
        Action::Reject => BAD,
    };
    paint(style, action.as_str())
}

pub fn verdict(verdict: Verdict) -> String {
    let style = match verdict {
        Verdict::Alive => GOOD,
        Verdict::Exited | Verdict::Surplus => PALE,
        Verdict::Foreign | Verdict::Unverifiable => DOUBTFUL,
        Verdict::Stale | Verdict::Orphaned => BAD,
    };
    paint(style, verdict.as_str())
}

/// How a check ended.
pub fn passed(passed: bool) -> String {
    if passed { paint(GOOD, "PASS") } else { paint(BAD, "FAIL") }
}

/// How a look at the database ended.
pub fn check(status: CheckStatus) -> String {
    let style = match status {
        CheckStatus::Ok => GOOD,
        CheckStatus::Warning => DOUBTFUL,
        CheckStatus::Failed => BAD,
    };
    paint(style, status.as_str())
}

/// A heading, or a name that the eye should find.
pub fn strong(text: &str) -> String {
    paint(STRONG, text)
}

/// What may be passed over.
pub fn pale(text: &str) -> String {
    paint(PALE, text)
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
