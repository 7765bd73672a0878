//! `note`: free text about an agent.

use govstore::AgentPatch;
use serde::Serialize;

use super::visible::{visible, visible_lines};
use super::{Exit, Outcome, Session, text_argument};

/// Show or change an agent's notes
///
/// Without TEXT it prints them. With TEXT it replaces them; an empty TEXT takes them away.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore note writer
  govstore note writer \"Drafts the release notes.\"
  govstore note writer --append \"Moved to the new prompt today.\"
  govstore note writer - < notes.txt")]
pub struct Args {
    /// The agent's id
    agent: String,

    /// The new notes; `-` reads them from standard input
    text: Option<String>,

    /// Add TEXT as a line of its own
    #[arg(long, requires = "text")]
    append: bool,
}

#[derive(Serialize)]
struct Notes<'a> {
    agent_id: &'a str,
    notes: &'a str,
}

pub fn run(args: Args, session: &mut Session) -> Outcome {
    let text = args.text.map(text_argument::resolve).transpose()?; // before the write, which must be quick
    let store = session.open()?;
    let notes = match text {
        None => store.agent(&args.agent)?.notes,
        Some(text) => {
            let text = text.trim_end();
            let patch = AgentPatch::new();
            let patch = if args.append { patch.append_note(text) } else { patch.notes(text) };
            store.patch_agent(&args.agent, &patch)?.notes
        }
    };
    if session.out.json() {
        session.out.success(&Notes { agent_id: &args.agent, notes: &notes })?;
    } else if notes.is_empty() {
        session.out.say(format!("{} has no notes", visible(&args.agent)))?;
    } else {
        session.out.say(visible_lines(&notes))?;
    }
    Ok(Exit::DONE)
}
