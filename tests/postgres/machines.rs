//! Several machines: processes in namespaces of their own, with machine ids, boots and clocks of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use govstore::{Outcome, ProcessInfo, Verdict};
use govstore_testkit::{Database, Server, TestResult, can, compiled, test_server, wait_until};
use serde_json::json;

use crate::{database, update};

/// Shifts the clock that people read by what `SHIFT_S` says.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(clock, at);
    const char *shift = getenv("SHIFT_S");
    if (outcome == 0 && clock == CLOCK_REALTIME && shift) at->tv_sec += atol(shift);
    return outcome;
}
"#;

/// Where a machine says who it is.
const IDENTITY: &str =
    "mount --bind \"$ID\" /etc/machine-id && mount --bind \"$BOOT\" /proc/sys/kernel/random/boot_id";

fn namespaces() -> [&'static str; 5] {
    ["unshare", "--pid", "--mount", "--fork", "--mount-proc"]
}

/// A machine: files that say who it is, and how wrong its clock is.
struct Machine {
    id: PathBuf,
    boot: PathBuf,
    shim: PathBuf,
    shift_s: i64,
}

impl Machine {
    fn new(folder: &Path, number: u32, shim: &Path, shift_s: i64) -> TestResult<Self> {
        let (id, boot) = (folder.join(format!("machine-{number}")), folder.join(format!("boot-{number}")));
        fs::write(&id, format!("{number:032x}\n"))?;
        fs::write(&boot, format!("0000000{number}-0000-4000-8000-000000000000\n"))?;
        Ok(Self { id, boot, shim: shim.to_owned(), shift_s })
    }

    /// A shell script on it, as its first process.
    fn script(&self, database: &Database, script: &str) -> Command {
        let mut command = Command::new(namespaces()[0]);
        command.args(&namespaces()[1..]).args([
            "sh",
            "-c",
            &format!("exec 3<&0; {IDENTITY} || exit 9; {script}"),
        ]);
        command.env("ID", &self.id).env("BOOT", &self.boot).env("SHIFT_S", self.shift_s.to_string());
        command.env("SHIM", &self.shim).env("SERVER", test_server()).env("DB", database.address());
        command
    }

    fn host_id(&self) -> TestResult<String> {
        Ok(fs::read_to_string(&self.id)?.trim().to_owned())
    }
}

#[test]
fn machines_whose_clocks_are_hours_apart_judge_alike_and_no_signal_leaves_them() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (id, boot) = (folder.path().join("id"), folder.path().join("boot"));
    fs::write(&id, "x")?;
    fs::write(&boot, "x")?;
    let (id, boot) = (id.display().to_string(), boot.display().to_string());
    let try_it = format!("ID={id} BOOT={boot}; {IDENTITY}");
    if !can("namespaces, and root", &[&namespaces()[..], &["sh", "-c", &try_it]].concat()) {
        return Ok(());
    }
    let Some(shim) = compiled(folder.path(), SHIM)? else { return Ok(()) };
    let store = database.store()?;
    for (key, value) in
        [("heartbeat_interval_s", "0.2"), ("stale_after_s", "3"), ("terminate_grace_ms", "500")]
    {
        store.set_setting(key, value)?;
    }
    let own = store.register(ProcessInfo::new("third machine", "1.0"))?;
    own.start_heartbeat()?;

    // The PIDs are the same on both: a signal that strayed would hit somebody.
    let machines =
        [Machine::new(folder.path(), 1, &shim, 3_600)?, Machine::new(folder.path(), 2, &shim, -3_600)?];
    let script = "export LD_PRELOAD=\"$SHIM\"
                  \"$SERVER\" \"$DB\" --name silent --no-heartbeat <&3 &
                  \"$SERVER\" \"$DB\" --name healthy --agent shared --every 200 <&3 &
                  wait";
    let mut running: Vec<Server> = machines
        .iter()
        .map(|machine| Server::launch_command(machine.script(&database, script)).unannounced())
        .collect();
    let of_state = |name: &str, state: &str| {
        database.count(&format!("SELECT count(*) FROM processes WHERE name = '{name}' AND state = '{state}'"))
    };
    wait_until("all to register", || {
        database
            .count("SELECT count(*) FROM processes WHERE name IN ('silent', 'healthy')")
            .is_ok_and(|there| there == 4)
    });
    let boots = database.rows("SELECT count(DISTINCT boot_id) FROM processes WHERE name = 'healthy'")?;
    assert_eq!(boots[0][0], json!(2), "two boots");

    // This machine looks as well, again and again, and leaves all of them to their own.
    wait_until("both silent ones to be ended", || {
        let report = store.reap().expect("a look");
        assert!(report.events.iter().all(|event| event.outcome == Outcome::Postponed), "{:?}", report.events);
        of_state("silent", "terminated").is_ok_and(|ended| ended == 2)
    });
    let judged = store.reap_plan()?.judgements;
    let remote = judged.iter().filter(|judged| judged.process.name == "healthy");
    assert!(
        remote.clone().count() == 2 && remote.into_iter().all(|judged| judged.verdict == Verdict::Remote),
        "{judged:?}"
    );
    assert_eq!(of_state("healthy", "running")?, 2);
    update(&store, "shared")?;

    // Each by its own machine, for the same reason, and after the same time whatever its clock says.
    let ledger = database.rows(
        "SELECT v.host_id, r.host_id, e.verdict, e.signals, e.outcome, e.heartbeat_age_ms BETWEEN 2900 AND 30000
         FROM reap_events AS e
         JOIN processes AS v ON v.process_id = e.process_id
         JOIN processes AS r ON r.process_id = e.reaper_process_id
         WHERE e.outcome <> 'postponed' ORDER BY 1",
    )?;
    let expected = machines
        .iter()
        .map(|machine| {
            let host = machine.host_id()?;
            Ok(vec![
                json!(host),
                json!(host),
                json!("stale"),
                json!("TERM CONT"),
                json!("terminated"),
                json!(1),
            ])
        })
        .collect::<TestResult<Vec<_>>>()?;
    assert_eq!(ledger, expected);
    // The times that people read are the server's, whatever a client's clock says.
    let off = "SELECT count(*) FROM (SELECT beat_at AS at FROM heartbeats UNION ALL SELECT recorded_at FROM reap_events
                 UNION ALL SELECT applied_at FROM agent_updates UNION ALL SELECT registered_at FROM processes) AS times
               WHERE abs(extract(epoch FROM clock_timestamp() - at)) > 600";
    assert_eq!(database.count(off)?, 0);
    for machine in &mut running {
        machine.close_stdin();
        machine.wait();
    }
    wait_until("the healthy ones to leave", || of_state("healthy", "ended").is_ok_and(|ended| ended == 2));
    own.deregister()?;
    Ok(())
}
