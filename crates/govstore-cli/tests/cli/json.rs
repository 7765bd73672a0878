//! With `--json` there is one document on stdout, whatever happens.

use super::support::Folder;

#[test]
fn every_answer_is_one_document_that_says_whether_it_worked() {
    let folder = Folder::with_writer();
    folder.write("folder-is-a-file", "");
    let good: [&[&str]; 28] = [
        &["update", "writer", "--complexity", "0.1"],
        &["agents"],
        &["agent", "writer"],
        &["history", "writer"],
        &["health"],
        &["health", "--check"],
        &["pause", "writer"],
        &["resume", "writer"],
        &["archive", "writer"],
        &["resume", "writer"],
        &["reset", "writer"],
        &["tag", "writer"],
        &["tag", "writer", "--add", "x"],
        &["note", "writer"],
        &["note", "writer", "x"],
        &["ps"],
        &["reap"],
        &["reap", "--dry-run"],
        &["config", "get"],
        &["config", "set", "history_limit", "5"],
        &["events"],
        &["events", "--last", "1"],
        &["backup", "copy.db"],
        &["check"],
        &["prune"],
        &["prune", "--vacuum"],
        &["restore", "copy.db"],
        &["delete", "writer", "--yes"],
    ];
    let bad: [(i32, &[&str]); 15] = [
        (1, &["update", "writer"]),
        (1, &["agent", "nobody"]),
        (1, &["history", "nobody"]),
        (1, &["apply", "no-such-file"]),
        (1, &["import", "no-such-folder"]),
        (1, &["backup", "copy.db"]),
        (1, &["restore", "no-such-file"]),
        (2, &["prune", "--dry-run", "--vacuum"]),
        (1, &["config", "set", "history_limit", "-5"]),
        (1, &["agents", "--db", "no-such.db"]),
        (1, &["update", "a", "--db", "folder-is-a-file/x.db"]),
        (2, &["delete", "writer"]),
        (2, &["update", "writer", "--complexity", "abc"]),
        (2, &["frobnicate"]),
        (2, &[]),
    ];
    let good = good.into_iter().map(|arguments| (0, arguments));
    for (code, arguments) in good.chain(bad) {
        let mut command = folder.command(arguments);
        command.arg("--json").current_dir(folder.path());
        let ran = super::support::Ran::of(&mut command);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:#?}");
        let document = ran.json();
        assert_eq!(document["success"], code == 0, "{arguments:?}: {document}");
        assert!(ran.stdout.starts_with("{\"success\":") && ran.stdout.lines().count() == 1, "{ran:?}");
        if code != 0 {
            let error = document["error"].as_str().expect("a sentence");
            assert!(!error.is_empty() && !error.contains('\n'), "{arguments:?}: {error:?}");
            assert!(ran.stderr.contains(error.split_whitespace().next().expect("a word")), "{ran:?}");
        }
    }
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    let folder = Folder::with_writer();
    let other = folder.file("other.db");
    let other = other.to_str().expect("a readable path");
    let after =
        folder.run(&["agents", "--json", "--db", other]).refused(1, &["there is no database at", other]);
    let before =
        folder.run(&["--db", other, "--json", "agents"]).refused(1, &["there is no database at", other]);
    assert_eq!(after.stdout, before.stdout);
}
