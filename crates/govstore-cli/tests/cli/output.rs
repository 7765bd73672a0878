//! Where the database is, and where the output goes.

use std::fs::{self, File};
use std::io::pipe;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::{Folder, Ran, govstore};

#[test]
fn the_database_is_the_one_that_is_named_closest() {
    let folder = Folder::new();
    let home = folder.file("home");
    let in_home = home.join("govstore").join("governance.db");
    let run = |env: Option<&Path>, db: Option<&Path>, agent: &str| {
        let mut command = govstore();
        command.env("XDG_DATA_HOME", &home).args(["update", agent]);
        if let Some(path) = env {
            command.env("GOVSTORE_DB", path);
        }
        if let Some(path) = db {
            command.arg("--db").arg(path);
        }
        Ran::of(&mut command).done();
    };
    let (by_env, by_option) = (folder.file("env.db"), folder.file("option.db"));
    run(Some(&by_env), Some(&by_option), "a");
    assert!(by_option.exists() && !by_env.exists() && !home.exists());
    run(Some(&by_env), None, "a");
    assert!(by_env.exists() && !home.exists());
    run(Some(Path::new("")), None, "a"); // an empty variable says nothing
    run(None, None, "a");
    let mode = |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(&in_home), 0o600);
    assert_eq!(mode(in_home.parent().expect("a folder")), 0o700);
    assert_eq!(
        govstore::Store::open(in_home).and_then(|store| store.agent("a")).expect("a").total_updates,
        2
    );
}

#[test]
fn a_mistyped_path_makes_no_database() {
    let folder = Folder::new();
    let commands: [&[&str]; 14] = [
        &["agents"],
        &["agent", "a"],
        &["history", "a"],
        &["health"],
        &["pause", "a"],
        &["resume", "a"],
        &["archive", "a"],
        &["delete", "a", "--yes"],
        &["reset", "a"],
        &["tag", "a", "--add", "x"],
        &["note", "a", "x"],
        &["config", "get"],
        &["config", "set", "no_such_key", "1"],
        &["import", "no-such-folder"],
    ];
    for arguments in commands {
        let ran = folder.run(arguments);
        assert!(ran.code == Some(1) || ran.code == Some(2), "{arguments:?}: {ran:?}");
        assert!(fs::read_dir(folder.path()).expect("the folder").next().is_none(), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = Folder::new();
    let file = folder.write("updates.jsonl", "{\"agent_id\":\"a\"}\n".repeat(600));
    folder.run(&["apply", &file]).done();
    let commands: [&[&str]; 9] = [
        &["--help"],
        &["update", "a"],
        &["agents"],
        &["agent", "a"],
        &["history", "a"],
        &["history", "a", "--format", "csv"],
        &["--json", "history", "a"],
        &["completions", "bash"],
        &["config", "get"],
    ];
    for arguments in commands {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let ran = Ran::of(folder.command(arguments).stdout(writer));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // Closed on both sides: there is still an exit code.
    let (_, stdout) = pipe().expect("a pipe");
    let (_, stderr) = pipe().expect("a pipe");
    let status =
        folder.command(&["agent", "nobody"]).stdout(stdout).stderr(stderr).status().expect("it starts");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let folder = Folder::with_writer();
    let commands: [&[&str]; 4] =
        [&["agents"], &["--json", "agents"], &["history", "writer"], &["update", "writer"]];
    for arguments in commands {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            eprintln!("skipped: no /dev/full");
            return;
        };
        let ran = Ran::of(folder.command(arguments).stdout(full));
        ran.refused(1, &["cannot write to standard output", "No space left"]);
    }
    let file = folder.write("updates.jsonl", "{\"agent_id\":\"a\"}\n".repeat(3));
    let full = File::options().write(true).open("/dev/full").expect("it was there before");
    let ran = Ran::of(folder.command(&["apply", &file]).stdout(full));
    ran.refused(1, &["stopped at line 3; 3 updates applied", "cannot write to standard output"]);
    assert_eq!(folder.number("SELECT total_updates FROM agents WHERE agent_id = 'a'"), 3);
}
