//! A configuration as it is found: its servers, and what there is to say of each.

use serde::Serialize;

use super::keeper::{Keeping, keeping};
use super::places::{Client, Place};
use super::rewrite::{FileError, read};
use super::running::{Process, unkept};
use super::server::{Kind, Server};

/// A configuration that was read.
pub struct Configuration {
    pub text: String,
    pub servers: Vec<Server>,
}

/// Reads a configuration, or says in a sentence with its name why not.
pub fn configuration(place: &Place) -> Result<Configuration, String> {
    let text = read(&place.path).map_err(|e: FileError| e.to_string())?;
    let servers = place.format.servers(&text).map_err(|e| format!("{}, {e}", place.path.display()))?;
    Ok(Configuration { text, servers })
}

/// What was found in a file.
#[derive(Debug, Serialize)]
pub struct FileFindings {
    pub client: Client,
    pub path: String,
    /// Why it could not be read.
    pub error: Option<String>,
    pub servers: Vec<ServerFindings>,
    /// Servers that are reached by a URL.
    pub remote: usize,
    /// Servers that an extension of the client starts.
    pub by_extension: usize,
}

impl FileFindings {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.error.is_none() && self.servers.is_empty() && self.remote == 0 && self.by_extension == 0
    }
}

/// What was found of a server that a client starts.
#[derive(Debug, Serialize)]
pub struct ServerFindings {
    pub name: String,
    pub project: Option<String>,
    /// The server's own command and arguments, without a keeper's.
    pub argv: Vec<String>,
    pub keeper: Keeper,
    /// Why it can't be made out.
    pub problem: Option<String>,
    /// Its processes that run without a keeper now.
    pub unkept_pids: Vec<u32>,
    /// Those of them whose client is gone.
    pub orphan_pids: Vec<u32>,
}

/// Who ends a server when its client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    None,
    /// `govstore run`.
    Run,
    /// It is `govstore serve`, which ends by itself.
    Itself,
    /// It can't be made out.
    Unknown,
}

pub fn findings(
    place: &Place,
    found: &Result<Configuration, String>,
    own: &str,
    processes: &[Process],
) -> FileFindings {
    let mut file = FileFindings {
        client: place.client,
        path: place.path.display().to_string(),
        error: found.as_ref().err().cloned(),
        servers: Vec::new(),
        remote: 0,
        by_extension: 0,
    };
    for server in found.iter().flat_map(|configuration| &configuration.servers) {
        match &server.kind {
            Kind::Remote => file.remote += 1,
            Kind::Extension => file.by_extension += 1,
            Kind::Stdio(launch) => file.servers.push(started(server, &launch.argv(), own, processes)),
            Kind::Malformed(reason) => {
                file.servers.push(unknown(server, &[], reason.clone()));
            }
        }
    }
    file
}

fn started(server: &Server, argv: &[&str], own: &str, processes: &[Process]) -> ServerFindings {
    let (keeper, command) = match keeping(argv, own) {
        Keeping::Without => (Keeper::None, argv),
        Keeping::Kept { command_at } => (Keeper::Run, &argv[command_at..]),
        Keeping::Govstore => (Keeper::Itself, argv),
        Keeping::Broken => return unknown(server, argv, NO_COMMAND.to_owned()),
    };
    let running = if keeper == Keeper::Itself { <_>::default() } else { unkept(command, processes) };
    ServerFindings {
        keeper,
        argv: command.iter().map(ToString::to_string).collect(),
        problem: None,
        unkept_pids: running.pids,
        orphan_pids: running.orphans,
        ..unknown(server, &[], String::new())
    }
}

/// What is wrong with a command line of govstore that starts no server.
pub const NO_COMMAND: &str =
    "govstore starts no server there; put the server's command behind `govstore run --`";

fn unknown(server: &Server, argv: &[&str], problem: String) -> ServerFindings {
    ServerFindings {
        name: server.name.clone(),
        project: server.project.clone(),
        argv: argv.iter().map(ToString::to_string).collect(),
        keeper: Keeper::Unknown,
        problem: Some(problem),
        unkept_pids: Vec::new(),
        orphan_pids: Vec::new(),
    }
}
