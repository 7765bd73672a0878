//! `events`: lifecycle and changes of health, as they happen in whatever process.

use std::io;
use std::time::Duration;

use govstore::{AgentEvent, EventKind};
use serde::Serialize;

use super::figures::{NONE, time};
use super::visible::visible;
use super::{Exit, Outcome, Session, paint};

/// How often `--follow` looks for new events.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Events read at once.
const PAGE: u32 = 1_000;

/// Show lifecycle events and changes of health, oldest first
///
/// An agent was created, paused, resumed, archived, deleted or reset, or its health changed; by whatever process.
/// Without --after and --last, all of them, and with --follow only those that are to come.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
With --json it is one document; with --json --follow one a line, as they happen.

Examples:
  govstore events --last 20
  govstore events --follow --json | jq --unbuffered -c 'select(.health_to == \"critical\")'")]
pub struct Args {
    /// Go on, and show events as they happen, until whoever reads them stops
    #[arg(long)]
    follow: bool,

    /// Only those after the event of this number
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    after: Option<i64>,

    /// Only the newest ones, this many
    #[arg(long, value_name = "NUMBER")]
    last: Option<u32>,
}

#[derive(Serialize)]
struct Events {
    events: Vec<AgentEvent>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let mut after = match (args.after, args.last) {
        (Some(after), _) => after,
        (None, Some(last)) => store.event_id_before_last(last)?,
        (None, None) if args.follow => store.event_id_before_last(0)?,
        (None, None) => 0,
    };
    let mut all = Vec::new();
    loop {
        let page = store.events_after(after, PAGE)?;
        after = page.last().map_or(after, |event| event.event_id);
        let is_last = page.len() < PAGE as usize;
        if session.out.json() && !args.follow {
            all.extend(page);
        } else {
            for event in &page {
                show(event, session)?;
            }
            session.out.flush()?;
        }
        match (is_last, args.follow) {
            (false, _) => {}
            (true, true) if wait_for_more() => {}
            (true, _) => break,
        }
    }
    if session.out.json() && !args.follow {
        session.out.success(&Events { events: all })?;
    }
    Ok(Exit::DONE)
}

fn show(event: &AgentEvent, session: &mut Session) -> io::Result<()> {
    if session.out.json() { session.out.success(event) } else { session.out.say(line(event)) }
}

/// Waits for a moment; `false`, at once, when nobody reads what we write any more. Nobody would notice otherwise
/// until the next event, and that may be days away.
#[cfg(unix)]
fn wait_for_more() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = io::stdout();
    let mut closed = [PollFd::new(&stdout, PollFlags::empty())];
    let for_a_moment = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_EVERY.subsec_nanos()) };
    !poll(&mut closed, Some(&for_a_moment)).is_ok_and(|closed| closed > 0)
}

#[cfg(not(unix))]
fn wait_for_more() -> bool {
    std::thread::sleep(LOOK_EVERY);
    true
}

/// One event for people.
fn line(event: &AgentEvent) -> String {
    let happened = match (event.event, event.health_to) {
        (EventKind::HealthChanged, Some(to)) => {
            let from = event.health_from.map_or(NONE.into(), paint::health);
            format!("health {from} → {}", paint::health(to))
        }
        (event, _) => event.to_string(),
    };
    let reason = event.reason.as_deref().map(|reason| format!(": {}", visible(reason))).unwrap_or_default();
    let (number, agent) = (event.event_id, visible(&event.agent_id));
    format!("{number:>6}  {}  {}  {happened}{reason}", time(event.occurred_at), paint::strong(&agent))
}
