//! Colours. They mean the same everywhere, and no text needs them to be understood.

use anstyle::{AnsiColor, Style};
use govstore::{Action, CheckStatus, HealthStatus, HolderState, Lifecycle, Verdict};

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const PALE: Style = Style::new().dimmed();
pub const STRONG: Style = Style::new().bold();

/// What has a colour that tells how it is.
pub trait Painted {
    fn style(&self) -> Style;
}

impl Painted for HealthStatus {
    fn style(&self) -> Style {
        match self {
            Self::Healthy => GOOD,
            Self::Degraded => DOUBTFUL,
            Self::Critical => BAD,
        }
    }
}

impl Painted for Lifecycle {
    fn style(&self) -> Style {
        match self {
            Self::Active => Style::new(),
            Self::Paused => DOUBTFUL,
            Self::Archived | Self::Deleted => PALE,
        }
    }
}

impl Painted for Verdict {
    fn style(&self) -> Style {
        match self {
            Self::Alive => GOOD,
            Self::Exited | Self::Surplus => PALE,
            Self::Stale | Self::Orphaned => BAD,
            _ => DOUBTFUL,
        }
    }
}

impl Painted for HolderState {
    fn style(&self) -> Style {
        match self {
            Self::Running => Style::new(),
            Self::Gone => PALE,
            Self::Stopped | Self::Frozen => BAD,
            _ => DOUBTFUL,
        }
    }
}

pub fn health(status: HealthStatus) -> String {
    paint(status.style(), status.as_str())
}

pub fn lifecycle(status: Lifecycle) -> String {
    paint(status.style(), status.as_str())
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
    paint(verdict.style(), verdict.as_str())
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

/// What somebody should see to.
pub fn bad(text: &str) -> String {
    paint(BAD, text)
}

/// What is new, or as it should be.
pub fn good(text: &str) -> String {
    paint(GOOD, text)
}

/// What may be passed over.
pub fn pale(text: &str) -> String {
    paint(PALE, text)
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
