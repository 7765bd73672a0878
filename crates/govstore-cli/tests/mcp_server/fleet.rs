//! Several servers on one database, as a person has them who uses several clients.

use std::collections::HashSet;

use futures::future::try_join_all;
use serde_json::json;

use crate::TestResult;
use crate::client::Home;

const CLIENTS: usize = 4;
const UPDATES: usize = 50;

#[tokio::test]
async fn four_servers_for_four_clients_count_every_update_and_all_live() -> TestResult {
    let home = Home::new()?;
    let starting = (0..CLIENTS).map(|_| home.connect());
    let clients = try_join_all(starting).await?; // all at once, on a file that isn't there yet
    assert_eq!(clients.iter().map(|client| client.pid).collect::<HashSet<_>>().len(), CLIENTS);

    let working = clients.iter().enumerate().map(|(n, client)| async move {
        for _ in 0..UPDATES {
            client.ok("process_agent_update", json!({ "agent_id": "shared" })).await?;
            client.ok("process_agent_update", json!({ "agent_id": format!("own-{n}") })).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    try_join_all(working).await?;

    let store = home.store()?;
    assert_eq!(store.agent("shared")?.total_updates, i64::try_from(CLIENTS * UPDATES)?);
    let numbers: Vec<_> = store.history("shared", None)?.iter().map(|row| row.update_no).collect();
    assert_eq!(numbers, (1..=i64::try_from(CLIENTS * UPDATES)?).collect::<Vec<_>>());
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(store.agent(&format!("own-{n}"))?.total_updates, i64::try_from(UPDATES)?);
        let info = client.ok("get_server_info", json!({})).await?;
        assert_eq!(info["current_pid"], client.pid);
        assert_eq!(info["total_server_processes"], CLIENTS);
        assert_eq!(info["health"], "healthy");
        let listed = info["server_processes"].as_array().ok_or("no list")?;
        let pids: HashSet<_> = listed.iter().filter_map(|server| server["pid"].as_u64()).collect();
        assert_eq!(pids, clients.iter().map(|client| u64::from(client.pid)).collect());
        for server in listed {
            assert_eq!(server["is_current"], server["pid"] == client.pid);
            assert_eq!((&server["status"], &server["has_heartbeat"]), (&json!("running"), &json!(true)));
            let age = server["heartbeat_age_seconds"].as_f64().ok_or("no age")?;
            assert!((0.0..30.0).contains(&age), "{age}");
        }
    }
    for client in clients {
        client.close().await?;
    }
    assert!(store.processes()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn server_info_says_which_database_and_which_version() -> TestResult {
    let home = Home::new()?;
    let client = home.connect().await?;
    let info = client.ok("get_server_info", json!({})).await?;
    assert_eq!(info["server_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["database_path"].as_str(), home.database().to_str());
    assert_eq!(info["schema_version"], home.store()?.schema_version());
    assert_eq!(info["max_keep_processes"], 9);
    assert_eq!(info["pid_file_exists"], false);
    assert_eq!(info["current_uptime_formatted"], "0h 0m");
    let date = info["build_date"].as_str().ok_or("no date")?;
    assert!(date.len() == 10 && date.starts_with("20"), "{date}");
    home.store()?.set_setting("max_processes", "1")?;
    let second = home.store()?.register(govstore::ProcessInfo::new("another", "1"))?;
    let info = client.ok("get_server_info", json!({})).await?;
    assert_eq!((&info["total_server_processes"], &info["health"]), (&json!(2), &json!("degraded")));
    drop(second);
    client.close().await
}
