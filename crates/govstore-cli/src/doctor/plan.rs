//! What is to become of a configuration: decided here, without touching a file.

use serde::Serialize;

use super::edit::{Edit, apply, unwrap, wrap};
use super::formats::Format;
use super::keeper::{Keeping, keeping};
use super::own::Own;
use super::server::{Kind, Launch, Server};
use super::survey::{Configuration, NO_COMMAND};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Wrap,
    Unwrap,
}

/// The changes of one file.
#[derive(Debug)]
pub struct Plan {
    pub edits: Vec<Edit>,
    pub new_text: String,
    pub servers: Vec<ServerPlan>,
}

/// What is to become of one server.
#[derive(Debug, Serialize)]
pub struct ServerPlan {
    pub name: String,
    pub project: Option<String>,
    pub outcome: Outcome,
    /// Why it stays as it is.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Wrap,
    Unwrap,
    /// It is already as it should be.
    Unchanged,
    /// It can't be changed.
    Refused,
}

/// Decides for the servers that `chosen` says. An error says why this file can't be changed and undone again.
pub fn plan(
    configuration: &Configuration,
    format: Format,
    change: Change,
    own: &Own,
    is_shared: bool,
    chosen: impl Fn(&Server) -> bool,
) -> Result<Plan, String> {
    let Configuration { text, servers } = configuration;
    let mut plan = Plan { edits: Vec::new(), new_text: String::new(), servers: Vec::new() };
    let mut changed = Vec::new();
    for (at, server) in servers.iter().enumerate().filter(|(_, server)| chosen(server)) {
        let (outcome, reason) = match &server.kind {
            Kind::Remote | Kind::Extension => continue, // the client starts no command of it
            Kind::Malformed(reason) => (Outcome::Refused, Some(reason.clone())),
            Kind::Stdio(launch) => {
                let (outcome, reason, edits) = decide(text, launch, &server.name, change, own, is_shared);
                if !edits.is_empty() {
                    changed.push(at);
                    plan.edits.extend(edits);
                }
                (outcome, reason.map(str::to_owned))
            }
        };
        plan.servers.push(ServerPlan {
            name: server.name.clone(),
            project: server.project.clone(),
            outcome,
            reason,
        });
    }
    plan.new_text = apply(text, &plan.edits);
    verify(&plan.new_text, configuration, format, change, &changed, own)?;
    Ok(plan)
}

fn decide(
    text: &str,
    launch: &Launch,
    name: &str,
    change: Change,
    own: &Own,
    is_shared: bool,
) -> (Outcome, Option<&'static str>, Vec<Edit>) {
    match (change, keeping(&launch.argv(), own.path())) {
        (Change::Wrap, Keeping::Without) => {
            (Outcome::Wrap, None, wrap(text, launch, name, own.command(is_shared)))
        }
        (Change::Unwrap, Keeping::Kept { command_at }) => {
            (Outcome::Unwrap, None, unwrap(text, launch, command_at))
        }
        (Change::Wrap, Keeping::Kept { .. }) => {
            (Outcome::Unchanged, Some("it is wrapped already"), Vec::new())
        }
        (Change::Unwrap, Keeping::Without) => (Outcome::Unchanged, Some("it is not wrapped"), Vec::new()),
        (_, Keeping::Govstore) => {
            (Outcome::Unchanged, Some("it is govstore itself, which ends with its client"), Vec::new())
        }
        (_, Keeping::Broken) => (Outcome::Refused, Some(NO_COMMAND), Vec::new()),
    }
}

/// Reads the new text as a client will: the same servers, those that changed with the commands that are meant, and
/// from a wrapped text the old one can be made again, byte for byte.
fn verify(
    new_text: &str,
    old: &Configuration,
    format: Format,
    change: Change,
    changed: &[usize],
    own: &Own,
) -> Result<(), String> {
    let now = format.servers(new_text).map_err(|e| format!("what would be written can't be read: {e}"))?;
    let differs = || "what would be written means something else".to_owned();
    let mut back = Vec::new();
    for (at, (server, was)) in now.iter().zip(&old.servers).enumerate() {
        let (Kind::Stdio(launch), Kind::Stdio(launch_was)) = (&server.kind, &was.kind) else { continue };
        let (argv, argv_was) = (launch.argv(), launch_was.argv());
        let (long, short) = match change {
            Change::Wrap => (&argv, &argv_was),
            Change::Unwrap => (&argv_was, &argv),
        };
        let is_right = if !changed.contains(&at) {
            argv == argv_was
        } else if let Keeping::Kept { command_at } = keeping(long, own.path()) {
            if change == Change::Wrap {
                back.extend(unwrap(new_text, launch, command_at));
            }
            long[command_at..] == short[..]
        } else {
            false
        };
        if !is_right {
            return Err(differs());
        }
    }
    if now.len() != old.servers.len() || (change == Change::Wrap && apply(new_text, &back) != old.text) {
        return Err(differs());
    }
    Ok(())
}
