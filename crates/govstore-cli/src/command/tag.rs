//! `tag`: an agent's labels.

use govstore::AgentPatch;
use serde::Serialize;

use super::visible::visible;
use super::{Exit, Outcome, Session};

/// Show or change an agent's tags
///
/// Without an option it prints them, one a line. Tags are trimmed, and each is kept once. Removing comes
/// before adding. An agent that is tagged `pioneer` can't be deleted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore tag writer
  govstore tag writer --add production --remove staging
  govstore tag writer --set production,europe
  govstore tag writer --set ''          # takes all away")]
pub struct Args {
    /// The agent's id
    agent: String,

    /// Add a tag; several with commas, or by saying it again
    #[arg(long, value_name = "TAG", value_delimiter = ',', value_parser = tag)]
    add: Vec<String>,

    /// Take a tag away; one that isn't there is no mistake
    #[arg(long, value_name = "TAG", value_delimiter = ',', value_parser = tag)]
    remove: Vec<String>,

    /// Have these tags and no others, with commas
    #[arg(long, value_name = "TAGS", conflicts_with_all = ["add", "remove"])]
    set: Option<String>,
}

/// A tag: visible text.
fn tag(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("a tag can't be empty".to_owned());
    }
    if trimmed.contains(char::is_control) {
        return Err("a tag can't have control characters".to_owned());
    }
    Ok(trimmed.to_owned())
}

#[derive(Serialize)]
struct Tags<'a> {
    agent_id: &'a str,
    tags: &'a [String],
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let tags = if args.set.is_none() && args.add.is_empty() && args.remove.is_empty() {
        store.agent(&args.agent)?.tags
    } else {
        let set = args.set.as_deref().map(listed).transpose()?;
        let mut patch = AgentPatch::new();
        if let Some(set) = set {
            patch = patch.tags(set);
        }
        patch = args.remove.iter().fold(patch, AgentPatch::remove_tag);
        patch = args.add.iter().fold(patch, AgentPatch::add_tag);
        store.patch_agent(&args.agent, &patch)?.tags
    };
    if session.out.json() {
        session.out.success(&Tags { agent_id: &args.agent, tags: &tags })?;
    } else if tags.is_empty() {
        session.out.say(format!("{} has no tags", visible(&args.agent)))?;
    } else {
        for tag in &tags {
            session.out.say(visible(tag))?;
        }
    }
    Ok(Exit::DONE)
}

/// The tags of a `--set`; none in an empty one.
fn listed(text: &str) -> Result<Vec<String>, super::Failure> {
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| tag(part).map_err(super::Failure::Usage))
        .collect()
}
