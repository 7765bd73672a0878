//! The import as a whole: all or nothing, whatever the folder holds and whoever else writes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, Update};
use govstore_testkit::TestResult;
use serde_json::json;

use crate::{Setup, entry, entry_with, export};

const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn a_folder_without_readable_metadata_is_refused_and_nothing_is_imported() -> TestResult {
    type Make = fn(&Path) -> io::Result<()>;
    let cases: [(&str, Make, &str); 8] = [
        ("no folder", |data| fs::remove_dir(data), "No such file"),
        ("a file", |data| fs::remove_dir(data).and_then(|()| fs::write(data, "{}")), "Not a directory"),
        ("no metadata", |_| Ok(()), "it has no agent_metadata.json; name the data folder of a v1.0.3 server"),
        (
            "broken",
            |data| metadata(data, br#"{"a": {"status": "active""#),
            "it is no JSON object of agents: EOF",
        ),
        ("an array", |data| metadata(data, b"[]"), "it is no JSON object of agents: invalid type"),
        (
            "no UTF-8",
            |data| metadata(data, b"{\"\xff\": {}}"),
            "it is no JSON object of agents: invalid unicode",
        ),
        ("a folder", |data| fs::create_dir(data.join("agent_metadata.json")), "it is not a regular file"),
        (
            "too large",
            |data| File::create(data.join("agent_metadata.json"))?.set_len((64 << 20) + 1),
            "it is larger than 64 MiB",
        ),
    ];
    for (name, make, expected) in cases {
        let setup = Setup::new()?;
        make(&setup.data())?;
        if setup.data().is_dir() {
            setup.put("a.json", &export("a", &[0.0]))?;
        }
        let refused = setup.import();
        let Err(Error::ImportFolder { path, reason }) = &refused else {
            return Err(format!("{name}: {refused:?}").into());
        };
        assert_eq!(*path, setup.data());
        assert!(reason.contains(expected), "{name}: {reason}");
        assert_eq!(setup.rows()?, 0, "{name}");
    }
    Ok(())
}

fn metadata(data: &Path, contents: &[u8]) -> io::Result<()> {
    fs::write(data.join("agent_metadata.json"), contents)
}

#[cfg(unix)]
#[test]
fn only_regular_files_of_a_sane_size_are_read() -> TestResult {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let setup = Setup::with_agents(&json!({ "a": entry_with("total_updates", json!(2)) }))?;
    let data = setup.data();
    let outside = setup.database.folder().join("outside.json");
    fs::write(&outside, export("a", &[0.0; 5]).to_string())?;
    symlink(outside, data.join("link.json"))?;
    symlink(data.join("nothing"), data.join("dangling.json"))?;
    fs::create_dir(data.join("folder.json"))?;
    File::create(data.join("large.json"))?.set_len((64 << 20) + 1)?;
    assert!(Command::new("mkfifo").arg(data.join("pipe.json")).status()?.success());
    fs::write(data.join(OsStr::from_bytes(b"\xff.json")), export("a", &[0.0; 2]).to_string())?;

    let (done, reported) = mpsc::channel();
    let store = setup.store.clone();
    thread::spawn(move || done.send(store.import_v1(data)));
    let report = reported.recv_timeout(DEADLINE)??; // opening the pipe would wait for ever

    assert_eq!(report.imported[0].history_file.as_deref(), Some("\u{fffd}.json"));
    let remarks: Vec<_> = report.remarks.iter().map(|r| (r.subject.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        remarks,
        [
            ("dangling.json", "it is not a regular file"),
            ("folder.json", "it is a folder, and was passed over with what is in it"),
            ("large.json", "it is larger than 64 MiB"),
            ("link.json", "it is not a regular file"),
            ("pipe.json", "it is not a regular file"),
        ]
    );
    Ok(())
}

#[test]
fn progress_counts_every_file_that_is_read_while_no_transaction_is_open() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry(), "b": entry() }))?;
    setup.put("a.json", &export("a", &[0.0]))?;
    setup.put("b.json", &json!("broken"))?;
    setup.put("b.csv", &json!("broken"))?;
    setup.put("b.txt", &json!("not read"))?;
    fs::create_dir(setup.data().join("c.csv"))?;
    let mut steps = Vec::new();
    setup.store.import_v1_with(setup.data(), |done, total| {
        steps.push((done, total));
        setup.store.process_update("other", &Update::default()).expect("no write is going on");
    })?;
    assert_eq!(steps, [(1, 4), (2, 4), (3, 4), (4, 4)]);
    Ok(())
}

const CHILD_DATABASE: &str = "GOVSTORE_TEST_IMPORT_DATABASE";

/// The other process of the test below: updates two agents until its stdin ends, then prints how often.
#[test]
#[ignore = "started by importing_while_another_process_writes_loses_nothing"]
fn child_that_updates_until_told_to_stop() -> TestResult {
    let Ok(address) = std::env::var(CHILD_DATABASE) else { return Ok(()) };
    let store = govstore_testkit::open(&address)?;
    let (stop, stopped) = mpsc::channel();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        stop.send(())
    });
    let mut updates = 0;
    while stopped.try_recv().is_err() {
        store.process_update("busy", &Update::default())?;
        store.process_update("agent-150", &Update::default())?;
        updates += 1;
    }
    println!("\nupdates: {updates}");
    Ok(())
}

#[test]
fn importing_while_another_process_writes_loses_nothing() -> TestResult {
    let mut agents = json!({});
    for n in 0..300 {
        agents[format!("agent-{n}")] = entry_with("total_updates", json!(20));
    }
    let setup = Setup::with_agents(&agents)?;
    for n in 0..300 {
        setup.put(&format!("{n}.json"), &export(&format!("agent-{n}"), &[0.05; 20]))?;
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "--nocapture", "whole::child_that_updates_until_told_to_stop"])
        .env(CHILD_DATABASE, setup.database.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let total = |id: &str| setup.store.agent(id).map_or(0, |agent| agent.total_updates);
    let wait_for_updates = |child: &mut Child, wanted: i64| {
        let deadline = Instant::now() + DEADLINE;
        while total("busy") < wanted {
            assert!(matches!(child.try_wait(), Ok(None)), "the other process ended");
            assert!(Instant::now() < deadline, "waited for update {wanted} of the other process");
            thread::yield_now();
        }
    };
    wait_for_updates(&mut child, 10);
    let report = thread::scope(|scope| {
        // Two importers at once, one of them through connections of its own.
        let other = scope.spawn(|| setup.database.store()?.import_v1(setup.data()));
        let one = setup.import();
        let other = other.join().expect("the other importer");
        one.and_then(|one| Ok((one, other?)))
    });
    wait_for_updates(&mut child, total("busy") + 10);
    drop(child.stdin.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout)?;
    let updates: i64 =
        printed.lines().find_map(|line| line.strip_prefix("updates: ")).ok_or("no count")?.parse()?;

    let (one, other) = report?;
    assert_eq!(one.imported.len() + other.imported.len(), 299, "all but the one that was in use");
    assert!(one.imported.is_empty() || other.imported.is_empty(), "an import is one transaction");
    assert_eq!(one.unchanged.len() + other.unchanged.len(), 301);
    assert_eq!((total("busy"), total("agent-150"), total("agent-151")), (updates, updates, 20));
    for id in ["busy", "agent-150", "agent-151"] {
        let numbers: Vec<i64> = setup.store.history(id, None)?.iter().map(|row| row.update_no).collect();
        assert_eq!(numbers, (1..=total(id)).collect::<Vec<_>>(), "{id}");
    }
    Ok(())
}

#[test]
fn every_folder_that_is_passed_over_is_named() -> TestResult {
    let setup = Setup::with_agents(&json!({ "a": entry() }))?;
    for folder in ["archive", "locks.json"] {
        fs::create_dir(setup.data().join(folder))?;
    }
    fs::create_dir(setup.data().join("archive/old"))?;
    setup.put("archive/a.json", &export("a", &[0.0; 5]))?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(setup.data().join("archive"), setup.data().join("link"))?;
    let report = setup.import()?;
    assert_eq!(report.imported[0].history_file, None);
    let named: Vec<_> = report.remarks.iter().map(|remark| remark.subject.as_str()).collect();
    assert_eq!(
        named,
        if cfg!(unix) { &["archive", "link", "locks.json"][..] } else { &["archive", "locks.json"] }
    );
    let reason = "it is a folder, and was passed over with what is in it";
    assert!(report.remarks.iter().all(|remark| remark.reason == reason), "{:?}", report.remarks);
    Ok(())
}
