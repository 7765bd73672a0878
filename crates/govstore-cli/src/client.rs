//! Which client a server serves, as people read it. The texts are the client's own: whoever shows them makes them
//! visible first.

use govstore::{Process, ReapEvent};

/// `claude-code 2.1 (MCP 2025-11-25)`, as much of it as is known.
pub fn of(process: &Process) -> Option<String> {
    let client = called(process.client_name.as_deref(), process.client_version.as_deref());
    match (client, &process.protocol_version) {
        (Some(client), Some(protocol)) => Some(format!("{client} (MCP {protocol})")),
        (None, Some(protocol)) => Some(format!("MCP {protocol}")),
        (client, None) => client,
    }
}

/// A server in a sentence: `PID 4711 (govstore, for claude-code 2.1)`.
pub fn server(process: &Process) -> String {
    let client = called(process.client_name.as_deref(), process.client_version.as_deref());
    named(process.pid, &process.name, client)
}

/// The same of one that a reaper did something to.
pub fn victim(event: &ReapEvent) -> String {
    named(event.pid, &event.name, called(event.client_name.as_deref(), event.client_version.as_deref()))
}

fn named(pid: u32, name: &str, client: Option<String>) -> String {
    let client = client.map_or(String::new(), |client| format!(", for {client}"));
    format!("PID {pid} ({name}{client})")
}

fn called(name: Option<&str>, version: Option<&str>) -> Option<String> {
    let words: Vec<&str> = [name, version].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}
