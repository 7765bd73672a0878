//! Servers of others, through the official clients: wrapped and not, they say the same.
//!
//! `GOVSTORE_PYTHON_1` names a Python that has the packages `mcp` (version 1) and `mcp-server-time`, `GOVSTORE_NODE_PACKAGES`
//! the folder whose `node_modules` has `@modelcontextprotocol/sdk` and `@modelcontextprotocol/server-everything`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::TestResult;
use crate::tree::{GOVSTORE, Home};

/// What a script exits with where the client's package is absent.
const SKIPPED: i32 = 77;

/// What the script is told, asked about a server; `None` if it can't ask.
fn ask(home: &Home, mut script: Command, folder: &Path, server: &[&str]) -> TestResult<Option<String>> {
    home.mark(&mut script);
    let output = script.args(server).current_dir(folder).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(SKIPPED) {
        eprintln!("{complaint}");
        return Ok(None);
    }
    assert!(output.status.success(), "{server:?}: {complaint}");
    Ok(Some(String::from_utf8(output.stdout)?))
}

/// Asks a server all that can be asked, wrapped and not, and compares.
fn says_the_same(script: impl Fn() -> Command, folder: &Path, server: &[&str], name: &str) -> TestResult {
    let home = Home::new()?;
    let Some(plain) = ask(&home, script(), folder, server)? else { return Ok(()) };
    assert!(plain.len() > 1_000, "{plain}");
    let database = home.database();
    let database = database.to_str().ok_or("a path that is no text")?;
    let wrapped = [&[GOVSTORE, "--db", database, "run", "--"], server].concat();
    let wrapped = ask(&home, script(), folder, &wrapped)?.ok_or("skipped only once")?;
    assert_eq!(wrapped, plain);
    home.wait_until_nothing_is_left()?;

    let output = home.govstore().args(["--json", "ps", "--all"]).output()?;
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let ended = &listed["ended"][0];
    assert_eq!((&ended["name"], &ended["state"]), (&name.into(), &"ended".into()), "{listed}");
    assert!(ended["client_name"].is_string(), "the client has introduced itself: {listed}");
    Ok(())
}

fn python_client(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run_client.py"));
    command
}

fn typescript_client(packages: &Path) -> Command {
    let mut command = Command::new(env::var_os("GOVSTORE_NODE").unwrap_or_else(|| "node".into()));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run_client.mjs")).arg(packages);
    command
}

fn python() -> Option<PathBuf> {
    env::var_os("GOVSTORE_PYTHON_1").map(PathBuf::from)
}

fn packages() -> Option<PathBuf> {
    env::var_os("GOVSTORE_NODE_PACKAGES").map(PathBuf::from)
}

/// Whether a Python has the server.
fn has_server(python: &Path) -> bool {
    Command::new(python).args(["-c", "import mcp_server_time"]).status().is_ok_and(|status| status.success())
}

fn has_everything(packages: &Path) -> bool {
    packages.join("node_modules/@modelcontextprotocol/server-everything").is_dir()
}

#[test]
fn a_server_from_pypi_says_the_same_through_both_clients() -> TestResult {
    let Some(python) = python().filter(|python| has_server(python)) else {
        eprintln!("skipped: GOVSTORE_PYTHON_1 names no Python with mcp-server-time");
        return Ok(());
    };
    let server = [python.to_str().ok_or("a path that is no text")?, "-m", "mcp_server_time"];
    let here = env::current_dir()?;
    says_the_same(|| python_client(&python), &here, &server, "mcp_server_time")?;
    if let Some(packages) = packages() {
        says_the_same(|| typescript_client(&packages), &here, &server, "mcp_server_time")?;
    }
    Ok(())
}

#[test]
fn a_server_from_npm_says_the_same_through_both_clients() -> TestResult {
    let Some(packages) = packages().filter(|packages| has_everything(packages)) else {
        eprintln!("skipped: GOVSTORE_NODE_PACKAGES has no @modelcontextprotocol/server-everything");
        return Ok(());
    };
    let server = ["npx", "-y", "@modelcontextprotocol/server-everything"];
    if let Some(python) = python() {
        says_the_same(|| python_client(&python), &packages, &server, "server-everything")?;
    }
    says_the_same(|| typescript_client(&packages), &packages, &server, "server-everything")
}
