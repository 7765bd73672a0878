//! A time zone, as an argument names it.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Timelike};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

/// No clock shows a time farther from UTC, in seconds.
const OFFSET_MAX: i32 = 14 * 3600;

/// What an argument may look like.
const EXAMPLES: &str = "name one such as Europe/Berlin, America/New_York or UTC, or an offset such as +02:00";

/// A zone of the IANA database, or one that never sets its clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    Named(TimeZone),
    Offset(FixedOffset),
}

/// The zones come from one crate, and times are another's.
impl chrono::TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        Self::Offset(*offset)
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        self.offset_from_local_datetime(&local.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        let zone = match self {
            Self::Named(zone) => zone,
            Self::Offset(offset) => return MappedLocalTime::Single(*offset),
        };
        let Some(local) = civil(local) else { return MappedLocalTime::None };
        match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                fixed(offset).map_or(MappedLocalTime::None, MappedLocalTime::Single)
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            // The clock showed it first by the offset before it was set back.
            AmbiguousOffset::Fold { before, after } => match (fixed(before), fixed(after)) {
                (Some(earlier), Some(later)) => MappedLocalTime::Ambiguous(earlier, later),
                _ => MappedLocalTime::None,
            },
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&utc.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        let offset = match self {
            Self::Named(zone) => jiff::Timestamp::from_second(utc.and_utc().timestamp())
                .ok()
                .and_then(|timestamp| fixed(zone.to_offset(timestamp))),
            Self::Offset(offset) => Some(*offset),
        };
        offset.unwrap_or_else(|| chrono::Offset::fix(&chrono::Utc))
    }
}

/// `None` for a year that is no other program's, either.
fn civil(local: &NaiveDateTime) -> Option<DateTime> {
    let small = |number: u32| i8::try_from(number).ok();
    DateTime::new(
        i16::try_from(local.year()).ok()?,
        small(local.month())?,
        small(local.day())?,
        small(local.hour())?,
        small(local.minute())?,
        small(local.second())?,
        0,
    )
    .ok()
}

fn fixed(offset: Offset) -> Option<FixedOffset> {
    FixedOffset::east_opt(offset.seconds())
}

/// The zones that this program was built with: those of the system differ from machine to machine.
fn zones() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(['+', '-']) {
            return offset(text).map(Self::Offset).ok_or_else(|| format!("it is no offset; {EXAMPLES}"));
        }
        zones().get(text).map(Self::Named).map_err(|_| match city(text) {
            Some(zone) => format!("no time zone has that name; {EXAMPLES}. Is it {zone}?"),
            None => format!("no time zone has that name; {EXAMPLES}"),
        })
    }
}

fn offset(text: &str) -> Option<FixedOffset> {
    let offset: FixedOffset = text.parse().ok()?;
    (offset.local_minus_utc().abs() <= OFFSET_MAX).then_some(offset)
}

/// The zone whose name ends with this, as in `Europe/Berlin`.
fn city(text: &str) -> Option<String> {
    let text = text.trim().replace(' ', "_");
    let mut names = zones().available().map(|name| name.to_string()).collect::<Vec<_>>().into_iter();
    names.find(|name| name.rsplit_once('/').is_some_and(|(_, last)| last.eq_ignore_ascii_case(&text)))
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(zone) => f.write_str(zone.iana_name().unwrap_or("UTC")),
            Self::Offset(offset) => write!(f, "UTC{offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    #[test]
    fn names_and_offsets_are_zones() {
        for name in ["UTC", "Europe/Berlin", "America/New_York"] {
            for text in [name.to_owned(), name.to_lowercase()] {
                assert_eq!(text.parse::<Zone>().map(|zone| zone.to_string()), Ok(name.to_owned()));
            }
        }
        for (text, minutes) in [("+02:00", 120), ("-0330", -210), ("+14:00", 840), ("-00:00", 0)] {
            let offset = FixedOffset::east_opt(minutes * 60).expect("an offset");
            assert_eq!(text.parse(), Ok(Zone::Offset(offset)), "{text}");
        }
    }

    /// Berlin's clocks were set forward on 2025-03-30 and back on 2025-10-26.
    #[test]
    fn clocks_are_set_twice_a_year() {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let at = |text: &str| {
            let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect("a time");
            zone.offset_from_local_datetime(&local).map(|offset| offset.local_minus_utc() / 3600)
        };
        assert_eq!(at("2025-01-01 12:00:00"), MappedLocalTime::Single(1));
        assert_eq!(at("2025-07-01 12:00:00"), MappedLocalTime::Single(2));
        assert_eq!(at("2025-03-30 02:30:00"), MappedLocalTime::None);
        assert_eq!(at("2025-10-26 02:30:00"), MappedLocalTime::Ambiguous(2, 1));
        let local = zone.with_ymd_and_hms(2025, 10, 26, 2, 30, 0).earliest().expect("a time");
        assert_eq!(local.to_utc().to_rfc3339(), "2025-10-26T00:30:00+00:00");
    }

    #[test]
    fn what_is_no_zone_is_answered_with_examples() {
        for text in ["", "Berlin", "Mars/Olympus", "+25:00", "+14:01", "+2 hours", "-", "2", "CEST"] {
            let reason = text.parse::<Zone>().expect_err(text);
            assert!(reason.contains("Europe/Berlin") && reason.contains("+02:00"), "{text}: {reason}");
        }
        let reason = "new york".parse::<Zone>().expect_err("only a part of the name");
        assert!(reason.ends_with("Is it America/New_York?"), "{reason}");
    }
}
