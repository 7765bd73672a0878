//! Times that name no zone, read as those of the zone that is given.

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, TimeZone};
use govstore::ImportOptions;
use serde_json::json;

use crate::{Setup, TestResult, entry_with, reasons};

/// A zone whose clocks went from +01:00 to +02:00 at one o'clock on 2025-03-30, and back at two o'clock on 2025-10-26.
/// It had no 2011-12-30: before, it lay on the other side of the date line.
#[derive(Clone)]
struct Changing;

fn hours(hours: i32) -> FixedOffset {
    FixedOffset::east_opt(hours * 3600).expect("an offset")
}

fn at(year: i32, month: u32, day: u32, hour: u32) -> NaiveDateTime {
    let day = NaiveDate::from_ymd_opt(year, month, day).expect("a day");
    day.and_hms_opt(hour, 0, 0).expect("an hour")
}

impl TimeZone for Changing {
    type Offset = FixedOffset;

    fn from_offset(_: &FixedOffset) -> Self {
        Self
    }

    fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        MappedLocalTime::None
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        let local = *local;
        if (at(2011, 12, 30, 0)..at(2011, 12, 31, 0)).contains(&local) {
            MappedLocalTime::None
        } else if local < at(2011, 12, 30, 0) {
            MappedLocalTime::Single(hours(-10))
        } else if (at(2025, 3, 30, 1)..at(2025, 3, 30, 2)).contains(&local) {
            MappedLocalTime::None
        } else if (at(2025, 10, 26, 1)..at(2025, 10, 26, 2)).contains(&local) {
            MappedLocalTime::Ambiguous(hours(2), hours(1))
        } else if (at(2025, 3, 30, 2)..at(2025, 10, 26, 1)).contains(&local) {
            MappedLocalTime::Single(hours(2))
        } else {
            MappedLocalTime::Single(hours(1))
        }
    }

    fn offset_from_utc_date(&self, _: &NaiveDate) -> FixedOffset {
        hours(1)
    }

    fn offset_from_utc_datetime(&self, _: &NaiveDateTime) -> FixedOffset {
        hours(1)
    }
}

#[test]
fn a_time_without_a_zone_is_of_the_zone_that_is_given() -> TestResult {
    let setup = Setup::with_agents(&json!({
        "a": {
            "status": "paused",
            "created_at": "2025-07-01T12:00:00.824739",
            "last_update": "2025-12-01T12:00:00",
            "paused_at": "2025-12-01T12:00:00+05:00",
            "archived_at": "2025-12-01T12:00:00Z",
            "lifecycle_events": [{ "event": "created", "timestamp": "2025-07-01T12:00:00.824766" }],
        },
    }))?;
    let found = ImportOptions::new().time_zone(Changing).read(setup.data())?;
    let report = setup.store.import_v1_folder(&found)?;
    assert_eq!(report.remarks, []);
    let agent = setup.store.agent("a")?;
    let written = [Some(agent.created_at), agent.last_update_at, agent.paused_at, agent.archived_at]
        .map(|at| at.map(|at| at.to_string()).unwrap_or_default());
    assert_eq!(
        written,
        [
            "2025-07-01T10:00:00.824Z",
            "2025-12-01T11:00:00.000Z",
            "2025-12-01T07:00:00.000Z",
            "2025-12-01T12:00:00.000Z"
        ]
    );
    assert_eq!(setup.store.events("a")?[0].occurred_at.to_string(), "2025-07-01T10:00:00.824Z");
    Ok(())
}

#[test]
fn a_time_that_came_twice_or_never_is_taken_by_a_rule_and_named() -> TestResult {
    let setup = Setup::with_agents(&json!({
        "a": {
            "status": "active",
            "created_at": "2025-03-30T01:30:00",
            "last_update": "2025-10-26T01:30:00.5",
            "lifecycle_events": [
                { "event": "created", "timestamp": "2011-12-30T12:00:00" },
                { "event": "paused", "timestamp": "2025-10-26T01:00:00", "reason": "the first that came twice" },
                { "event": "resumed", "timestamp": "2025-10-26T02:00:00", "reason": "came once" },
            ],
        },
    }))?;
    let found = ImportOptions::new().time_zone(Changing).read(setup.data())?;
    let report = setup.store.import_v1_folder(&found)?;
    let agent = setup.store.agent("a")?;
    assert_eq!(
        agent.created_at.to_string(),
        "2025-03-30T00:30:00.000Z",
        "a clock not set forward shows 01:30"
    );
    assert_eq!(agent.last_update_at.map(|at| at.to_string()).as_deref(), Some("2025-10-25T23:30:00.500Z"));
    let events: Vec<_> = setup.store.events("a")?.iter().map(|event| event.occurred_at.to_string()).collect();
    assert_eq!(events, ["2011-12-30T22:00:00.000Z", "2025-10-25T23:00:00.000Z", "2025-10-26T01:00:00.000Z"]);
    assert_eq!(
        reasons(&report, "a"),
        [
            "created_at: 2025-03-30T01:30:00 never came there, as clocks were set forward; it was taken by the \
             offset before, 2025-03-30T00:30:00.000Z",
            "last_update: 2025-10-26T01:30:00.5 came twice there, as clocks were set back; the first was taken, \
             2025-10-25T23:30:00.500Z",
            "lifecycle event 1: timestamp: 2011-12-30T12:00:00 never came there, as clocks were set forward; it was \
             taken by the offset before, 2011-12-30T22:00:00.000Z",
            "lifecycle event 2: timestamp: 2025-10-26T01:00:00 came twice there, as clocks were set back; the first \
             was taken, 2025-10-25T23:00:00.000Z",
        ]
    );
    Ok(())
}

#[test]
fn a_time_at_the_edge_of_the_calendar_is_refused_where_the_zone_moves_it_out() -> TestResult {
    for (time, hours_east, expected) in [
        ("9999-12-31T23:00:00", 2, Some("9999-12-31T21:00:00.000Z")),
        ("9999-12-31T23:00:00", -2, None),
        ("0000-01-01T01:00:00", -2, Some("0000-01-01T03:00:00.000Z")),
        ("0000-01-01T01:00:00", 2, None),
        ("+262142-12-31T23:59:59", -2, None),
        ("-262143-01-01T00:00:00", 2, None),
    ] {
        let setup = Setup::with_agents(&json!({ "a": entry_with("created_at", json!(time)) }))?;
        let found = ImportOptions::new().time_zone(hours(hours_east)).read(setup.data())?;
        let report = setup.store.import_v1_folder(&found)?;
        let created_at = setup.store.agent("a").map(|agent| agent.created_at.to_string()).ok();
        assert_eq!(created_at.as_deref(), expected, "{time} {hours_east}");
        assert_eq!(report.remarks.len(), usize::from(expected.is_none()), "{time} {hours_east}");
    }
    Ok(())
}

/// No zone at all: whatever is asked, no such time ever came.
#[test]
fn a_zone_without_times_refuses_them() -> TestResult {
    #[derive(Clone)]
    struct Nowhere;
    impl TimeZone for Nowhere {
        type Offset = FixedOffset;
        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }
        fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            MappedLocalTime::None
        }
        fn offset_from_local_datetime(&self, _: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            MappedLocalTime::None
        }
        fn offset_from_utc_date(&self, _: &NaiveDate) -> FixedOffset {
            hours(0)
        }
        fn offset_from_utc_datetime(&self, _: &NaiveDateTime) -> FixedOffset {
            hours(0)
        }
    }
    let setup = Setup::with_agents(&json!({ "a": entry_with("version", json!("v1.0")) }))?;
    let found = ImportOptions::new().time_zone(Nowhere).read(setup.data())?;
    let report = setup.store.import_v1_folder(&found)?;
    assert!(report.imported.is_empty());
    assert!(reasons(&report, "a")[0].contains("created_at: \"2025-11-19T20:41:09.824739\" is not a time"));
    Ok(())
}
