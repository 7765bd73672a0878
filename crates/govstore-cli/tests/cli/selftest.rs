//! `selftest`, on the machine that the tests run on.

use super::support::{Folder, Ran, govstore};

#[test]
fn every_check_passes_with_a_figure_and_touches_nothing_of_the_user() {
    let folder = Folder::new();
    let ran = folder.run(&["--json", "selftest"]).done();
    let report = ran.json();
    let checks = report["checks"].as_array().expect("a list");
    let names: Vec<_> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names, ["locking", "health", "processes", "integration"]);
    for check in checks {
        let finding = check["finding"].as_str().expect("a sentence");
        assert!(check["passed"] == true && finding.contains(|c: char| c.is_ascii_digit()), "{check}");
    }
    assert!(!folder.db().exists());
}

#[test]
fn a_check_that_cannot_be_made_fails_and_says_why() {
    let folder = Folder::new();
    let nowhere = folder.file("no-such-folder");
    let ran = Ran::of(govstore().arg("selftest").env("TMPDIR", &nowhere));
    let ran = ran.refused(1, &["the self-test failed: locking, health, processes, integration"]);
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("FAIL  ")).count(), 4, "{ran:#?}");
    let ran = Ran::of(govstore().args(["selftest", "--json"]).env("TMPDIR", &nowhere));
    assert_eq!(ran.json()["success"], false);
}
