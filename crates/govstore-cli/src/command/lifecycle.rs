//! `pause`, `resume`, `archive`, `delete` and `reset`.

use govstore::Agent;
use serde::Serialize;

use super::figures::count;
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session};

/// Pause an agent: it takes no updates until it is resumed
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// The agent's id
    agent: String,

    /// Why; it is kept with the event
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: Option<String>,
}

/// Make a paused or archived agent active again
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The agent's id
    agent: String,
}

/// Put an agent away: it takes no updates until it is resumed
///
/// Unlike a paused agent it no longer counts in the fleet's health.
#[derive(Debug, clap::Args)]
pub struct ArchiveArgs {
    /// The agent's id
    agent: String,

    /// Why; it is kept with the event
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: Option<String>,
}

/// Delete an agent for good; its rows stay readable
///
/// It takes no updates and no changes ever again, and its id can't be used for another agent. An agent that
/// is tagged `pioneer` can't be deleted.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The agent's id
    agent: String,

    /// Yes, delete it
    #[arg(long)]
    yes: bool,
}

/// Put an agent's state back to that of a new one
///
/// Its history, its lifetime total, tags, notes and lifecycle status stay.
#[derive(Debug, clap::Args)]
pub struct ResetArgs {
    /// The agent's id
    agent: String,
}

pub fn pause(args: &PauseArgs, session: &mut Session) -> Outcome {
    let agent = session.open()?.pause(&args.agent, args.reason.as_deref())?;
    done(session, &agent, "is paused: updates are refused until it is resumed")
}

pub fn resume(args: &ResumeArgs, session: &mut Session) -> Outcome {
    let agent = session.open()?.resume(&args.agent)?;
    done(session, &agent, "is active again")
}

pub fn archive(args: &ArchiveArgs, session: &mut Session) -> Outcome {
    let agent = session.open()?.archive(&args.agent, args.reason.as_deref())?;
    done(session, &agent, "is archived: updates are refused until it is resumed")
}

pub fn delete(args: &DeleteArgs, session: &mut Session) -> Outcome {
    if !args.yes {
        let agent = &args.agent;
        return Err(Failure::Usage(format!("deleting {agent:?} is for good; say --yes to do it")));
    }
    let agent = session.open()?.delete(&args.agent)?;
    done(session, &agent, "is deleted; its rows stay")
}

pub fn reset(args: &ResetArgs, session: &mut Session) -> Outcome {
    let agent = session.open()?.reset(&args.agent)?;
    let kept = count(agent.total_updates, "update");
    done(session, &agent, &format!("begins anew; its history of {kept} stays"))
}

#[derive(Serialize)]
struct Done<'a> {
    message: &'a str,
    agent: &'a Agent,
}

/// Says in one line what happened to the agent.
fn done(session: &mut Session, agent: &Agent, what: &str) -> Outcome {
    let message = format!("{} {what}", visible(&agent.agent_id));
    if session.out.json() {
        session.out.success(&Done { message: &message, agent })?;
    } else {
        session.out.say(&message)?;
    }
    Ok(Exit::DONE)
}
