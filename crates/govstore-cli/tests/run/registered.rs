//! What `ps` and the database know of a wrapped server.

use govstore_testkit::wait_for;
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, answerer};
use crate::tree::Home;

/// What `ps` says of the only process, once it says what is looked for.
fn shown(home: &Home, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for("the registry", || {
        let listed = home.json(&["ps"]).ok()?.pointer("/processes/0")?.clone();
        is_wanted(&listed).then_some(listed)
    })
}

#[test]
fn ps_shows_who_uses_it_and_when() -> TestResult {
    let home = Home::new()?;
    let mut client = Client::spawn(home.run(&["--name", "files"], &[answerer()]))?;
    let listed = shown(&home, |listed| listed["name"] == "files");
    assert_eq!((&listed["verdict"], &listed["client_name"]), (&"alive".into(), &Value::Null), "{listed}");
    assert_eq!(listed["run_id"].as_str().map(str::len), Some(32));
    client.initialize()?;
    let listed = shown(&home, |listed| listed["client_name"] == "test-client");
    assert_eq!(
        (&listed["client_version"], &listed["protocol_version"]),
        (&"1.5".into(), &"2025-11-25".into())
    );
    assert!(listed["last_activity_at"].is_string(), "{listed}");
    assert!(client.hang_up()?.success());
    let ended = home.json(&["ps", "--all"])?;
    assert_eq!(ended["processes"], json!([]));
    assert_eq!(ended["ended"][0]["state"], "ended");
    Ok(())
}

#[test]
fn its_calls_are_counted_by_tool() -> TestResult {
    let home = Home::new()?;
    home.json(&["config", "set", "max_processes", "9"])?; // makes the database
    let text = String::from_utf8(home.govstore().args(["ps", "--calls"]).output()?.stdout)?;
    assert!(text.contains("no calls of tools in the last 24 hours"), "{text}");

    for _ in 0..2 {
        let mut client = Client::spawn(home.run(&["--name", "files"], &[answerer()]))?;
        client.initialize()?;
        for _ in 0..10 {
            client.call("echo", &json!({ "name": "fail", "isError": true }))?;
        }
        client.call("fail", &json!({}))?;
        client.call("slow", &json!({}))?;
        client.request("tools/list", &json!({ "name": "echo" }))?; // no call
        client.hang_up()?;
    }
    let counted = home.json(&["ps", "--calls"])?;
    let calls = counted["calls"].as_array().ok_or("no calls")?;
    let figures: Vec<_> =
        calls.iter().map(|of| (&of["server"], &of["tool"], &of["calls"], &of["errors"])).collect();
    let expected = json!([["files", "echo", 20, 0], ["files", "fail", 2, 2], ["files", "slow", 2, 0]]);
    assert_eq!(json!(figures), expected);
    let slow = &calls[2];
    assert!(
        slow["mean_ms"].as_f64() >= Some(150.0) && slow["max_ms"].as_f64() >= slow["mean_ms"].as_f64(),
        "{slow}"
    );
    assert_eq!((&slow["within_100ms"], &slow["within_10s"]), (&0.into(), &2.into()), "{slow}");

    let text = String::from_utf8(home.govstore().args(["ps", "--calls"]).output()?.stdout)?;
    assert!(text.contains("SERVER") && text.contains("2 (100.00%)") && text.contains("≤ 1 s"), "{text}");
    let page = home.path().join("report.html");
    assert!(home.govstore().arg("report").arg("--out").arg(&page).status()?.success());
    let page = std::fs::read_to_string(page)?;
    assert!(
        page.contains("Tools of wrapped servers") && page.contains("100.00%"),
        "no figures in the report"
    );
    Ok(())
}

/// Cancelled calls are not answered, answers come in any order, ids may be texts, and nonsense is passed on.
#[test]
fn only_answered_calls_count() -> TestResult {
    let home = Home::new()?;
    let mut client = Client::spawn(home.run(
        &["--name", "x"],
        &[
            "sh",
            "-c",
            "while read -r line; do printf '%s\\n' \"$1\"; done",
            "sh",
            r#"{"id":"b","result":{"isError":true}}"#,
        ],
    ))?;
    for line in [
        r#"{"id":"a","method":"tools/call","params":{"name":"one"}}"#,
        r#"{"id":"b","method":"tools/call","params":{"name":"two"}}"#,
        r#"{"method":"notifications/cancelled","params":{"requestId":"a"}}"#,
        "nonsense",
    ] {
        client.send(line)?;
        client.line()?;
    }
    client.hang_up()?;
    let counted = home.json(&["ps", "--calls"])?;
    let calls = counted["calls"].as_array().ok_or("no calls")?;
    assert_eq!(calls.len(), 1, "{counted}");
    assert_eq!(
        (&calls[0]["tool"], &calls[0]["calls"], &calls[0]["errors"]),
        (&"two".into(), &1.into(), &1.into())
    );
    Ok(())
}
