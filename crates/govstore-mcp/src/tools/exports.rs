//! An agent's history, told or written to a file.

use std::path::PathBuf;

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::argument::or_default;
use crate::export::{self, Exported};
use crate::history::{self, Format};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tool::{Effect, Tool};
use govstore::Timestamp;

/// How much `get_system_history` tells: the window of v1.0.3, which a model can still take in.
const TOLD_UPDATES_MAX: u32 = 1_000;

pub struct GetSystemHistory;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct HistoryArguments {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// json has a list for each figure, csv a row for each update.
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct History {
    format: Format,
    /// The history as a text in this format, oldest update first.
    history: String,
}

impl Tool for GetSystemHistory {
    const NAME: &'static str = "get_system_history";
    const TITLE: &'static str = "Get an agent's history";
    const DESCRIPTION: &'static str = "Get the figures of an agent's newest 1000 updates over time, as a JSON \
        or CSV text. For a longer history use export_to_file.";
    const EFFECT: Effect = Effect::Reads;
    type Arguments = HistoryArguments;
    type Outcome = History;

    fn call(session: &Session, arguments: HistoryArguments) -> Result<History, Refusal> {
        let HistoryArguments { agent_id, format } = arguments;
        let history = text(session, &agent_id, Some(TOLD_UPDATES_MAX), format)?;
        Ok(History { format, history })
    }
}

pub struct ExportToFile;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct ExportArguments {
    /// The agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// json has a list for each figure, csv a row for each update.
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    /// A name for the file, without its ending and without a path; a file that has it is replaced. Left out,
    /// the name is made of the agent and the time.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = export::NAME_MAX_BYTES), regex(pattern = r"^[^./\\:][^/\\:]*$"))]
    filename: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Export {
    message: String,
    /// Where the file is, on the machine of the server.
    file_path: PathBuf,
    filename: String,
    format: Format,
    agent_id: String,
    file_size_bytes: u64,
}

impl Tool for ExportToFile {
    const NAME: &'static str = "export_to_file";
    const TITLE: &'static str = "Export an agent's history";
    const DESCRIPTION: &'static str = "Write an agent's whole history into a file of the export folder beside \
        the database, as JSON or CSV. Returns its path.";
    const EFFECT: Effect = Effect::Replaces;
    type Arguments = ExportArguments;
    type Outcome = Export;

    fn call(session: &Session, arguments: ExportArguments) -> Result<Export, Refusal> {
        let ExportArguments { agent_id, format, filename } = arguments;
        let exported = match filename {
            Some(name) => {
                let text = text(session, &agent_id, None, format)?;
                export::write_named(&session.export_folder(), &name, format, &text)?
            }
            None => dated(session, &agent_id, format)?,
        };
        Ok(Export {
            message: format!("exported the history of agent {agent_id:?}"),
            file_path: exported.path,
            filename: exported.filename,
            format,
            agent_id,
            file_size_bytes: exported.bytes,
        })
    }
}

/// Exports an agent's whole history under a name of the agent and the time.
pub fn dated(session: &Session, agent_id: &str, format: Format) -> Result<Exported, Refusal> {
    let text = text(session, agent_id, None, format)?;
    export::write_dated(&session.export_folder(), agent_id, Timestamp::now().to_utc(), format, &text)
}

fn text(session: &Session, agent_id: &str, last: Option<u32>, format: Format) -> Result<String, Refusal> {
    let agent = session.store().agent(agent_id)?;
    let rows = session.store().history(agent_id, last)?;
    Ok(history::write(&agent, &rows, format))
}
