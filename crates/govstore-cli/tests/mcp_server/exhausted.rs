//! A live server whose descriptors, memory or disk run out: it answers, refuses what it can't do, and works again
//! once there is enough.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Home, peak_kb};
use govstore_testkit::McpClient;

/// Makes a call, which is answered, and gives the reason if it was refused.
fn call(
    wire: &mut McpClient,
    id: u64,
    tool: &str,
    arguments: &Value,
) -> Result<Option<String>, Box<dyn std::error::Error>> {
    wire.call(id, tool, arguments)?;
    let answer = wire.answer()?;
    assert_eq!(answer["id"], id);
    let result = &answer["result"];
    if result["isError"] == false {
        return Ok(None);
    }
    let reason = result["structuredContent"]["error"].as_str().ok_or("no reason")?;
    Ok(Some(reason.to_owned()))
}

#[test]
fn a_server_without_descriptors_answers_and_works_again_when_it_has_some() -> TestResult {
    let home = Home::new()?;
    home.store()?.set_setting("lock_timeout_ms", "200")?;
    let mut wire = home.serving()?;
    let pid = Pid::from_child(&wire.child);
    let limit = |descriptors| {
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: descriptors, ..getrlimit(Resource::Nofile) })
    };
    let export = json!({ "agent_id": "a", "format": "json" });

    let before = limit(Some(3))?;
    let refused = call(&mut wire, 2, "export_to_file", &export)?.ok_or("it can't have been written")?;
    assert!(refused.contains("Too many open files"), "{refused}");
    // Many at once want a connection each, and one is open.
    let calls = 3..43;
    for id in calls.clone() {
        wire.call(id, "process_agent_update", &json!({ "agent_id": format!("agent-{id}") }))?;
    }
    let (mut made, mut refusals) = (0, Vec::new());
    for _ in calls {
        let answer = wire.answer()?;
        match answer["result"]["structuredContent"]["error"].as_str() {
            None => made += 1,
            Some(reason) => refusals.push(reason.to_owned()),
        }
    }
    assert!(made > 0, "{refusals:?}");
    assert!(refusals.iter().all(|reason| reason.contains("Too many open files")), "{refusals:?}");

    limit(before.current)?;
    assert_eq!(call(&mut wire, 50, "export_to_file", &export)?, None);
    assert_eq!(call(&mut wire, 51, "process_agent_update", &json!({ "agent_id": "a" }))?, None);
    wire.close_stdin();
    assert!(wire.ended()?.success());
    assert_eq!(home.total_updates()?, 2 + made, "one for each answer");
    Ok(())
}

/// What is resident is measured: how much address space a process reserves depends on the machine's number of cores,
/// since glibc gives each thread that competes 64 MiB of it.
#[test]
fn a_huge_argument_does_not_cost_a_server_its_memory() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.bytes(br#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "process_agent_update", "arguments": {"agent_id": "a", "response_text": ""#)?;
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..300 {
        wire.bytes(&megabyte)?;
    }
    wire.bytes(b"\"}}}\n")?;
    assert!(wire.answer()?["error"]["message"].as_str().is_some_and(|text| text.contains("16777216 bytes")));
    assert_eq!(call(&mut wire, 2, "process_agent_update", &json!({ "agent_id": "a" }))?, None);
    let peak = peak_kb(wire.child.id())?;
    assert!(peak < 80 * 1024, "{peak} kB for a message of 300 MB");
    wire.close_stdin();
    assert!(wire.ended()?.success());
    assert_eq!(home.store()?.agent("a")?.total_updates, 1);
    Ok(())
}

const INSIDE: &str = "GOVSTORE_TEST_SMALL_DISK";
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// The test runs itself again in a mount namespace of its own, where it may mount a small file system.
#[test]
fn a_server_on_a_full_disk_answers_and_works_again_when_there_is_room() -> TestResult {
    if env::var_os(INSIDE).is_some() {
        return on_the_small_disk();
    }
    let folder = tempfile::tempdir()?;
    let mount = format!("mount -t tmpfs -o size=64k none {}", folder.path().display());
    let can_mount = Command::new("unshare").args(NAMESPACE).args(["sh", "-c", &mount]).output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a file system can't be mounted here");
        return Ok(());
    }
    let name = "exhausted::a_server_on_a_full_disk_answers_and_works_again_when_there_is_room";
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(env::current_exe()?).args(["--exact", name, "--nocapture"]);
    let ran = command.env(INSIDE, "1").output()?;
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(())
}

fn on_the_small_disk() -> TestResult {
    let home = Home::new()?;
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(home.path()).status()?;
    assert!(mounted.success(), "{mounted}");
    home.store()?.set_setting("heartbeat_interval_s", "0.05")?; // beats fail as well meanwhile
    let mut wire = home.serving()?;
    let filler = home.path().join("filler");
    let mut id = 1;
    let (mut made, mut refused) = (1, 0);
    for _ in 0..3 {
        let mut file = File::create(&filler)?;
        while file.write_all(&[0; 512]).is_ok() {}
        drop(file); // else it would keep its room when it is removed
        for _ in 0..20 {
            id += 1;
            match call(&mut wire, id, "process_agent_update", &json!({ "agent_id": "a" }))? {
                None => made += 1, // there was room left in the files
                Some(reason) => {
                    refused += 1;
                    assert!(
                        reason.contains("no room left") && reason.contains("nothing was changed"),
                        "{reason}"
                    );
                }
            }
        }
        fs::remove_file(&filler)?;
        id += 1;
        assert_eq!(call(&mut wire, id, "process_agent_update", &json!({ "agent_id": "a" }))?, None);
        made += 1;
    }
    assert!(refused > 0, "the disk was never full");
    wire.close_stdin();
    assert!(wire.ended()?.success());
    let store = home.store()?;
    assert_eq!(store.agent("a")?.total_updates, made);
    assert!(
        store
            .check()
            .iter()
            .all(|check| check.status != govstore::CheckStatus::Failed || check.name == "permissions")
    );
    Ok(())
}
