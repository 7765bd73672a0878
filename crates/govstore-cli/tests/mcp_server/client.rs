//! Two clients of the real binary: rmcp's own, and one that writes lines.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use govstore::Store;
use govstore_testkit::McpClient;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a database in it, until it is dropped.
pub struct Home {
    folder: TempDir,
}

impl Home {
    pub fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Updates of all agents in their lifetimes.
    pub fn total_updates(&self) -> Result<i64, Box<dyn Error>> {
        let agents = self.store()?.agents(&govstore::AgentFilter::default())?;
        Ok(agents.iter().map(|agent| agent.total_updates).sum())
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("governance.db")
    }

    /// The database, opened by the test itself to see what is stored.
    pub fn store(&self) -> Result<Store, Box<dyn Error>> {
        Ok(Store::open(self.database())?)
    }

    /// The command that clients have in their configuration.
    pub fn serve(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_govstore"));
        command.arg("--db").arg(self.database()).arg("serve");
        command.env("RUST_LOG", "off");
        command
    }

    /// Runs a command of the command line, as the operator does.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_govstore"));
        Ok(command.arg("--db").arg(self.database()).args(arguments).output()?)
    }

    /// Starts a server and connects rmcp's client to it.
    pub async fn connect(&self) -> Result<Client, Box<dyn Error>> {
        self.connect_with(&[]).await
    }

    /// The same, with more arguments for `serve`.
    pub async fn connect_with(&self, arguments: &[&str]) -> Result<Client, Box<dyn Error>> {
        let mut serve = self.serve();
        serve.args(arguments);
        let server = TokioChildProcess::new(tokio::process::Command::from(serve))?;
        let pid = server.id().ok_or("the server has no PID")?;
        Ok(Client { pid, connection: patiently(().serve(server)).await?? })
    }

    /// Starts a server and talks to it in lines.
    pub fn wire(&self) -> Result<McpClient, Box<dyn Error>> {
        McpClient::spawn(self.serve())
    }

    /// A server that has answered `initialize` and made one update.
    pub fn serving(&self) -> Result<McpClient, Box<dyn Error>> {
        self.serving_with(&[])
    }

    /// The same, with more arguments for `serve`, and with a log.
    pub fn serving_with(&self, arguments: &[&str]) -> Result<McpClient, Box<dyn Error>> {
        let mut command = self.serve();
        if !arguments.is_empty() {
            command.args(arguments).env_remove("RUST_LOG");
        }
        let mut wire = McpClient::spawn(command)?;
        wire.initialize()?;
        wire.call(1, "process_agent_update", &json!({ "agent_id": "a" }))?;
        assert_eq!(wire.answer()?["id"], 1);
        Ok(wire)
    }
}

/// A server with rmcp's own client.
pub struct Client {
    pub pid: u32,
    pub connection: RunningService<RoleClient, ()>,
}

impl Client {
    pub async fn call(&self, tool: &'static str, arguments: Value) -> Result<CallToolResult, Box<dyn Error>> {
        let Value::Object(arguments) = arguments else { panic!("{arguments} is no object") };
        let call = CallToolRequestParams::new(tool).with_arguments(arguments);
        Ok(patiently(self.connection.call_tool(call)).await??)
    }

    /// Makes a call that should do what it says, and gives its structured content.
    pub async fn ok(&self, tool: &'static str, arguments: Value) -> Result<Value, Box<dyn Error>> {
        let content = content(&self.call(tool, arguments).await?, false)?;
        if content["success"] != true {
            return Err(format!("{tool} was refused: {content}").into());
        }
        Ok(content)
    }

    /// Makes a call that should be refused, and gives the reason.
    pub async fn refused(&self, tool: &'static str, arguments: Value) -> Result<String, Box<dyn Error>> {
        let content = self.refusal(tool, arguments).await?;
        assert_eq!(content.as_object().map(serde_json::Map::len), Some(2), "a refusal says nothing else");
        Ok(content["error"].as_str().ok_or("error is no text")?.to_owned())
    }

    /// Makes a call that should be refused, and gives its structured content.
    pub async fn refusal(&self, tool: &'static str, arguments: Value) -> Result<Value, Box<dyn Error>> {
        let content = content(&self.call(tool, arguments).await?, true)?;
        assert_eq!(content["success"], false, "{tool}");
        Ok(content)
    }

    /// Closes the connection, which ends the server.
    pub async fn close(mut self) -> Result<(), Box<dyn Error>> {
        patiently(self.connection.close()).await??;
        Ok(())
    }
}

/// The structured content of a result, which must be the same as its text.
fn content(result: &CallToolResult, is_error: bool) -> Result<Value, Box<dyn Error>> {
    assert_eq!(result.is_error, Some(is_error), "{result:?}");
    let structured = result.structured_content.clone().ok_or("no structured content")?;
    let text = result.content.first().and_then(|block| block.as_text()).ok_or("no text")?;
    assert_eq!(serde_json::from_str::<Value>(&text.text)?, structured);
    Ok(structured)
}

/// Figures as results have them: with six places.
pub fn rounded(figures: Value) -> Value {
    match figures {
        Value::Number(number) if number.is_f64() => {
            json!(number.as_f64().map(|figure| (figure * 1e6).round() / 1e6))
        }
        Value::Array(items) => items.into_iter().map(rounded).collect(),
        other => other,
    }
}

/// Who is registered.
pub fn registered(store: &Store) -> Result<Vec<u32>, Box<dyn Error>> {
    Ok(store.processes()?.iter().map(|process| process.pid).collect())
}

/// The number of kilobytes that a process had in memory at most.
#[cfg(target_os = "linux")]
pub fn peak_kb(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(peak.split_whitespace().next().ok_or("no size")?.parse()?)
}

/// Waits for what should come, until patience is over.
async fn patiently<T>(future: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(PATIENCE, future).await
}

/// Looks again and again until there is something, or patience is over.
pub fn wait_until<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("waited in vain for {what}").into());
        }
        thread::sleep(Duration::from_millis(2));
    }
}
