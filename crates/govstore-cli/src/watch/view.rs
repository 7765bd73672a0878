//! A frame: the fleet in two lines, the tables, a line about what is selected, and the keys.
//!
//! A pure function of the state and the time. Where there is not room for all tables, the one in focus is shown
//! alone; on a very small terminal the lines go too, and it is the last to stay.

use govstore::{FleetHealth, Timestamp};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Widget, Wrap};

use super::agents;
use super::figures::{age, count};
use super::grid::cut;
use super::palette::Palette;
use super::snapshot::{Snapshot, Table};
use super::state::{Mode, State};
use super::tables::{Shown, shown};

/// With fewer columns, or fewer lines for the tables, the one in focus is shown alone.
const ROOM_FOR_ALL: (u16, u16) = (60, 12);

/// From this age on it is said how old the figures are.
const OLD_S: i64 = 3;

/// Blanks between two texts on one line.
const BETWEEN: usize = 2;

/// A key, what it does in a word for the last line, and in a sentence for the help.
type Key = (&'static str, &'static str, &'static str);

/// The most important ones first.
const KEYS: [Key; 11] = [
    ("q", "quit", "quit, as Ctrl-C does"),
    ("?", "help", "this help"),
    ("↑↓", "select", "select a row; also j k, PgUp PgDn, Home End"),
    ("p", "pause", "pause the selected agent: its updates are refused"),
    ("r", "resume", "resume the selected agent"),
    ("Tab", "table", "the next table; Shift-Tab the one before"),
    ("s", "sort", "the next order of agents; S the one before"),
    ("/", "find", "only agents whose id has this text in it"),
    ("h", "health", "only critical, degraded, healthy agents; then any"),
    ("l", "lifecycle", "only active, paused, archived, deleted; then any"),
    ("Esc", "top", "select nothing: the first rows stay in sight"),
];

pub fn draw(frame: &mut Frame<'_>, state: &State, now: Timestamp, palette: Palette) {
    let area = frame.area();
    let [has_summary, has_list, has_about, has_keys] =
        [2, 8, 10, 4].map(|least| u16::from(area.height >= least));
    let [summary, list, body, about, keys] = Layout::vertical([
        Constraint::Length(has_summary),
        Constraint::Length(has_list),
        Constraint::Min(0),
        Constraint::Length(has_about),
        Constraint::Length(has_keys),
    ])
    .areas(area);
    let view = View { state, now, palette };
    let buffer = frame.buffer_mut();
    view.summary(summary, buffer);
    view.list(list, buffer);
    view.tables(body, buffer);
    match view.news() {
        // Told in full, and for as long as that is needed in place of the keys.
        Some(news) if about.is_empty() || news.width() > usize::from(about.width) => {
            let lines = about.height + keys.height;
            let place = Rect { y: keys.bottom() - lines, height: lines, ..keys };
            Paragraph::new(news).wrap(Wrap { trim: true }).render(place, buffer);
        }
        news => {
            put(news.or_else(|| view.about()).unwrap_or_default(), about, buffer);
            put(view.keys(keys.width), keys, buffer);
        }
    }
    if state.mode == Mode::Help {
        view.help(area, buffer);
    }
}

struct View<'a> {
    state: &'a State,
    now: Timestamp,
    palette: Palette,
}

impl View<'_> {
    /// How the fleet is, and of which database.
    fn summary(&self, area: Rect, buffer: &mut Buffer) {
        let Some(snapshot) = &self.state.snapshot else {
            return put(Line::raw("reading …"), area, buffer);
        };
        let left = self.fleet(&snapshot.fleet);
        let when = self.when(snapshot);
        let all = format!("{}  {when}", shown(&snapshot.database.to_string_lossy()));
        let room = usize::from(area.width).saturating_sub(left.width() + BETWEEN);
        let right = if Span::raw(&all).width() <= room { all } else { when };
        put_both(left, Line::styled(right, self.palette.pale()), area, buffer);
    }

    fn fleet(&self, fleet: &FleetHealth) -> Line<'static> {
        let Some(status) = fleet.fleet_status else {
            return Line::styled("no agents in service", self.palette.strong());
        };
        let mut line = Line::styled("fleet ", self.palette.strong());
        line.push_span(Span::styled(status.to_string(), self.palette.of(&status)));
        line.push_span(format!(
            "   {} critical  {} degraded  {} healthy",
            fleet.critical, fleet.degraded, fleet.healthy
        ));
        line
    }

    fn when(&self, snapshot: &Snapshot) -> String {
        let old = self.now.to_utc().signed_duration_since(snapshot.read_at.to_utc()).num_seconds() >= OLD_S;
        let old = if old { format!(", {} ago", age(snapshot.read_at, self.now)) } else { String::new() };
        format!("{} UTC{old}", snapshot.read_at.to_utc().format("%H:%M:%S"))
    }

    /// Which agents are listed, out of how many.
    fn list(&self, area: Rect, buffer: &mut Buffer) {
        let Some(snapshot) = &self.state.snapshot else { return };
        let (listed, all) = (snapshot.agents.len() as u64, count(snapshot.matching, "agent"));
        let listed = if listed < snapshot.matching { format!("first {listed} of {all}") } else { all };
        let text = &self.state.query.text;
        let found = match self.state.mode {
            Mode::Typing => format!(", find: {}▏", shown(text)),
            _ if text.is_empty() => String::new(),
            _ => format!(", found by “{}”", shown(text)),
        };
        let not_read_yet = if snapshot.query == self.state.query { "" } else { " …" };
        let left = format!("{listed}, {}{found}{not_read_yet}", self.state.query.describe());
        let right = Line::styled(agents::lifecycles(&snapshot.fleet), self.palette.pale());
        put_both(Line::raw(left), right, area, buffer);
    }

    fn tables(&self, area: Rect, buffer: &mut Buffer) {
        let Some(snapshot) = &self.state.snapshot else { return };
        let places = if area.width >= ROOM_FOR_ALL.0 && area.height >= ROOM_FOR_ALL.1 {
            places(snapshot, area)
        } else {
            vec![(self.state.focus, area)]
        };
        for (table, place) in places {
            self.shown(snapshot, table).render(table, place, buffer);
        }
    }

    fn shown<'s>(&self, snapshot: &'s Snapshot, table: Table) -> Shown<'s> {
        Shown {
            snapshot,
            selected: self.state.position(table),
            focused: self.state.focus == table,
            palette: self.palette,
        }
    }

    /// What a key did, else what is in the way.
    fn news(&self) -> Option<Line<'static>> {
        if let Some(notice) = &self.state.notice {
            let style = if notice.bad { self.palette.bad() } else { self.palette.strong() };
            return Some(Line::styled(notice.text.clone(), style));
        }
        let stuck = self.state.stuck.as_ref()?;
        Some(Line::styled(format!("not read: {stuck}"), self.palette.bad()))
    }

    /// More about the selected row.
    fn about(&self) -> Option<Line<'static>> {
        let (snapshot, table) = (self.state.snapshot.as_ref()?, self.state.focus);
        self.shown(snapshot, table).about_selected(table).map(Line::raw)
    }

    /// As many keys as there is room for.
    fn keys(&self, width: u16) -> Line<'static> {
        let keys: &[Key] = match self.state.mode {
            Mode::Typing => {
                &[("Enter", "keep", ""), ("Esc", "drop", ""), ("", "a part of an agent's id", "")]
            }
            Mode::Keys | Mode::Help => &KEYS,
        };
        let mut line = Line::default();
        for (key, word, _) in keys {
            let gap = if line.spans.is_empty() { "" } else { "  " };
            let entry = [
                Span::raw(gap),
                Span::styled(*key, self.palette.strong()),
                Span::styled(format!(" {word}"), self.palette.pale()),
            ];
            if line.width() + entry.iter().map(Span::width).sum::<usize>() > usize::from(width) {
                break;
            }
            line.spans.extend(entry);
        }
        line
    }

    fn help(&self, area: Rect, buffer: &mut Buffer) {
        let keys = KEYS.iter().map(|(key, _, does)| {
            Line::from_iter([Span::styled(format!("{key:<4} "), self.palette.strong()), Span::raw(*does)])
        });
        let more = [
            Line::default(),
            Line::raw("Blocks are an agent's latest updates, the newest on the"),
            Line::raw("right: risk, then coherence, on a scale from 0 to 1."),
        ];
        let lines: Vec<Line<'_>> = keys.chain(more).collect();
        let width = lines.iter().map(Line::width).max().unwrap_or_default() + 4;
        let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width);
        let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
        let place = area.centered(Constraint::Length(width), Constraint::Length(height));
        Clear.render(place, buffer);
        let block = Block::bordered().title(" govstore watch ").padding(Padding::horizontal(1));
        let inside = block.inner(place);
        block.render(place, buffer);
        for (line, row) in lines.into_iter().zip(inside.rows()) {
            put(line, row, buffer);
        }
    }
}

/// The tables one below the other. Each has the lines that it needs, up to a share; the agents have the rest, and
/// what they don't need is for those whose share was too small.
fn places(snapshot: &Snapshot, area: Rect) -> Vec<(Table, Rect)> {
    let needs = |table| match u16::try_from(snapshot.len(table)).unwrap_or(u16::MAX) {
        0 if table == Table::Locks => 0,
        rows => rows.max(1).saturating_add(1), // without any rows, a word instead
    };
    let share = |table, part: u16| needs(table).min((area.height / part).max(3));
    let mut others = [(Table::Processes, 4), (Table::Locks, 6), (Table::Events, 4)]
        .map(|(table, part)| (table, share(table, part)));
    let mut agents = area.height.saturating_sub(others.iter().map(|(_, height)| height).sum());
    for (table, height) in &mut others {
        let more = agents.saturating_sub(needs(Table::Agents)).min(needs(*table) - *height);
        agents -= more;
        *height += more;
    }
    let mut y = area.y;
    let mut place = |(table, height)| {
        let place = Rect { y, height, ..area }.intersection(area);
        y += height;
        (table, place)
    };
    [(Table::Agents, agents)].into_iter().chain(others).map(&mut place).collect()
}

/// Puts a line into a place, cut with an ellipsis if it is too long.
fn put(line: Line<'_>, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut x = area.x;
    for span in line.spans {
        let text = cut(&span.content, area.right() - x);
        x = buffer
            .set_stringn(x, area.y, text, usize::from(area.right() - x), line.style.patch(span.style))
            .0;
    }
}

/// Puts two lines into a place; the right one only where there is room for it.
fn put_both(left: Line<'_>, right: Line<'_>, area: Rect, buffer: &mut Buffer) {
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX);
    if left.width() + BETWEEN + right.width() <= usize::from(area.width) {
        put(right, Rect { x: area.right() - width, width, ..area }, buffer);
    }
    put(left, area, buffer);
}

#[cfg(test)]
mod tests;
