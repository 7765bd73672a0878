//! The four tables: what is in their columns, and what is said of a selected row.

use govstore::explain;
use govstore::{
    AgentEvent, AgentLockInfo, EventKind, HolderState, Judgement, Lifecycle, ReapEvent, Timestamp, Verdict,
};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::{actors, client};

use super::figures::{self, NONE, age, span, time};
use super::grid::{Cell, Column, Grid, Set, cut};
use super::palette::Palette;
use super::snapshot::{Row, SPARKLINE_UPDATES, Snapshot, Table};
use super::timeline::{Event, Reaped};
use super::visible::visible;

/// More than this of one text is never shown: nobody reads it in a line, and every frame would go through it.
const SHOWN_CHARS: usize = 400;

/// An agent's name takes no more columns than this: there is more to say of it.
const NAME_MAX: u16 = 48;

/// A text of strangers: it says what it likes, on one line, and does nothing.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => visible(text).into_owned(),
        Some((end, _)) => visible(&text[..end]).into_owned() + "…",
    }
}

/// One table of the snapshot, and how it is to be shown.
pub struct Shown<'a> {
    pub snapshot: &'a Snapshot,
    pub selected: Option<usize>,
    pub focused: bool,
    pub palette: Palette,
}

impl Shown<'_> {
    pub fn render(&self, table: Table, area: Rect, buffer: &mut Buffer) {
        match table {
            Table::Agents => self.agents().render(area, buffer, self.palette),
            Table::Processes => self.processes().render(area, buffer, self.palette),
            Table::Locks => self.locks().render(area, buffer, self.palette),
            Table::Events => self.events().render(area, buffer, self.palette),
        }
    }

    fn grid<const N: usize>(&self, columns: [Column; N], rows: Vec<[Cell; N]>, none: &str) -> Grid<N> {
        let (none, goes_on) = (none.to_owned(), false);
        Grid { columns, rows, goes_on, none, selected: self.selected, focused: self.focused }
    }

    fn agents(&self) -> Grid<9> {
        let now = self.snapshot.read_at;
        let columns = [
            Column::new("AGENT", 8).up_to(NAME_MAX),
            Column::new("STATUS", 8).dispensable(1),
            Column::new("HEALTH", 8),
            Column::new("RISK", 7).up_to(12).set(Set::Right).dispensable(2),
            Column::new("", 8).up_to(SPARKLINE_UPDATES.into()).set(Set::Newest).close().dispensable(5),
            Column::new("COHERENCE", 9).up_to(12).set(Set::Right).dispensable(3),
            Column::new("", 8).up_to(SPARKLINE_UPDATES.into()).set(Set::Newest).close().dispensable(6),
            Column::new("UPDATES", 7).set(Set::Right).dispensable(7),
            Column::new("LAST", 6).set(Set::Right).dispensable(4),
        ];
        let thresholds = &self.snapshot.thresholds;
        let rows = self.snapshot.agents.iter().map(|Row { agent, risk, coherence, .. }| {
            let health = self.palette.of(&agent.health_status);
            [
                Cell::new(shown(&agent.agent_id)),
                Cell::styled(agent.lifecycle_status.as_str(), self.palette.of(&agent.lifecycle_status)),
                Cell::styled(agent.health_status.as_str(), health),
                Cell::new(agent.risk_score.map_or(NONE.into(), |risk| figures::risk(risk, thresholds))),
                Cell::styled(risk.as_str(), health),
                Cell::new(
                    agent
                        .coherence
                        .map_or(NONE.into(), |coherence| figures::coherence(coherence, thresholds)),
                ),
                Cell::styled(coherence.as_str(), self.palette.pale()),
                Cell::new(agent.total_updates.to_string()),
                Cell::new(agent.last_update_at.map_or(NONE.into(), |at| age(at, now))),
            ]
        });
        let none = if self.snapshot.fleet.total_agents == 0 { "no agents yet" } else { "no such agents" };
        let goes_on = (self.snapshot.agents.len() as u64) < self.snapshot.matching;
        Grid { goes_on, ..self.grid(columns, rows.collect(), none) }
    }

    fn processes(&self) -> Grid<8> {
        let now = self.snapshot.read_at;
        let columns = [
            Column::new("PROCESS", 10).up_to(28),
            Column::new("CLIENT", 10).up_to(28).dispensable(2),
            Column::new("VERDICT", 12).up_to(21),
            Column::new("PID", 7).set(Set::Right),
            Column::new("HEARTBEAT", 9).set(Set::Right),
            Column::new("ACTIVITY", 8).set(Set::Right).dispensable(1),
            Column::new("UPTIME", 6).set(Set::Right).dispensable(3),
            Column::new("WHY", 12).up_to(200).dispensable(4),
        ];
        let ago = |age_s: Option<f64>| Cell::new(age_s.map_or(NONE.into(), span));
        let rows = self.snapshot.processes.iter().map(|judgement| {
            let Judgement { process, verdict, evidence, stopped, .. } = judgement;
            let is_well = *verdict == Verdict::Alive && !stopped;
            let why = if is_well { String::new() } else { shown(evidence) };
            let style = if *stopped { self.palette.bad() } else { self.palette.of(verdict) };
            [
                Cell::new(shown(&process.name)),
                Cell::new(client::of(process).map_or(NONE.into(), |client| shown(&client))),
                Cell::styled(judged(judgement), style),
                Cell::new(process.pid.to_string()),
                ago(process.heartbeat_age_s),
                ago(process.activity_age_s),
                Cell::new(age(process.registered_at, now)),
                Cell::styled(why, self.palette.pale()),
            ]
        });
        self.grid(columns, rows.collect(), "no processes are registered")
    }

    fn locks(&self) -> Grid<5> {
        let now = self.snapshot.read_at;
        let columns = [
            Column::new("LOCKED AGENT", 12).up_to(NAME_MAX),
            Column::new("HOLDER", 7).up_to(40),
            Column::new("STATE", 7),
            Column::new("HELD", 6).set(Set::Right).dispensable(1),
            Column::new("REASON", 8).up_to(200).dispensable(2),
        ];
        let rows = self.snapshot.locks.iter().map(|lock| {
            [
                Cell::new(shown(&lock.agent_id)),
                Cell::new(holder(lock)),
                Cell::styled(lock.state.as_str(), self.palette.of(&lock.state)),
                Cell::new(age(lock.acquired_at, now)),
                Cell::styled(shown(lock.reason.as_deref().unwrap_or(NONE)), self.palette.pale()),
            ]
        });
        self.grid(columns, rows.collect(), "no agent is locked")
    }

    fn events(&self) -> Grid<4> {
        let now = self.snapshot.read_at;
        let columns = [
            Column::new("AGO", 6).set(Set::Right),
            Column::new("EVENT", 19),
            Column::new("WHO", 12).up_to(NAME_MAX),
            Column::new("WHY", 10).up_to(200).dispensable(1),
        ];
        let rows = self.snapshot.events.iter().map(|event| {
            let (what, style, who, why) = match event {
                Event::Agent(event) => {
                    let style = event.health_to.map_or(Style::new(), |health| self.palette.of(&health));
                    (what(event), style, shown(&event.agent_id), event.reason.as_deref().unwrap_or_default())
                }
                Event::Reaped(Reaped { act, .. }) => (
                    act.outcome.to_string(),
                    self.palette.of(&act.verdict),
                    server(act),
                    act.evidence.as_str(),
                ),
            };
            [
                Cell::new(age(event.at(), now)),
                Cell::styled(what, style),
                Cell::new(who),
                Cell::styled(shown(why), self.palette.pale()),
            ]
        });
        let goes_on = self.snapshot.has_earlier_events;
        Grid { goes_on, ..self.grid(columns, rows.collect(), "nothing has happened yet") }
    }

    /// All that there is to say of the selected row of this table.
    pub fn about_selected(&self, table: Table) -> Option<String> {
        let row = self.selected?;
        Some(match table {
            Table::Agents => self.about_agent(self.snapshot.agents.get(row)?),
            Table::Processes => {
                let judgement = self.snapshot.processes.get(row)?;
                let Judgement { process, evidence, stopped, .. } = judgement;
                let (pid, name, version) = (process.pid, shown(&process.name), shown(&process.version));
                let wake = if *stopped { format!("; `kill -CONT {pid}` wakes it") } else { String::new() };
                let client =
                    client::of(process).map_or(String::new(), |client| format!(", for {}", shown(&client)));
                format!(
                    "PID {pid} ({name} {version}{client}) is {}{wake}: {}",
                    judged(judgement),
                    shown(evidence)
                )
            }
            Table::Locks => {
                let lock = self.snapshot.locks.get(row)?;
                let (agent, held) = (shown(&lock.agent_id), age(lock.acquired_at, self.snapshot.read_at));
                let state = match lock.state {
                    HolderState::Stopped => {
                        format!("stopped; `kill -CONT {}` wakes it", lock.pid.unwrap_or_default())
                    }
                    HolderState::Frozen => {
                        "frozen by its cgroup; `docker unpause` or a thaw wakes it".to_owned()
                    }
                    HolderState::Gone => "gone, and its lock is in nobody's way".to_owned(),
                    state => state.to_string(),
                };
                let reason = shown(lock.reason.as_deref().unwrap_or("no reason given"));
                format!("{agent} is locked for {held} by {}, which is {state}: {reason}", holder(lock))
            }
            Table::Events => {
                let event = match self.snapshot.events.get(row)? {
                    Event::Agent(event) => event,
                    Event::Reaped(Reaped { act, .. }) => return Some(about_act(act)),
                };
                let why = event.reason.as_deref().map(|why| format!(": {}", shown(why))).unwrap_or_default();
                let (at, agent) = (time(event.occurred_at), shown(&event.agent_id));
                let by = event
                    .actor
                    .map(|actor| format!(" by {}", actors::named(actor, event.actor_name.as_deref())));
                format!("{at} UTC: {agent} {}{}{why}", what(event), by.unwrap_or_default())
            }
        })
    }

    fn about_agent(&self, Row { agent, made_of, .. }: &Row) -> String {
        let thresholds = &self.snapshot.thresholds;
        let health = explain::health(agent.risk_score, agent.coherence, agent.void_active, thresholds);
        let since =
            |at: Timestamp| format!("{} for {}", agent.lifecycle_status, age(at, self.snapshot.read_at));
        let since = match agent.lifecycle_status {
            Lifecycle::Active => None,
            Lifecycle::Paused => agent.paused_at,
            Lifecycle::Archived => agent.archived_at,
            Lifecycle::Deleted => agent.deleted_at,
        }
        .map(since);
        let decision = agent.last_decision.zip(agent.risk_score.zip(agent.coherence));
        let decision = decision.map(|(action, (risk, coherence))| {
            format!("{action}: {}", explain::decision(risk, coherence, agent.void_active, thresholds))
        });
        let made_of = made_of.map(|(name, part)| format!("most of it {name}, {:.1} %", part * 100.0));
        let tags = (!agent.tags.is_empty()).then(|| format!("tags {}", shown(&agent.tags.join(", "))));
        let parts = [since, Some(format!("{}: {health}", agent.health_status)), made_of, decision, tags]
            .into_iter()
            .flatten();
        format!("{}: {}", cut(&shown(&agent.agent_id), NAME_MAX), parts.collect::<Vec<_>>().join("; "))
    }
}

/// The verdict on a process, and whether it is stopped.
fn judged(judgement: &Judgement) -> String {
    let stopped = if judgement.stopped { ", stopped" } else { "" };
    format!("{}{stopped}", judgement.verdict)
}

/// `PID 4711 my-server`.
fn server(act: &ReapEvent) -> String {
    format!("PID {} {}", act.pid, shown(&act.name))
}

/// What the reaper did, and why.
fn about_act(act: &ReapEvent) -> String {
    let (at, why, by) = (time(act.recorded_at), shown(&act.evidence), act.reaper_pid);
    let victim = shown(&client::victim(act));
    format!("{at} UTC: {victim} was {}, and {} by PID {by}: {why}", act.verdict, act.outcome)
}

/// `PID 4711 my-server`.
fn holder(lock: &AgentLockInfo) -> String {
    match (lock.pid, &lock.name) {
        (Some(pid), Some(name)) => format!("PID {pid} {}", shown(name)),
        _ => format!("process {}, gone", lock.process_id),
    }
}

fn what(event: &AgentEvent) -> String {
    match (event.event, event.health_from, event.health_to) {
        (EventKind::HealthChanged, Some(from), Some(to)) => format!("{from} → {to}"),
        (EventKind::HealthChanged, None, Some(to)) => format!("{NONE} → {to}"),
        (event, ..) => event.to_string(),
    }
}
