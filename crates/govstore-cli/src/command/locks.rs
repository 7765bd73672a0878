//! `locks` and `unlock`: who has which agent locked.

use govstore::{AgentLockInfo, Error, Store, Timestamp};
use serde::Serialize;

use super::figures::{NONE, age};
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, paint};

/// List the agents that are locked, and by whom
///
/// A server locks an agent while it works on it for longer than a moment; updates by others wait. `STATE` is
/// what the holder is doing: running, stopped (wake it with `kill -CONT`), gone (its lock is in nobody's way), or
/// unknown where it can't be looked at.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Take the lock on an agent away from whoever holds it
///
/// For a holder that hangs: one that has died is in nobody's way. It is recorded as an event of the agent, and
/// the former holder's next write is refused.
#[derive(Debug, clap::Args)]
pub struct UnlockArgs {
    /// The agent's id
    agent: String,

    /// Yes, take it away
    #[arg(long)]
    force: bool,

    /// Why; it is kept with the event
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Held {
    locks: Vec<AgentLockInfo>,
}

#[derive(Serialize)]
struct TakenAway<'a> {
    message: &'a str,
    lock: &'a AgentLockInfo,
}

pub fn run(session: &mut Session) -> Outcome {
    let locks = session.open()?.locks()?;
    if session.out.json() {
        session.out.success(&Held { locks })?;
    } else if locks.is_empty() {
        session.out.say("no agent is locked")?;
    } else {
        session.out.say(listing(&locks))?;
    }
    Ok(Exit::DONE)
}

fn listing(locks: &[AgentLockInfo]) -> String {
    let now = Timestamp::now();
    let columns = [
        Column::Wrapped("AGENT"),
        Column::Figure("PID"),
        Column::Wrapped("NAME"),
        Column::Text("STATE"),
        Column::Figure("HELD"),
        Column::Figure("RENEWED"),
        Column::Figure("TOKEN"),
        Column::Wrapped("REASON"),
    ];
    let rows = locks.iter().map(|lock| {
        [
            visible(&lock.agent_id).into_owned(),
            lock.pid.map_or(NONE.into(), |pid| pid.to_string()),
            lock.name.as_deref().map_or(NONE.into(), |name| visible(name).into_owned()),
            lock.state.to_string(),
            age(lock.acquired_at, now),
            age(lock.renewed_at, now),
            lock.token.to_string(),
            paint::pale(&visible(lock.reason.as_deref().unwrap_or(NONE))),
        ]
    });
    table(columns, rows)
}

pub fn unlock(args: &UnlockArgs, session: &mut Session) -> Outcome {
    let store = session.open()?;
    if !args.force {
        return Err(refusal(&store, &args.agent)?);
    }
    let lock = store.unlock_agent(&args.agent, args.reason.as_deref())?;
    let message =
        format!("{} is unlocked; it was locked by {}", visible(&lock.agent_id), visible(&holder(&lock)));
    if session.out.json() {
        session.out.success(&TakenAway { message: &message, lock: &lock })?;
    } else {
        session.out.say(&message)?;
    }
    Ok(Exit::DONE)
}

/// Why nothing is done without `--force`.
fn refusal(store: &Store, agent: &str) -> Result<Failure, Failure> {
    let agent_id = store.agent(agent)?.agent_id;
    Ok(match store.locks()?.iter().find(|lock| lock.agent_id == agent_id) {
        None => Error::NotLocked { agent_id }.into(),
        Some(lock) => Failure::Usage(format!(
            "agent {agent_id:?} is locked by {}, which may be at work on it; say --force to take the lock away",
            holder(lock)
        )),
    })
}

/// `PID 4711 (my-server, running)`.
fn holder(lock: &AgentLockInfo) -> String {
    match (lock.pid, &lock.name) {
        (Some(pid), Some(name)) => format!("PID {pid} ({name}, {})", lock.state),
        _ => format!("process {}, which is gone", lock.process_id),
    }
}
