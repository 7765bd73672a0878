//! Agents: what of `agent_metadata.json` is taken, and what is left out and why.

use govstore::{AgentFilter, Lifecycle, Update};
use serde_json::{Value, json};

use govstore_testkit::TestResult;

use crate::{Setup, entry, entry_with, export, reasons};

#[test]
fn an_entry_that_cannot_be_used_does_not_spoil_the_others() -> TestResult {
    let too_long = "x".repeat(129);
    let bad = [
        ("", entry(), "is empty"),
        (" padded", entry(), "white space"),
        ("line\nbreak", entry(), "control characters"),
        (&too_long, entry(), "longer than 128 characters"),
        ("no object", json!(["active"]), "not a JSON object"),
        ("null", Value::Null, "not a JSON object"),
        ("another's", entry_with("agent_id", json!("good")), r#"about another agent, "good""#),
        ("no status", json!({ "created_at": "2025-11-19T20:41:09" }), "status is missing"),
        ("number as status", entry_with("status", json!(1)), "status: "),
        ("no date", json!({ "status": "active" }), "created_at is missing"),
        ("bad date", entry_with("created_at", json!("yesterday")), "created_at: \"yesterday\" is not a time"),
        ("no such day", entry_with("last_update", json!("2025-02-30T10:00:00")), "last_update: "),
        ("far future", entry_with("paused_at", json!("+12025-11-19T20:41:09")), "paused_at: "),
        ("number as date", entry_with("archived_at", json!(1_763_584_869)), "archived_at: invalid type"),
        ("negative", entry_with("total_updates", json!(-1)), "total_updates: -1 does not lie between 0 and"),
        ("too many", entry_with("total_updates", json!(i64::MAX)), "total_updates: "),
        ("fraction", entry_with("total_updates", json!(1.5)), "total_updates: invalid type"),
        ("tags", entry_with("tags", json!(["a", 1])), "tags: invalid type: integer `1`"),
        ("notes", entry_with("notes", json!({})), "notes: invalid type"),
        ("version", entry_with("version", json!(1.0)), "version: invalid type"),
        ("events", entry_with("lifecycle_events", json!("created")), "lifecycle_events: invalid type"),
    ];
    let mut agents = json!({ "good": entry() });
    for (id, entry, _) in &bad {
        agents[*id] = entry.clone();
    }
    let setup = Setup::with_agents(&agents)?;
    let report = setup.import()?;

    assert_eq!(report.imported.iter().map(|a| a.agent_id.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(setup.store.agents(&AgentFilter::default())?.len(), 1);
    assert_eq!(report.remarks.len(), bad.len());
    for (id, _, expected) in bad {
        let reasons = reasons(&report, id);
        assert_eq!(reasons.len(), 1, "{id:?}");
        assert!(reasons[0].starts_with("it was not imported: "), "{id:?}: {}", reasons[0]);
        assert!(reasons[0].contains(expected), "{id:?}: {}", reasons[0]);
    }
    Ok(())
}

#[test]
fn a_status_of_a_later_version_becomes_active_and_is_named() -> TestResult {
    let mut waiting = entry_with("status", json!("waiting_input"));
    waiting["paused_at"] = json!("2025-11-19T21:00:00");
    let setup = Setup::with_agents(&json!({
        "waiting": waiting,
        "odd": entry_with("status", json!("Paused")),
        "known": entry_with("status", json!("archived")),
    }))?;
    let report = setup.import()?;
    let status = |id: &str| setup.store.agent(id).map(|agent| agent.lifecycle_status);
    assert_eq!(status("waiting")?, Lifecycle::Active);
    assert_eq!(status("odd")?, Lifecycle::Active);
    assert_eq!(status("known")?, Lifecycle::Archived);
    assert_eq!(
        reasons(&report, "waiting"),
        ["its status \"waiting_input\" is none of v1.0.3; it was taken as active"]
    );
    assert_eq!(reasons(&report, "odd"), ["its status \"Paused\" is none of v1.0.3; it was taken as active"]);
    assert_eq!(report.remarks.len(), 2);
    setup.store.process_update("waiting", &Update::default())?;
    Ok(())
}

#[test]
fn what_v1_may_leave_out_has_its_usual_value_and_what_it_did_not_know_is_ignored() -> TestResult {
    let setup = Setup::with_agents(&json!({
        "bare": entry(),
        "nulls": {
            "agent_id": "nulls", "status": "paused", "created_at": "2025-11-19T20:41:09", "last_update": null,
            "version": null, "total_updates": null, "tags": null, "notes": null, "lifecycle_events": null,
            "paused_at": null, "archived_at": null, "parent_agent": "a later version's field",
        },
    }))?;
    assert_eq!(setup.import()?.remarks, []);
    for id in ["bare", "nulls"] {
        let agent = setup.store.agent(id)?;
        assert_eq!((agent.version.as_str(), agent.total_updates, agent.notes.as_str()), ("v1.0", 0, ""));
        assert_eq!((agent.last_update_at, agent.paused_at, agent.archived_at), (None, None, None));
        assert!(agent.tags.is_empty());
        assert!(setup.store.events(id)?.is_empty());
    }
    assert_eq!(setup.store.agent("nulls")?.lifecycle_status, Lifecycle::Paused);
    Ok(())
}

#[test]
fn a_time_is_utc_unless_it_names_its_zone() -> TestResult {
    let setup = Setup::with_agents(&json!({
        "a": {
            "status": "paused",
            "created_at": "2025-11-19T20:41:09.999999",
            "last_update": "2025-11-19T20:41:09",
            "paused_at": "2025-11-19T20:41:09.824739+02:00",
            "archived_at": "2025-11-19T20:41:09Z",
        },
    }))?;
    setup.import()?;
    let agent = setup.store.agent("a")?;
    let written = [Some(agent.created_at), agent.last_update_at, agent.paused_at, agent.archived_at]
        .map(|at| at.map(|at| at.to_string()).unwrap_or_default());
    assert_eq!(
        written,
        [
            "2025-11-19T20:41:09.999Z",
            "2025-11-19T20:41:09.000Z",
            "2025-11-19T18:41:09.824Z",
            "2025-11-19T20:41:09.000Z"
        ]
    );
    Ok(())
}

#[test]
fn events_keep_their_order_and_one_that_cannot_be_used_is_left_out_alone() -> TestResult {
    let at = "2025-11-19T21:15:10.435161";
    let deleted_at = "2025-11-19T23:00:00.000001";
    let setup = Setup::with_agents(&json!({
        "a": {
            "status": "deleted", "created_at": at,
            "lifecycle_events": [
                { "event": "created", "timestamp": at, "reason": null },
                { "event": "promoted", "timestamp": at, "reason": null },
                { "event": "archived", "timestamp": "2025-11-19T22:00:00", "reason": "tidying" },
                { "event": "paused", "timestamp": "noon" },
                { "timestamp": at },
                "resumed",
                { "event": "deleted", "timestamp": deleted_at },
                { "event": "health_changed", "timestamp": at },
            ],
        },
        "resurrected": {
            "status": "active", "created_at": at,
            "lifecycle_events": [{ "event": "deleted", "timestamp": deleted_at }],
        },
    }))?;
    let report = setup.import()?;

    let events: Vec<_> = setup
        .store
        .events("a")?
        .into_iter()
        .map(|e| (e.event.to_string(), e.occurred_at.to_string(), e.reason))
        .collect();
    let event = |kind: &str, at: &str, reason: Option<&str>| {
        (kind.to_owned(), at.to_owned(), reason.map(ToOwned::to_owned))
    };
    assert_eq!(
        events,
        [
            event("created", "2025-11-19T21:15:10.435Z", None),
            event("archived", "2025-11-19T22:00:00.000Z", Some("tidying")),
            event("deleted", "2025-11-19T23:00:00.000Z", None),
        ]
    );
    assert_eq!(report.imported[0].events, 3);
    assert_eq!(
        reasons(&report, "a"),
        [
            "lifecycle event 2 was left out: \
             \"promoted\" is none of created, paused, resumed, archived, deleted",
            "lifecycle event 4 was left out: \
             timestamp: \"noon\" is not a time like 2025-11-19T20:41:09.824Z",
            "lifecycle event 5 was left out: event is missing",
            "lifecycle event 6 was left out: it is not a JSON object",
            "lifecycle event 8 was left out: \
             \"health_changed\" is none of created, paused, resumed, archived, deleted",
        ]
    );
    assert_eq!(setup.store.agent("a")?.deleted_at, Some("2025-11-19T23:00:00Z".parse()?));
    assert_eq!(setup.store.agent("resurrected")?.deleted_at, None, "it is not deleted now");
    Ok(())
}

#[test]
fn an_agent_that_the_database_has_is_left_as_it_is() -> TestResult {
    let setup = Setup::with_agents(&json!({
        "known": entry_with("total_updates", json!(50)),
        "new": entry(),
    }))?;
    setup.put("known.json", &export("known", &[0.05; 60]))?;
    setup.store.process_update("known", &Update::default())?;
    let before =
        (setup.store.agent("known")?, setup.store.history("known", None)?, setup.store.events("known")?);

    let report = setup.import()?;
    assert_eq!(report.unchanged, ["known"]);
    assert_eq!(report.imported.iter().map(|a| a.agent_id.as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(report.remarks, [], "what the folder says of it does not matter");
    let after =
        (setup.store.agent("known")?, setup.store.history("known", None)?, setup.store.events("known")?);
    assert_eq!(after, before);
    Ok(())
}
