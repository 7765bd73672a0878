//! Points in time as the database writes them.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: UTC, milliseconds, written with a fixed width so that it sorts as text.
///
/// ```
/// let at: govstore::Timestamp = "2025-11-19T20:41:09.824Z".parse()?;
/// assert_eq!(at.to_string(), "2025-11-19T20:41:09.824Z");
/// # Ok::<(), govstore::ParseTimestampError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

/// A text that is no point in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text:?} is not a time like 2025-11-19T20:41:09.824Z")]
pub struct ParseTimestampError {
    text: String,
}

impl Timestamp {
    /// The present, cut to milliseconds. A clock before 1970 is believed like any other.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The point that lies this many milliseconds before.
    pub(crate) fn earlier_by_ms(self, milliseconds: i64) -> Self {
        Self(self.0.checked_sub_signed(chrono::TimeDelta::milliseconds(milliseconds)).unwrap_or(self.0))
    }

    /// The full hour that this point lies in.
    #[cfg(feature = "postgres")]
    pub(crate) fn full_hour(self) -> Self {
        use chrono::DurationRound;
        Self(self.0.duration_trunc(chrono::TimeDelta::hours(1)).unwrap_or(self.0))
    }

    /// The first point that can be written, and the last.
    #[cfg(feature = "postgres")]
    pub(crate) fn least_and_greatest() -> (Self, Self) {
        let parsed = |text: &str| text.parse().expect("a time");
        (parsed("0000-01-01T00:00:00.000Z"), parsed("9999-12-31T23:59:59.999Z"))
    }

    /// Milliseconds since 1970.
    #[cfg(feature = "postgres")]
    pub(crate) const fn as_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// Parses a time that names no zone, and takes it as UTC. The v1.0.3 files have such times.
    pub fn parse_without_zone(text: &str) -> Result<Self, ParseTimestampError> {
        Self::parse_local(text, |local| Some(local.and_utc()))
    }

    /// Parses a time that names no zone. `to_utc` says what it means, if anything; the year has four digits.
    pub(crate) fn parse_local(
        text: &str,
        to_utc: impl FnOnce(NaiveDateTime) -> Option<DateTime<Utc>>,
    ) -> Result<Self, ParseTimestampError> {
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
        let local = local.filter(|local| (0..=9999).contains(&local.year()));
        Self::of_fixed_width(text, local.and_then(to_utc))
    }

    /// What was parsed from `text`, unless its year has more or less than four digits: the text would not sort.
    fn of_fixed_width(text: &str, parsed: Option<DateTime<Utc>>) -> Result<Self, ParseTimestampError> {
        parsed
            .filter(|at| (0..=9999).contains(&at.year()))
            .map(Self::from)
            .ok_or_else(|| ParseTimestampError { text: text.to_owned() })
    }

    /// The same point as chrono's type.
    #[must_use]
    pub const fn to_utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.trunc_subsecs(3))
    }
}

impl From<SystemTime> for Timestamp {
    /// Unlike [`Utc::now`], which panics where the clock says that it is before 1970.
    fn from(at: SystemTime) -> Self {
        Self::from(DateTime::<Utc>::from(at))
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let parsed = DateTime::parse_from_rfc3339(text).ok();
        Self::of_fixed_width(text, parsed.map(|at| at.to_utc()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_fixed_width_and_keeps_milliseconds() -> Result<(), ParseTimestampError> {
        let at = Timestamp::parse_without_zone("2025-11-19T20:41:09.824739")?;
        assert_eq!(at.to_string(), "2025-11-19T20:41:09.824Z");
        assert_eq!(at.to_string().parse::<Timestamp>()?, at);
        let whole = Timestamp::parse_without_zone("2025-11-19T20:41:09")?;
        assert_eq!(whole.to_string(), "2025-11-19T20:41:09.000Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
        Ok(())
    }

    #[test]
    fn a_clock_before_1970_is_a_time_as_any_other() {
        let before = |ms| Timestamp::from(SystemTime::UNIX_EPOCH - std::time::Duration::from_millis(ms));
        assert_eq!(before(1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(before(86_400_000 * 365).to_string(), "1969-01-01T00:00:00.000Z");
        assert!(before(2) < before(1) && before(1) < Timestamp::from(SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_year_that_does_not_fit_the_width_is_refused() {
        assert!("9999-12-31T23:59:59.999Z".parse::<Timestamp>().is_ok());
        assert!("9999-12-31T23:59:59.999-01:00".parse::<Timestamp>().is_err(), "it is the year 10000 in UTC");
        assert!(Timestamp::parse_without_zone("+12025-11-19T20:41:09").is_err());
        assert!(Timestamp::parse_without_zone("-0001-11-19T20:41:09").is_err());
    }
}
