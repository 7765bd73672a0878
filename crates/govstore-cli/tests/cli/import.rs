//! `import`: time zones, and what a failed one leaves.

use std::fs;

use super::support::Folder;

/// A data folder of v1.0.3 with one agent.
fn data(folder: &Folder, metadata: &str) -> String {
    let data = folder.file("data");
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("agent_metadata.json"), metadata).expect("a file");
    data.to_str().expect("a readable path").to_owned()
}

const WRITER: &str = r#"{"writer": {"status": "waiting_input", "created_at": "2025-07-01T12:00:00.000001"}}"#;

#[test]
fn times_are_those_of_the_zone_that_is_named() {
    for (zone, created_at) in [
        ("Europe/Berlin", "2025-07-01T10:00:00.000Z"),
        ("+05:30", "2025-07-01T06:30:00.000Z"),
        ("-05:00", "2025-07-01T17:00:00.000Z"),
        ("UTC", "2025-07-01T12:00:00.000Z"),
    ] {
        let folder = Folder::new();
        let data = data(&folder, WRITER);
        let ran = folder.run(&["--json", "import", &data, "--time-zone", zone]).done().json();
        let agent = folder.run(&["--json", "agent", "writer"]).done().json();
        assert_eq!(agent["agent"]["created_at"], created_at, "{zone}");
        assert_eq!(agent["agent"]["lifecycle_status"], "active");
        let remarks = ran["remarks"].to_string();
        assert!(remarks.contains("waiting_input"), "{remarks}");
    }
    let folder = Folder::new();
    let data = data(&folder, WRITER);
    folder.run(&["import", &data, "--time-zone", "Berlin"]).refused(2, &["Berlin", "Europe/"]);
}

#[test]
fn a_failed_import_leaves_no_database_behind() {
    let folder = Folder::new();
    let data = data(&folder, "no metadata");
    folder.run(&["import", &data]).refused(1, &["agent_metadata.json"]);
    folder.run(&["import", folder.file("nothing").to_str().expect("a path")]).refused(1, &["nothing"]);
    let names: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["data"], "neither a database nor its log");
}
