//! What a time means that names no zone: v1.0.3 wrote the local time of its machine.

use std::sync::Arc;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};

use crate::model::{ParseTimestampError, Timestamp};

/// How far to look back for the time before the clocks were set forward, and in which steps. Zones have skipped a
/// whole day, to change sides of the date line.
const SKIPPED_AT_MOST: TimeDelta = TimeDelta::hours(25);
const STEP: TimeDelta = TimeDelta::minutes(15);

/// A time zone, of which only this is asked: which points in time a local time may be.
#[derive(Clone)]
pub(super) struct LocalTime(Arc<dyn Fn(NaiveDateTime) -> MappedLocalTime<DateTime<Utc>> + Send + Sync>);

impl LocalTime {
    pub fn of(zone: impl TimeZone + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |local| zone.from_local_datetime(&local).map(|at| at.to_utc())))
    }

    /// Parses a time. One that names its zone needs no other. The second value says what was assumed, if it is no
    /// local time or two points in time.
    pub fn parse(&self, text: &str) -> Result<(Timestamp, Option<String>), ParseTimestampError> {
        if let Ok(at) = text.parse() {
            return Ok((at, None));
        }
        let mut doubt = None;
        let at = Timestamp::parse_local(text, |local| {
            let (at, reason) = self.resolve(local)?;
            doubt = reason;
            Some(at)
        })?;
        Ok((at, doubt.map(|reason| format!("{text} {reason}, {at}"))))
    }

    /// Of two points in time the first; a time that was skipped is what a clock would show that had not been set
    /// forward. So does Python, which v1.0.3 was written in, read such times.
    fn resolve(&self, local: NaiveDateTime) -> Option<(DateTime<Utc>, Option<&'static str>)> {
        match (self.0)(local) {
            MappedLocalTime::Single(at) => Some((at, None)),
            MappedLocalTime::Ambiguous(one, other) => {
                Some((one.min(other), Some("came twice there, as clocks were set back; the first was taken")))
            }
            MappedLocalTime::None => {
                let at = self.by_the_offset_before(local)?;
                Some((
                    at,
                    Some("never came there, as clocks were set forward; it was taken by the offset before"),
                ))
            }
        }
    }

    fn by_the_offset_before(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let mut back = STEP;
        while back <= SKIPPED_AT_MOST {
            if let Some(before) = (self.0)(local.checked_sub_signed(back)?).latest() {
                return before.checked_add_signed(back);
            }
            back += STEP;
        }
        None
    }
}
