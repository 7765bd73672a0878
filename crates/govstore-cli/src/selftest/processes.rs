//! Of three servers one crashes, one falls silent and one lives: the reaper harms nobody who lives.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, Finding};

/// When a heartbeat is too old, in seconds: short, so that nobody waits, and long enough for a busy machine.
const STALE_AFTER_S: &str = "3";

/// How long to wait for the silent server's heartbeat to be so.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn check(bench: &Bench) -> Finding {
    bench.run(&["config", "set", "heartbeat_interval_s", "0.25"])?.done()?;
    bench.run(&["config", "set", "stale_after_s", STALE_AFTER_S])?.done()?;
    let mut living = bench.start_server("beating")?;
    let mut crashed = bench.start_server("beating")?;
    let mut silent = bench.start_server("silent")?;
    let listed = bench.run(&["ps"])?.done()?;
    let alive = listed.list("processes").iter().filter(|process| process["verdict"] == "alive").count();
    if alive != 3 {
        return Err(format!("{alive} of 3 servers are listed as alive"));
    }

    crashed.crash()?;
    wait_until_suspect(bench, silent.pid())?;
    if !silent.is_running() {
        return Err("`reap --dry-run` ended a server".to_owned());
    }
    bench.run(&["reap"])?.done()?; // waits for its second look, unless the living server was faster
    let listed = bench.run(&["ps", "--all"])?.done()?;
    let ended = listed.list("ended");
    for (pid, verdict) in [(crashed.pid(), "exited"), (silent.pid(), "stale")] {
        if reaped_as(ended, pid) != Some(verdict) {
            return Err(format!("PID {pid} is {verdict}, and the reaper says {}", Value::from(ended)));
        }
    }
    if silent.is_running() {
        return Err(format!("PID {} is stale, and was not ended", silent.pid()));
    }
    if !living.is_running() || ended.len() != 2 {
        return Err(format!("the reaper did more than it should: {}", Value::from(ended)));
    }

    living.release()?;
    let left = bench.run(&["ps"])?.done()?.list("processes").len();
    if left != 0 {
        return Err(format!("{left} servers are registered after all have ended"));
    }
    Ok("3 servers registered: the crashed one forgotten, the silent one ended, the living one spared"
        .to_owned())
}

fn wait_until_suspect(bench: &Bench, pid: u32) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let plan = bench.run(&["reap", "--dry-run"])?.done()?;
        if verdict_on(plan.list("judgements"), pid) == Some("suspect") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("PID {pid} has no heartbeat, and is not suspect after {STALE_AFTER_S} s"));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn verdict_on(processes: &[Value], pid: u32) -> Option<&str> {
    processes.iter().find(|process| process["pid"] == pid)?["verdict"].as_str()
}

fn reaped_as(ended: &[Value], pid: u32) -> Option<&str> {
    ended.iter().find(|process| process["pid"] == pid)?["reaped"]["verdict"].as_str()
}
