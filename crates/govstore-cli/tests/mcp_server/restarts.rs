//! Clients that start their server again whenever it has ended, more of them than `max_processes`: nobody ends it.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::TestResult;
use crate::client::Home;

const CLIENTS: usize = 12;
/// For how many seconds, and with wholly default settings; without it a test's time, and a fast clock.
const SECONDS: &str = "GOVSTORE_RESTARTS_SECONDS";

/// What became of one client's servers.
#[derive(Default)]
struct Tally {
    acknowledged: i64,
    restarts: usize,
}

/// Uses its server all the time, and starts it again whenever it has ended.
fn client(home: &Home, n: usize, until: Instant) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut server = None;
    let mut id = 0;
    while Instant::now() < until {
        let wire = match &mut server {
            Some(wire) => wire,
            none => {
                let mut wire = home.wire().map_err(|error| error.to_string())?;
                wire.initialize().map_err(|error| format!("a server did not start: {error}"))?;
                none.insert(wire)
            }
        };
        id += 1;
        let agent = json!({ "agent_id": format!("client-{n}") });
        let answer = wire.call(id, "process_agent_update", &agent).and_then(|()| wire.answer());
        match answer {
            Ok(answer) if answer["result"]["structuredContent"]["success"] == true => tally.acknowledged += 1,
            Ok(refusal) => return Err(format!("a call was refused: {refusal}")),
            Err(_) => {
                tally.restarts += 1;
                server = None;
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    let Some(mut wire) = server else { return Ok(tally) };
    wire.close_stdin();
    wire.ended().map_err(|error| error.to_string())?;
    Ok(tally)
}

/// One that starts its server, does nothing with it, and closes it.
fn newcomers(home: &Home, stop: &AtomicBool) -> Result<usize, String> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut wire = home.wire().map_err(|error| error.to_string())?;
        wire.initialize().map_err(|error| format!("a newcomer did not start: {error}"))?;
        wire.close_stdin();
        wire.ended().map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn twelve_clients_that_restart_their_server_at_every_end_never_have_to() -> TestResult {
    let home = Home::new()?;
    let store = home.store()?;
    let asked: Option<u64> = env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    if asked.is_none() {
        store.set_setting("heartbeat_interval_s", "0.2")?;
        store.set_setting("stale_after_s", "1")?;
    }
    let until = Instant::now() + Duration::from_secs(asked.unwrap_or(6));
    let stop = AtomicBool::new(false);
    let (tallies, newcomers) = thread::scope(|scope| {
        let newcomers = scope.spawn(|| newcomers(&home, &stop));
        let home = &home;
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || client(home, n, until))).collect();
        let tallies: Vec<_> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
        stop.store(true, Ordering::Relaxed);
        (tallies, newcomers.join().expect("no panic"))
    });
    let tallies = tallies.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (calls, newcomers) = (tallies.iter().map(|tally| tally.acknowledged).sum::<i64>(), newcomers?);
    eprintln!("{CLIENTS} clients made {calls} calls, beside {newcomers} newcomers");
    for (n, tally) in tallies.iter().enumerate() {
        assert_eq!(tally.restarts, 0, "client {n}: its server was ended");
        assert_eq!(store.agent(&format!("client-{n}"))?.total_updates, tally.acknowledged, "no call is lost");
    }
    assert!(newcomers > 0 && tallies.iter().all(|tally| tally.acknowledged > 0));
    let signalled: Vec<_> =
        store.reap_events(1_000)?.into_iter().filter(|event| !event.signals.is_empty()).collect();
    assert!(signalled.is_empty(), "{signalled:?}");
    Ok(())
}
