//! An agent's history, told or written to a file.

use std::path::PathBuf;

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::argument::{AgentId, Count, or_default, unless_empty};
use crate::bounds::UPDATES;
use crate::export::{self, Exported};
use crate::history::{self, Format, Reader};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tool::{Effect, Field, Tool};
use govstore::Timestamp;

/// The most updates of a page: the window of v1.0.3, which a model can still take in.
const PAGE_MAX: u32 = 1_000;

pub struct GetSystemHistory;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct HistoryArguments {
    /// The agent.
    agent_id: AgentId,
    /// json has a list for each figure, csv a row for each update.
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    /// The newest so many updates; 100 if left out.
    #[serde(default)]
    #[schemars(with = "Count<PAGE_MAX>")]
    last: Option<Count<PAGE_MAX>>,
    /// Only updates before this number, as `next_page` has it.
    #[serde(default)]
    #[schemars(with = "i64")]
    before: Option<i64>,
}

#[derive(Serialize)]
pub struct HistoryPage {
    format: Format,
    /// The history as a text in this format, oldest update first.
    history: String,
    /// The numbers of the first and the last update in it.
    first_update: Option<i64>,
    last_update: Option<i64>,
    /// Updates in the agent's lifetime.
    total_updates: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<NextPage>,
}

/// What to call again with for the updates that came before.
#[derive(Serialize)]
struct NextPage {
    before: i64,
}

impl Tool for GetSystemHistory {
    const NAME: &'static str = "get_system_history";
    const TITLE: &'static str = "Get an agent's history";
    const DESCRIPTION: &'static str = "Get an agent's newest updates, oldest first, as a text in history. \
        Call it to see a trend; for totals use get_governance_metrics. It has first_update to last_update of \
        total_updates; while there is a next_page, call again with what it has.";
    const EFFECT: Effect = Effect::Reads;
    const RESULT: &'static [Field] = &[("history", "string")];
    type Arguments = HistoryArguments;
    type Outcome = HistoryPage;

    fn call(session: &Session, arguments: HistoryArguments) -> Result<HistoryPage, Refusal> {
        let HistoryArguments { agent_id: AgentId(agent_id), format, last, before } = arguments;
        let as_v1_0_3 = session.offer.as_v1_0_3;
        let last = last.map_or(if as_v1_0_3 { PAGE_MAX } else { UPDATES }, |last| last.0);
        let agent = session.store().agent(&agent_id)?;
        let before = before.unwrap_or(i64::MAX);
        let mut rows = session.store().history_before(&agent_id, before, last + 1)?; // one more tells whether there are
        let is_all = rows.len() <= last as usize;
        if !is_all {
            rows.remove(0);
        }
        let first_update = rows.first().map(|row| row.update_no);
        let reader = if as_v1_0_3 { Reader::Program } else { Reader::Model };
        Ok(HistoryPage {
            format,
            history: history::write(&agent, &rows, format, reader),
            first_update,
            last_update: rows.last().map(|row| row.update_no),
            total_updates: agent.total_updates,
            next_page: first_update.filter(|_| !is_all).map(|before| NextPage { before }),
        })
    }
}

pub struct ExportToFile;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct ExportArguments {
    /// The agent.
    agent_id: AgentId,
    /// json has a list for each figure, csv a row for each update.
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    /// A name without a path, which replaces a file of that name.
    #[serde(default, deserialize_with = "unless_empty")]
    #[schemars(with = "String", length(max = export::NAME_MAX_BYTES))]
    filename: Option<String>,
}

#[derive(Serialize)]
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
    const DESCRIPTION: &'static str = "Write an agent's whole history into a file on the server's machine, \
        for a person or a program; to read it yourself use get_system_history.";
    const EFFECT: Effect = Effect::Replaces;
    const RESULT: &'static [Field] = &[("file_path", "string")];
    type Arguments = ExportArguments;
    type Outcome = Export;

    fn call(session: &Session, arguments: ExportArguments) -> Result<Export, Refusal> {
        let ExportArguments { agent_id: AgentId(agent_id), format, filename } = arguments;
        let exported = match filename {
            Some(name) => {
                let text = text(session, &agent_id, format)?;
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
    let text = text(session, agent_id, format)?;
    export::write_dated(&session.export_folder(), agent_id, Timestamp::now().to_utc(), format, &text)
}

fn text(session: &Session, agent_id: &str, format: Format) -> Result<String, Refusal> {
    let agent = session.store().agent(agent_id)?;
    let rows = session.store().history(agent_id, None)?;
    Ok(history::write(&agent, &rows, format, Reader::Program))
}
