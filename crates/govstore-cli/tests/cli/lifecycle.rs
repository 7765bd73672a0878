//! Pause, resume, archive, delete, reset; tags and notes.

use super::support::Folder;

/// Every command that changes one agent, with the agent in its place.
const CHANGES: [&[&str]; 8] = [
    &["update", "AGENT"],
    &["pause", "AGENT"],
    &["resume", "AGENT"],
    &["archive", "AGENT"],
    &["delete", "AGENT", "--yes"],
    &["reset", "AGENT"],
    &["tag", "AGENT", "--add", "x"],
    &["note", "AGENT", "x"],
];

#[test]
fn an_agent_goes_through_its_life() {
    let folder = Folder::with_writer();
    let said = |arguments: &[&str]| folder.run(arguments).done().stdout;
    assert_eq!(said(&["pause", "writer"]), "writer is paused: updates are refused until it is resumed\n");
    folder.run(&["update", "writer"]).refused(1, &["\"writer\" is paused", "resume it first"]);
    folder.run(&["pause", "writer"]).refused(1, &["\"writer\" is paused"]);
    assert_eq!(said(&["resume", "writer"]), "writer is active again\n");
    folder.run(&["resume", "writer"]).refused(1, &["\"writer\" is active"]);
    folder.run(&["update", "writer"]).done();
    assert_eq!(said(&["reset", "writer"]), "writer begins anew; its history of 2 updates stays\n");
    assert!(said(&["archive", "writer", "--reason", "- done"]).starts_with("writer is archived"));
    folder.run(&["update", "writer"]).refused(1, &["\"writer\" is archived", "resume it first"]);

    let before = folder.snapshot();
    folder.run(&["delete", "writer"]).refused(2, &["for good", "--yes"]);
    assert_eq!(folder.snapshot(), before);
    let deleted = folder.run(&["--json", "delete", "writer", "--yes"]).done().json();
    assert_eq!(deleted["agent"]["lifecycle_status"], "deleted");
    assert_eq!(deleted["message"], "writer is deleted; its rows stay");
    assert_eq!(folder.run(&["--json", "history", "writer"]).done().json()["history"][1]["update_no"], 2);
    let events = folder.run(&["--json", "agent", "writer"]).done().json()["events"].clone();
    let events: Vec<_> = events.as_array().expect("a list").iter().map(|event| &event["event"]).collect();
    assert_eq!(
        events,
        ["created", "health_changed", "paused", "resumed", "health_changed", "reset", "archived", "deleted"]
    );
}

#[test]
fn a_deleted_agent_takes_no_changes() {
    let folder = Folder::with_writer();
    folder.run(&["delete", "writer", "--yes"]).done();
    let before = folder.snapshot();
    for change in CHANGES {
        folder.run(&naming("writer", change)).refused(1, &["\"writer\" is deleted"]);
    }
    assert_eq!(folder.snapshot(), before);
}

#[test]
fn an_agent_that_is_not_known_is_not_made_up() {
    let folder = Folder::with_writer();
    let looks: [&[&str]; 4] =
        [&["agent", "AGENT"], &["history", "AGENT"], &["tag", "AGENT"], &["note", "AGENT"]];
    for command in CHANGES[1..].iter().chain(&looks) {
        folder
            .run(&naming("nobody", command))
            .refused(1, &["there is no agent \"nobody\"", "govstore agents"]);
    }
    assert_eq!(folder.number("SELECT count(*) FROM agents"), 1);
}

#[test]
fn an_id_that_no_agent_can_have_is_refused() {
    let folder = Folder::with_writer();
    let too_long = "x".repeat(129);
    let bad = [
        ("", "is empty"),
        (&too_long, "128"),
        ("a\u{7}b", "control"),
        ("a\nb", "control"),
        (" a", "white space"),
    ];
    let looks: [&[&str]; 2] = [&["agent", "AGENT"], &["history", "AGENT"]];
    for (id, reason) in bad {
        for command in CHANGES.iter().chain(&looks) {
            let ran = folder.run(&naming(id, command)).refused(1, &["agent id", reason]);
            assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
            assert!(!ran.stderr.contains('\u{7}'), "{ran:?}");
        }
    }
    assert_eq!(folder.number("SELECT count(*) FROM agents"), 1);
    folder.run(&["update", &"é".repeat(128)]).done();
}

fn naming<'a>(agent: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    command.iter().map(|argument| if *argument == "AGENT" { agent } else { argument }).collect()
}

#[test]
fn tags_are_trimmed_and_each_is_kept_once() {
    let folder = Folder::with_writer();
    let tags = |arguments: &[&str]| folder.run(&[&["tag", "writer"], arguments].concat()).done().stdout;
    assert_eq!(tags(&[]), "writer has no tags\n");
    assert_eq!(tags(&["--add", " a ", "--add", "b,a", "--add", "c"]), "a\nb\nc\n");
    assert_eq!(tags(&["--remove", "b", "--add", "d", "--remove", "nothing"]), "a\nc\nd\n");
    assert_eq!(tags(&["--set", " x ,,y,x"]), "x\ny\n");
    assert_eq!(tags(&[]), "x\ny\n");
    let json = folder.run(&["--json", "tag", "writer"]).done().json();
    assert_eq!(json["tags"], serde_json::json!(["x", "y"]));
    assert_eq!(tags(&["--set", ""]), "writer has no tags\n");
    folder.run(&["tag", "writer", "--add", " "]).refused(2, &["--add", "empty"]);
    folder.run(&["tag", "writer", "--add", "a\u{1b}[31m"]).refused(2, &["--add", "control"]);
    folder.run(&["tag", "writer", "--set", "a", "--add", "b"]).refused(2, &["--set", "--add"]);
    folder.run(&["tag", "writer", "--set", "pioneer"]).done();
    folder.run(&["delete", "writer", "--yes"]).refused(1, &["pioneer"]);
}

#[test]
fn notes_are_replaced_or_added_to() {
    let folder = Folder::with_writer();
    let notes = |arguments: &[&str]| folder.run(&[&["note", "writer"], arguments].concat()).done().stdout;
    assert_eq!(notes(&[]), "writer has no notes\n");
    assert_eq!(notes(&["--append", "first"]), "first\n");
    assert_eq!(notes(&["second", "--append"]), "first\nsecond\n");
    assert_eq!(notes(&["third"]), "third\n");
    let read = folder.run_with_input(&["note", "writer", "-", "--append"], "fourth\n\n").done().stdout;
    assert_eq!(read, "third\nfourth\n");
    assert_eq!(folder.run(&["--json", "note", "writer"]).done().json()["notes"], "third\nfourth");
    assert_eq!(notes(&[""]), "writer has no notes\n");
    folder.run(&["note", "writer", "--append"]).refused(2, &["TEXT"]);
}
