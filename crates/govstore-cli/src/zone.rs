//! A time zone, as an argument names it.

use std::fmt;
use std::str::FromStr;

use chrono::FixedOffset;
use chrono_tz::{TZ_VARIANTS, Tz};
use govstore::ImportOptions;

/// No clock shows a time farther from UTC, in seconds.
const OFFSET_MAX: i32 = 14 * 3600;

/// What an argument may look like.
const EXAMPLES: &str = "name one such as Europe/Berlin, America/New_York or UTC, or an offset such as +02:00";

/// A zone of the IANA database, or one that never sets its clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Named(Tz),
    Offset(FixedOffset),
}

impl Zone {
    /// The options, with this zone for times that name none.
    pub fn apply_to(self, options: ImportOptions) -> ImportOptions {
        match self {
            Self::Named(zone) => options.time_zone(zone),
            Self::Offset(offset) => options.time_zone(offset),
        }
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(['+', '-']) {
            return offset(text).map(Self::Offset).ok_or_else(|| format!("it is no offset; {EXAMPLES}"));
        }
        let named = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text));
        named.map(|zone| Self::Named(*zone)).ok_or_else(|| match city(text) {
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
fn city(text: &str) -> Option<Tz> {
    let text = text.trim().replace(' ', "_");
    let last =
        |zone: &Tz| zone.name().rsplit_once('/').is_some_and(|(_, last)| last.eq_ignore_ascii_case(&text));
    TZ_VARIANTS.iter().copied().find(last)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(zone) => f.write_str(zone.name()),
            Self::Offset(offset) => write!(f, "UTC{offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets_are_zones() {
        assert_eq!("UTC".parse(), Ok(Zone::Named(Tz::UTC)));
        assert_eq!("Europe/Berlin".parse(), Ok(Zone::Named(Tz::Europe__Berlin)));
        assert_eq!("america/new_york".parse(), Ok(Zone::Named(Tz::America__New_York)));
        for (text, minutes) in [("+02:00", 120), ("-0330", -210), ("+14:00", 840), ("-00:00", 0)] {
            let offset = FixedOffset::east_opt(minutes * 60).expect("an offset");
            assert_eq!(text.parse(), Ok(Zone::Offset(offset)), "{text}");
        }
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
