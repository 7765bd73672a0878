//! Calls of the tools of wrapped servers, as figures.

use std::time::Duration;

use serde::Serialize;

use super::process::tamed;

/// Longest name of a tool, in characters.
const TOOL_MAX_CHARS: usize = 200;

/// Up to which time calls are counted apart, in microseconds.
const BOUNDS_US: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Figures of the calls of one tool that are not recorded yet.
///
/// ```
/// use std::time::Duration;
///
/// let mut figures = govstore::CallFigures::new("read_file");
/// figures.add(Duration::from_millis(3), false);
/// figures.add(Duration::from_millis(40), true);
/// assert_eq!((figures.calls(), figures.errors()), (2, 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFigures {
    pub(crate) tool: String,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) total_us: u64,
    pub(crate) max_us: u64,
    /// How many took no longer than each of the bounds.
    pub(crate) within: [u64; BOUNDS_US.len()],
}

impl CallFigures {
    /// No calls of this tool yet. Its name is a stranger's: it is cut to 200 characters, and control characters are left out.
    #[must_use]
    pub fn new(tool: &str) -> Self {
        let tool = tamed(tool, TOOL_MAX_CHARS).unwrap_or_else(|| "unnamed".to_owned());
        Self { tool, calls: 0, errors: 0, total_us: 0, max_us: 0, within: [0; BOUNDS_US.len()] }
    }

    /// One more call: how long it took, and whether it failed.
    pub fn add(&mut self, took: Duration, is_error: bool) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs());
        self.calls += 1;
        self.errors += u64::from(is_error);
        self.total_us = self.total_us.saturating_add(took_us);
        self.max_us = self.max_us.max(took_us);
        for (within, bound_us) in self.within.iter_mut().zip(BOUNDS_US) {
            *within += u64::from(took_us <= bound_us);
        }
    }

    /// All the calls of another one, too.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.max_us = self.max_us.max(other.max_us);
        for (within, more) in self.within.iter_mut().zip(other.within) {
            *within += more;
        }
    }

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// How many calls were answered.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// How many of them failed.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }
}

/// The calls of one tool of one server, as recorded. Times are from a call to its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ToolCalls {
    /// The server's name.
    pub server: String,
    /// The tool's name.
    pub tool: String,
    /// How many calls were answered.
    pub calls: u64,
    /// How many of them failed: an error, or a result that calls itself one.
    pub errors: u64,
    /// How long a call took on average, in milliseconds.
    pub mean_ms: f64,
    /// How long the slowest took, in milliseconds.
    pub max_ms: f64,
    /// How many took no longer than a millisecond.
    pub within_1ms: u64,
    /// How many took no longer than 10 milliseconds.
    pub within_10ms: u64,
    /// How many took no longer than 100 milliseconds.
    pub within_100ms: u64,
    /// How many took no longer than a second.
    pub within_1s: u64,
    /// How many took no longer than 10 seconds.
    pub within_10s: u64,
}

impl ToolCalls {
    /// A time within which this share of the calls was answered, by what was counted: the next power of ten. `None`: longer
    /// than 10 seconds.
    ///
    /// ```no_run
    /// # let store = govstore::Store::open("governance.db")?;
    /// for calls in store.calls(None)? {
    ///     println!("{}: 95 % within {:?}", calls.tool, calls.within(0.95));
    /// }
    /// # Ok::<(), govstore::Error>(())
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
    pub fn within(&self, share: f64) -> Option<Duration> {
        let counts = [self.within_1ms, self.within_10ms, self.within_100ms, self.within_1s, self.within_10s];
        let wanted = share * self.calls as f64;
        let counted = counts.into_iter().zip(BOUNDS_US);
        let (_, bound_us) = counted.into_iter().find(|(count, _)| *count as f64 >= wanted)?;
        Some(Duration::from_micros(bound_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_tool_is_short_and_does_nothing() {
        assert_eq!(CallFigures::new("\u{1b}[2Jx\n").tool(), "[2Jx");
        assert_eq!(CallFigures::new(&"é".repeat(999)).tool().chars().count(), TOOL_MAX_CHARS);
        assert_eq!(CallFigures::new(" \0").tool(), "unnamed");
    }

    #[test]
    fn merged_figures_are_those_of_all_calls() {
        let times = [0, 1_000, 1_001, 5_000_000, u64::MAX];
        let (mut all, mut one, mut other) =
            (CallFigures::new("t"), CallFigures::new("t"), CallFigures::new("t"));
        for (number, time_us) in times.into_iter().enumerate() {
            let (took, is_error) = (Duration::from_micros(time_us), number == 1);
            all.add(took, is_error);
            if number % 2 == 0 { one.add(took, is_error) } else { other.add(took, is_error) }
        }
        one.merge(&other);
        assert_eq!(one, all);
        assert_eq!((all.calls(), all.errors(), all.within), (5, 1, [2, 3, 3, 3, 4]));
    }
}
