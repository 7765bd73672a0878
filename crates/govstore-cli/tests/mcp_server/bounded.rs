//! What answers cost a model, in tokens of 3.5 bytes, and how it pages through what they leave out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use govstore::{Actor, Durability, Store, Update};
use rmcp::model::CallToolResult;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, Home};

const AGENTS: u32 = 1_000;

/// How many updates each of them has; `GOVSTORE_FLEET_UPDATES=1000` is the full size.
fn updates_each() -> Result<u32, Box<dyn std::error::Error>> {
    Ok(std::env::var("GOVSTORE_FLEET_UPDATES").map_or(Ok(20), |updates| updates.parse())?)
}

/// What a default answer may cost, and the list of tools.
const ANSWER_TOKENS: f64 = 5_000.0;
const LISTING_TOKENS: f64 = 3_500.0;

fn tokens(json: &str) -> f64 {
    f64::from(u32::try_from(json.len()).unwrap_or(u32::MAX)) / 3.5
}

/// A result as a model reads it, once.
fn text(result: &CallToolResult) -> Result<&str, Box<dyn std::error::Error>> {
    assert_eq!(result.is_error, Some(false), "{result:?}");
    Ok(&result.content.first().and_then(|block| block.as_text()).ok_or("no text")?.text)
}

/// Agents whose ids begin like this, in the middle of their lives, with figures of full length.
fn fleet(home: &Home, prefix: &str, updates: u32) -> TestResult {
    const AT: &str = "2025-11-19T20:41:09.824Z";
    home.store()?;
    let mut conn = Connection::open(home.database())?;
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    let transaction = conn.transaction()?;
    transaction.execute(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
         INSERT INTO agents (agent_id, created_at, last_update_at, energy, integrity, entropy, void_integral,
           coherence, lambda1, elapsed, risk_score, update_count, total_updates, last_decision, last_decision_reason)
         SELECT ?3 || printf('%04d', i), ?2, ?2, 0.51234567891234, 0.91234567891234, 0.41234567891234,
                -0.0123456789123, 0.98765432198765, 0.15123456789123, ?4 * 0.1, 0.20123456789123 + i / 7919.0, ?4, ?4,
                'approve', 'Low risk (0.20)'
         FROM n",
        params![AGENTS, AT, prefix, updates],
    )?;
    let mut insert = transaction.prepare(
        "INSERT INTO agent_updates (agent_id, update_no, applied_at, energy, integrity, entropy, void_integral,
           coherence, lambda1, risk_score, void_active, elapsed, decision, decision_reason, health_status)
         SELECT agent_id, ?1, ?2, 0.51234567891234, 0.91234567891234, 0.41234567891234, -0.0123456789123,
                0.98765432198765, 0.15123456789123, 0.20123456789123, 0, ?1 * 0.1, 'approve', 'Low risk (0.20)',
                'degraded'
         FROM agents WHERE agent_id LIKE ?3 || '%'",
    )?;
    for update_no in 1..=updates {
        insert.execute(params![update_no, AT, prefix])?;
    }
    drop(insert);
    Ok(transaction.commit()?)
}

/// Makes whatever may be long as long as it may be: tags, notes, attributes, reasons of events, in characters that take
/// six bytes of JSON each.
fn lengthen(home: &Home, agent_id: &str) -> TestResult {
    let store = home.store()?;
    let long = |chars: usize| "\u{1}".repeat(chars);
    store.update_agent(agent_id, |agent| {
        agent.tags = (0..100).map(|n| format!("{n:03}{}", long(97))).collect();
        agent.notes = long(100_000);
        for n in 0..100 {
            agent.attributes.insert(format!("attribute {n:03}"), long(1_000).into());
        }
        Ok::<_, govstore::Error>(())
    })?;
    let client = store.acting_as(Actor::client(&"é".repeat(200)));
    for _ in 0..25 {
        client.pause(agent_id, Some(&long(4_000)))?;
        client.resume(agent_id)?;
    }
    Ok(())
}

/// Registers 25 more servers of long names beside the one of this PID.
fn crowd(home: &Home, pid: u32) -> TestResult {
    let conn = Connection::open(home.database())?;
    for n in 1..=25 {
        conn.execute_batch(&format!(
            "CREATE TEMP TABLE p AS SELECT * FROM processes WHERE pid = {pid};
             CREATE TEMP TABLE h AS SELECT h.* FROM heartbeats AS h JOIN p ON p.process_id = h.process_id;
             UPDATE p SET process_id = {n} * 1000, pid = pid + {n}, name = printf('%0200d', {n});
             UPDATE h SET process_id = {n} * 1000;
             INSERT INTO processes SELECT * FROM p;
             INSERT INTO heartbeats SELECT * FROM h;
             DROP TABLE h;
             DROP TABLE p;"
        ))?;
    }
    Ok(())
}

/// Makes each call with its default arguments, and says what the answer costs.
async fn weigh(client: &Client, agent_id: &str) -> Result<Vec<(String, f64)>, Box<dyn std::error::Error>> {
    let agent = || json!({ "agent_id": agent_id });
    let with = |name: &str, value: Value| {
        let mut arguments = agent();
        arguments[name] = value;
        arguments
    };
    let calls = [
        ("get_server_info", json!({})),
        ("list_agents", json!({})),
        ("get_governance_metrics", agent()),
        ("get_agent_metadata", agent()),
        ("get_system_history", agent()),
        ("get_system_history", with("format", json!("csv"))),
        ("process_agent_update", with("response_text", json!("All tests pass."))),
        ("update_agent_metadata", with("tags", json!(vec!["t".repeat(100); 100]))),
        ("export_to_file", agent()),
        ("pause_agent", agent()),
        ("resume_agent", agent()),
        ("reset_monitor", agent()),
        ("archive_agent", agent()),
        ("delete_agent", with("confirm", json!(true))),
    ];
    let mut costs = Vec::new();
    for (tool, arguments) in calls {
        let format = arguments["format"].as_str().map(|format| format!(" {format}")).unwrap_or_default();
        let result = client.call(tool, arguments).await?;
        costs.push((format!("{tool}{format}"), tokens(text(&result)?)));
    }
    Ok(costs)
}

#[tokio::test]
async fn no_default_answer_costs_more_than_5_000_tokens() -> TestResult {
    let updates = updates_each()?;
    let longest = "\u{1F680}".repeat(124); // with four digits it has 128 characters
    for prefix in ["agent-", longest.as_str()] {
        let home = Home::new()?;
        fleet(&home, prefix, updates)?;
        // One agent has a history that is longer than an answer, whatever the others have.
        let agent_id = format!("{prefix}0500");
        let store = Store::options().durability(Durability::Normal).open(home.database())?;
        for _ in updates..1_000 {
            store.process_update(&agent_id, &Update::new().complexity(0.123_456_789))?;
        }
        let client = home.connect().await?;
        for is_long in [false, true] {
            if is_long {
                lengthen(&home, &agent_id)?;
                crowd(&home, client.pid)?;
            }
            let name = if is_long { &agent_id } else { &format!("{prefix}0501") };
            let costs = weigh(&client, name).await?;
            for (call, cost) in costs {
                eprintln!(
                    "{cost:>7.0} {call}, {} characters an id, long texts {is_long}",
                    prefix.chars().count() + 4
                );
                assert!(cost <= ANSWER_TOKENS, "{call}: {cost:.0} tokens");
            }
        }
        client.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_is_counted_and_can_be_had() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    lengthen(&home, "a")?;
    crowd(&home, client.pid)?;
    let info = client.ok("get_server_info", json!({})).await?;
    assert_eq!(info["total_server_processes"], 26);
    assert_eq!(info["server_processes"].as_array().map(Vec::len), Some(20));
    assert_eq!(info["server_processes_left_out"], 6);
    assert_eq!(info["server_processes"][0]["pid"], client.pid, "it is never left out itself");

    let told = client.ok("get_agent_metadata", json!({ "agent_id": "a" })).await?;
    let whole = client.ok("get_agent_metadata", json!({ "agent_id": "a", "detail": "full" })).await?;
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let left_out =
        |field: &str| told[field].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    assert_eq!(told["notes"].as_str().map(|notes| notes.chars().count()), Some(500));
    assert_eq!(left_out("notes_left_out"), 99_500);
    assert_eq!(count(&told["tags"]) + left_out("tags_left_out"), 100);
    assert_eq!(count(&told["lifecycle_events"]) + left_out("lifecycle_events_left_out"), 51);
    let attributes = |metadata: &Value| metadata["attributes"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(attributes(&told) + left_out("attributes_left_out"), 100);
    let newest = told["lifecycle_events"].as_array().and_then(|events| events.last()).ok_or("no event")?;
    assert_eq!(newest["event"], "resumed");
    let reasons =
        || told["lifecycle_events"].as_array().into_iter().flatten().filter_map(|e| e["reason"].as_str());
    assert!(reasons().any(|reason| reason.ends_with("… (3800 more characters)")));

    assert_eq!(whole["notes"].as_str().map(str::len), Some(100_000));
    assert_eq!(
        (count(&whole["tags"]), count(&whole["lifecycle_events"]), attributes(&whole)),
        (100, 51, 100)
    );
    assert!(!whole.to_string().contains("left_out"));
    let listed = client.ok("list_agents", json!({ "detail": "full" })).await?;
    assert_eq!(listed["agents"][0]["notes"], whole["notes"], "a row that is too long is told all the same");
    client.close().await
}

#[tokio::test]
async fn twenty_events_are_told_where_they_are_short() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    client.ok("process_agent_update", json!({ "agent_id": "a" })).await?;
    for _ in 0..15 {
        client.ok("pause_agent", json!({ "agent_id": "a", "reason": "to think" })).await?;
        client.ok("resume_agent", json!({ "agent_id": "a" })).await?;
    }
    let told = client.ok("get_agent_metadata", json!({ "agent_id": "a" })).await?;
    assert_eq!(told["lifecycle_events"].as_array().map(Vec::len), Some(20));
    assert_eq!(told["lifecycle_events_left_out"], 11);
    client.close().await
}

#[test]
fn the_list_of_tools_costs_3_500_tokens_at_most() -> TestResult {
    let home = Home::new()?;
    let mut wire = home.wire()?;
    wire.initialize()?;
    wire.request(1, "tools/list", &json!({}))?;
    let listing = wire.answer()?["result"].clone();
    let outputs: usize = listing["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| tool["outputSchema"].to_string().len())
        .sum();
    let cost = tokens(&listing.to_string());
    eprintln!(
        "{cost:>7.0} tools/list, {} bytes, of which output schemas {outputs}",
        listing.to_string().len()
    );
    assert!(cost <= LISTING_TOKENS, "{cost:.0} tokens");
    Ok(())
}

/// Another store that updates the agents and makes new ones, until it is ended.
struct Writer {
    done: Arc<AtomicBool>,
    thread: thread::JoinHandle<govstore::Result<u64>>,
}

impl Writer {
    fn start(home: &Home) -> Result<Self, Box<dyn std::error::Error>> {
        let store = Store::options().durability(Durability::Normal).open(home.database())?;
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let mut written = 0;
            while !is_done.load(Ordering::Relaxed) {
                for agent in ["agent-0007", "agent-0500", &format!("late-{written}")] {
                    store.process_update(agent, &Update::new())?;
                }
                written += 1;
            }
            Ok(written)
        });
        Ok(Self { done, thread })
    }

    fn end(self) -> TestResult {
        self.done.store(true, Ordering::Relaxed);
        assert!(self.thread.join().map_err(|_| "the writer panicked")?? > 0);
        Ok(())
    }
}

#[tokio::test]
async fn pages_of_agents_have_each_once_while_others_write() -> TestResult {
    let home = Home::new()?;
    fleet(&home, "agent-", 1)?;
    let client = home.connect().await?;
    let writer = Writer::start(&home)?;
    for limit in [None, Some(7)] {
        let mut seen = Vec::new();
        let mut arguments = json!({ "query": "agent-", "limit": limit });
        loop {
            let page = client.ok("list_agents", arguments.clone()).await?;
            assert_eq!(page["matching"], AGENTS);
            assert!(page["summary"]["total_agents"].as_u64() >= Some(u64::from(AGENTS)));
            let agents = page["agents"].as_array().ok_or("no agents")?;
            assert!(agents.len() <= limit.unwrap_or(50));
            seen.extend(agents.iter().map(|agent| agent["agent_id"].as_str().unwrap_or_default().to_owned()));
            let Some(next) = page.get("next_page") else { break };
            arguments["after"] = next["after"].clone();
        }
        assert_eq!(seen, (0..AGENTS).map(|n| format!("agent-{n:04}")).collect::<Vec<_>>());
    }
    writer.end()?;
    client.close().await
}

#[tokio::test]
async fn pages_of_a_history_have_each_update_once_while_others_write() -> TestResult {
    let home = Home::new()?;
    fleet(&home, "agent-", 523)?;
    let client = home.connect().await?;
    let writer = Writer::start(&home)?;
    for (last, format) in [(None, "json"), (Some(19), "csv")] {
        let mut seen = Vec::new();
        let mut arguments = json!({ "agent_id": "agent-0500", "format": format, "last": last });
        loop {
            let page = client.ok("get_system_history", arguments.clone()).await?;
            let number = |field: &str| page[field].as_i64().ok_or(format!("no {field}"));
            let (first, newest) = (number("first_update")?, number("last_update")?);
            assert!(newest - first < last.unwrap_or(100) && number("total_updates")? >= 523);
            let text = page["history"].as_str().ok_or("no history")?;
            let rows = match format {
                "json" => serde_json::from_str::<Value>(text)?["risk_history"].as_array().map_or(0, Vec::len),
                _ => text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count(),
            };
            assert_eq!(i64::try_from(rows)?, newest - first + 1);
            seen.splice(0..0, first..=newest);
            let Some(next) = page.get("next_page") else { break };
            arguments["before"] = next["before"].clone();
        }
        assert!(seen.len() >= 523);
        assert_eq!(seen, (1..=i64::try_from(seen.len())?).collect::<Vec<_>>());
    }
    writer.end()?;
    client.close().await
}

#[tokio::test]
async fn with_compat_rows_are_whole_and_nothing_is_left_out() -> TestResult {
    let home = Home::new()?;
    fleet(&home, "agent-", 101)?;
    lengthen(&home, "agent-0500")?;
    let client = home.connect_with(&["--compat", "v1.0.3"]).await?;
    let list = client.ok("list_agents", json!({})).await?;
    let agents = list["agents"].as_array().ok_or("no agents")?;
    let ids: HashSet<_> = agents.iter().filter_map(|agent| agent["agent_id"].as_str()).collect();
    assert_eq!((ids.len(), list.get("next_page")), (1_000, None));
    for field in ["created", "version", "tags", "notes", "update_count", "loaded_in_process"] {
        assert!(agents.iter().all(|agent| agent.get(field).is_some()), "{field}");
    }
    assert_eq!(agents[0]["metrics"]["E"], 0.512_345_678_912_34);
    let metadata = client.ok("get_agent_metadata", json!({ "agent_id": "agent-0500" })).await?;
    assert_eq!(metadata["notes"].as_str().map(str::len), Some(100_000));
    let history = client.ok("get_system_history", json!({ "agent_id": "agent-0001" })).await?;
    let history: Value = serde_json::from_str(history["history"].as_str().ok_or("no history")?)?;
    assert_eq!(history["E_history"].as_array().map(Vec::len), Some(101));
    assert_eq!(history["E_history"][0], 0.512_345_678_912_34);
    client.close().await
}
