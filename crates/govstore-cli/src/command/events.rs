//! `events`: lifecycle, changes of health, and what the reaper did, as it happens in whatever process.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use govstore::{AgentEvent, ChangeWatch, EventKind, Store};
use serde::Serialize;

use super::actors;
use super::figures::{NONE, time};
use super::timeline::{Event, Page, Timeline};
use super::visible::visible;
use super::{Exit, Outcome, Session, paint, reap};

/// How often `--follow` looks for new events.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Show lifecycle events, changes of health, and what the reaper did, oldest first
///
/// An agent was created, paused, resumed, archived, deleted or reset, or its health changed; by whatever process. A
/// server was ended, forgotten, woken, or could not be ended, by whatever reaper. Without --after and --last, all that
/// is kept, and with --follow only what is to come.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
With --json it is one document; with --json --follow one a line, as they happen. What the reaper did has \"event\":
\"reaped\" and the columns of its ledger, the table reap_events, and no event_id or agent_id.

Examples:
  govstore events --json | jq -c '.events[] | select(.event == \"reaped\")'
  govstore events --last 20
  govstore events --follow --json | jq --unbuffered -c 'select(.health_to == \"critical\")'")]
pub struct Args {
    /// Go on, and show events as they happen, until whoever reads them stops
    #[arg(long)]
    follow: bool,

    /// Only those after the agents' event of this number
    ///
    /// And what the reaper did from the time of that event on. It has numbers of its own, `reap_event_id`: whoever
    /// asks again and again tells by them what was shown before.
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    after: Option<i64>,

    /// Only the newest ones, this many
    #[arg(long, value_name = "NUMBER")]
    last: Option<u32>,
}

#[derive(Serialize)]
struct Events {
    events: Vec<Event>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    // Before the first look: what is written after it is a change then.
    let mut waiting = if args.follow { Some(Waiting::on(&store)?) } else { None };
    let (mut timeline, first) = match (args.after, args.last) {
        (Some(after), _) => (Timeline::after(&store, after)?, None),
        (None, Some(last)) => {
            let (events, timeline) = Timeline::last(&store, last)?;
            (timeline, Some(Page { events, is_last: true }))
        }
        (None, None) if args.follow => (Timeline::to_come(&store)?, None),
        (None, None) => (Timeline::all(&store), None),
    };
    let mut page = first.map_or_else(|| timeline.page(), Ok)?;
    let mut all = Vec::new();
    loop {
        if session.out.json() && !args.follow {
            all.extend(page.events);
        } else {
            for event in &page.events {
                show(event, session)?;
            }
            session.out.flush()?;
        }
        if page.is_last && !waiting.as_mut().is_some_and(Waiting::wait) {
            break;
        }
        page = timeline.page()?;
    }
    if session.out.json() && !args.follow {
        session.out.success(&Events { events: all })?;
    }
    Ok(Exit::DONE)
}

fn show(event: &Event, session: &mut Session) -> io::Result<()> {
    if session.out.json() { session.out.success(event) } else { session.out.say(line(event)) }
}

/// What waits between two looks.
struct Waiting {
    told: Receiver<()>,
    /// What tells it of an event at once, where the database does.
    watch: ChangeWatch,
}

impl Waiting {
    fn on(store: &Store) -> govstore::Result<Self> {
        let mut watch = store.watch_changes()?;
        let (tell, told) = mpsc::sync_channel(1);
        watch.call_on_event(move || {
            let _ = tell.try_send(()); // one that is there already is enough
        })?;
        Ok(Self { told, watch })
    }

    /// Waits until there may be something; `false` when nobody reads what we write any more. Nobody would notice
    /// otherwise until the next event, and that may be days away.
    fn wait(&mut self) -> bool {
        while !is_closed(&io::stdout()) {
            if self.told.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
                thread::sleep(LOOK_EVERY); // nobody tells
            }
            // If it can't be known, the next read says why.
            if self.watch.has_changed().unwrap_or(true) {
                return true;
            }
        }
        false
    }
}

#[cfg(unix)]
fn is_closed(stdout: &io::Stdout) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut closed = [PollFd::new(stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut closed, Some(&at_once)).is_ok_and(|closed| closed > 0)
}

#[cfg(not(unix))]
fn is_closed(_stdout: &io::Stdout) -> bool {
    false
}

/// One event for people.
fn line(event: &Event) -> String {
    let at = time(event.at());
    match event {
        Event::Agent(event) => {
            let (number, agent) = (event.event_id, visible(&event.agent_id));
            format!("{number:>6}  {at}  {}  {}", paint::strong(&agent), happened(event))
        }
        Event::Reaped(reaped) => {
            let by = reaped.act.reaper_pid;
            format!("{NONE:>6}  {at}  {}, by PID {by}", reap::told(&reaped.act))
        }
    }
}

/// What happened to an agent, and why.
fn happened(event: &AgentEvent) -> String {
    let happened = match (event.event, event.health_to) {
        (EventKind::HealthChanged, Some(to)) => {
            let from = event.health_from.map_or(NONE.into(), paint::health);
            format!("health {from} → {}", paint::health(to))
        }
        (event, _) => event.to_string(),
    };
    let reason = event.reason.as_deref().map(|reason| format!(": {}", visible(reason))).unwrap_or_default();
    let by = event.actor.filter(|_| event.event != EventKind::HealthChanged);
    let by = by.map(|actor| format!(" by {}", actors::named(actor, event.actor_name.as_deref())));
    format!("{happened}{}{reason}", by.unwrap_or_default())
}
