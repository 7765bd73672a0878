//! Subscriptions: a client hears of what other processes change.

use std::error::Error;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use govstore::Update;
use govstore_testkit::McpClient;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Home, wait_until};

/// By when a change must be announced.
const SOON: Duration = Duration::from_secs(1);

const UPDATED: &str = "notifications/resources/updated";

/// What a client of today sends with each request.
fn of_today(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "today", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

/// Subscribes, and gives the answer.
fn subscribe(wire: &mut McpClient, id: u64, uri: &str) -> Result<Value, Box<dyn Error>> {
    wire.request(id, "resources/subscribe", &json!({ "uri": uri }))?;
    let answer = wire.answer()?;
    assert_eq!(answer["id"], id);
    Ok(answer)
}

#[test]
fn what_another_process_changes_is_announced_within_a_second() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    let began = wire.initialize()?;
    assert_eq!(began["capabilities"]["resources"]["subscribe"], true);
    // One that isn't there yet, and one whose id has to be written in another way.
    for (id, uri) in [(1, "govstore://agents/a%20b"), (2, "govstore://fleet"), (3, "govstore://agents")] {
        assert_eq!(subscribe(&mut wire, id, uri)?["result"], json!({}));
    }
    let mut other = home.serving()?; // another server: it has updated agent "a"
    for uri in ["govstore://fleet", "govstore://agents"] {
        let told = wire.answer()?;
        assert_eq!((&told["method"], &told["params"]["uri"]), (&json!(UPDATED), &json!(uri)), "{told}");
    }
    other.call(2, "process_agent_update", &json!({ "agent_id": "a b" }))?;
    other.answer()?;
    let changed = Instant::now();
    assert_eq!(wire.answer()?["params"]["uri"], "govstore://agents/a%20b");
    assert!(changed.elapsed() < SOON, "{:?}", changed.elapsed());
    for uri in ["govstore://fleet", "govstore://agents"] {
        assert_eq!(wire.answer()?["params"]["uri"], uri);
    }

    wire.request(4, "resources/unsubscribe", &json!({ "uri": "govstore://agents/a%20b" }))?;
    assert_eq!(wire.answer()?["result"], json!({}));
    home.store()?.pause("a b", None)?;
    for uri in ["govstore://fleet", "govstore://agents"] {
        assert_eq!(wire.answer()?["params"]["uri"], uri, "nobody asks for the agent any more");
    }
    Ok(())
}

#[test]
fn what_cannot_be_subscribed_to_is_named() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    for (id, uri, reason) in [
        (1, "govstore://nothing", "there is no resource \"govstore://nothing\""),
        (2, "file:///etc/passwd", "there is no resource"),
        (3, "govstore://agents/%ff", "there is no resource"),
        (4, "govstore://agents/a%0ab", "control characters"),
        (5, &format!("govstore://agents/{}", "x".repeat(129)), "128"),
    ] {
        let answer = subscribe(&mut wire, id, uri)?;
        let message = answer["error"]["message"].as_str().ok_or_else(|| format!("{uri}: {answer}"))?;
        assert!(message.contains(reason), "{uri}: {message}");
    }
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        wire.request(6, method, &json!({ "uri": 7 }))?;
        let answer = wire.answer()?;
        assert_eq!(answer["error"]["message"], format!("{method} takes a uri"), "{answer}");
    }
    for n in 0..128 {
        subscribe(&mut wire, 100 + n, &format!("govstore://agents/{n}"))?;
    }
    let answer = subscribe(&mut wire, 300, "govstore://agents/one-more")?;
    let message = answer["error"]["message"].as_str().ok_or("it was taken")?;
    assert!(message.contains("unsubscribe from one first"), "{message}");
    Ok(())
}

#[test]
fn a_client_of_today_listens_until_it_cancels() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    let wanted = json!({ "resourceSubscriptions": ["govstore://agents/a"], "toolsListChanged": true });
    wire.request(1, "subscriptions/listen", &of_today(json!({ "notifications": wanted })))?;
    let accepted = wire.answer()?;
    assert_eq!(accepted["method"], "notifications/subscriptions/acknowledged", "{accepted}");
    let honoured = json!({ "resourceSubscriptions": ["govstore://agents/a"] });
    assert_eq!(accepted["params"]["notifications"], honoured, "tools never change");
    // It is answered when what it asked for is done: the change may only come then.
    wire.request(2, "tools/call", &of_today(json!({ "name": "list_agents" })))?;
    assert_eq!(wire.answer()?["id"], 2);
    home.store()?.process_update("a", &Update::new())?;
    let told = wire.answer()?;
    assert_eq!((&told["method"], &told["params"]["uri"]), (&json!(UPDATED), &json!("govstore://agents/a")));
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1, "{told}");

    wire.line(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })
            .to_string(),
    )?;
    wire.request(3, "tools/call", &of_today(json!({ "name": "list_agents" })))?;
    assert_eq!(wire.answer()?["id"], 3);
    home.store()?.process_update("a", &Update::new())?;

    // One that has a resource in it that there isn't ends at once, and says so.
    let wanted = json!({ "resourceSubscriptions": ["govstore://fleet", "govstore://nothing"] });
    wire.request(4, "subscriptions/listen", &of_today(json!({ "notifications": wanted })))?;
    assert_eq!(wire.answer()?["method"], "notifications/subscriptions/acknowledged");
    let ended = wire.answer()?;
    assert_eq!(ended["id"], 4, "what was cancelled is no longer announced: {ended}");
    assert!(
        ended["error"]["message"].as_str().is_some_and(|why| why.contains("govstore://nothing")),
        "{ended}"
    );
    Ok(())
}

#[test]
fn a_server_with_subscriptions_ends_as_fast_as_one_without() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    subscribe(&mut wire, 1, "govstore://fleet")?;
    let began = Instant::now();
    wire.close_stdin();
    assert!(wire.ended()?.success());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    let mut wire = home.wire()?;
    let wanted = json!({ "resourceSubscriptions": ["govstore://fleet"] });
    wire.request(1, "subscriptions/listen", &of_today(json!({ "notifications": wanted })))?;
    assert_eq!(wire.answer()?["method"], "notifications/subscriptions/acknowledged");
    wire.request(2, "tools/call", &of_today(json!({ "name": "list_agents" })))?;
    assert_eq!(wire.answer()?["id"], 2);
    let began = Instant::now();
    wire.close_stdin();
    let last = wire.remaining()?;
    assert!(wire.ended()?.success());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(last.first().map(|answer| &answer["id"]), Some(&json!(1)), "it is answered: {last:?}");
    Ok(())
}

/// Who subscribes to nothing pays nothing.
#[cfg(target_os = "linux")]
#[test]
fn there_is_no_thread_without_subscriptions() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    let pid = wire.child.id();
    let is_watching = || -> Result<bool, Box<dyn Error>> {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            match std::fs::read_to_string(task?.path().join("comm")) {
                Ok(name) if name.trim() == "subscriptions" => return Ok(true),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {} // another thread, or one that ended since it was listed
            }
        }
        Ok(false)
    };
    assert!(!is_watching()?);
    subscribe(&mut wire, 1, "govstore://fleet")?;
    // A thread gives itself its name, and the answer may be there first.
    wait_until("the thread to begin", || Ok(is_watching()?.then_some(())))?;
    wire.request(2, "resources/unsubscribe", &json!({ "uri": "govstore://fleet" }))?;
    wire.answer()?;
    wait_until("the thread to end", || Ok((!is_watching()?).then_some(())))
}
