//! A table in a part of the screen: a bar with its titles, then rows, one of which may be selected.
//!
//! Where there is not room for all columns, the least important ones go; where there is more, those that can use
//! it share it. Texts are cut between graphemes, with an ellipsis.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::palette::Palette;

/// Columns on the left for the mark of the selected row.
const MARGIN: u16 = 2;

/// How a column's texts stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// To the left; cut at the end.
    Left,
    /// To the right.
    Right,
    /// To the right; cut at the beginning, since the end is the newest.
    Newest,
}

pub struct Column {
    title: &'static str,
    set: Set,
    least: u16,
    most: u16,
    /// Blanks before it.
    gap: u16,
    /// The higher, the sooner it goes where there is no room. One of 0 stays.
    dispensable: u8,
}

impl Column {
    /// A column of this width.
    pub const fn new(title: &'static str, width: u16) -> Self {
        Self { title, set: Set::Left, least: width, most: width, gap: 2, dispensable: 0 }
    }

    /// As wide as its texts, where there is room, and not wider than this.
    pub const fn up_to(self, most: u16) -> Self {
        Self { most, ..self }
    }

    pub const fn set(self, set: Set) -> Self {
        Self { set, ..self }
    }

    pub const fn close(self) -> Self {
        Self { gap: 1, ..self }
    }

    pub const fn dispensable(self, dispensable: u8) -> Self {
        Self { dispensable, ..self }
    }
}

pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

pub struct Grid<const N: usize> {
    pub columns: [Column; N],
    pub rows: Vec<[Cell; N]>,
    /// Whether there are more rows than were read.
    pub goes_on: bool,
    /// What is said where there are no rows.
    pub none: String,
    pub selected: Option<usize>,
    pub focused: bool,
}

impl<const N: usize> Grid<N> {
    pub fn render(&self, area: Rect, buffer: &mut Buffer, palette: Palette) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let places = self.places(area.width);
        let bar = Rect { height: 1, ..area };
        for ((x, width), column) in places.iter().zip(&self.columns) {
            put(buffer, area.x + x, area.y, column.title, *width, column.set, palette.strong());
        }
        let bar_style = if self.focused { Modifier::REVERSED } else { Modifier::UNDERLINED };
        buffer.set_style(bar, Style::new().add_modifier(bar_style));

        let height = usize::from(area.height - 1);
        if self.rows.is_empty() && height > 0 {
            let width = area.width.saturating_sub(MARGIN);
            put(buffer, area.x + MARGIN, area.y + 1, &self.none, width, Set::Left, palette.pale());
        }
        // Where some are cut off, the last line says how many; it takes no row's place where there is but one.
        let is_cut = self.rows.len() > height && height > 1;
        let height = height - usize::from(is_cut);
        if is_cut {
            let at_least = if self.goes_on { "at least " } else { "" };
            let more = format!("… and {at_least}{} more", self.rows.len() - height);
            let width = area.width.saturating_sub(MARGIN);
            put(buffer, area.x + MARGIN, area.bottom() - 1, &more, width, Set::Left, palette.pale());
        }
        // The selected row stays in the middle as far as there are rows on both sides.
        let first = self.selected.unwrap_or(0).saturating_sub(height / 2);
        let first = first.min(self.rows.len().saturating_sub(height));
        let shown = self.rows.iter().enumerate().skip(first).take(height).zip(area.y + 1..area.bottom());
        for ((number, row), y) in shown {
            for (((x, width), column), cell) in places.iter().zip(&self.columns).zip(row) {
                put(buffer, area.x + x, y, &cell.text, *width, column.set, cell.style);
            }
            if self.selected == Some(number) {
                buffer.set_stringn(area.x, y, "›", usize::from(area.width), palette.strong());
                if self.focused {
                    let line = Rect { y, height: 1, ..area };
                    buffer.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
                }
            }
        }
    }

    /// Where each column begins, and how wide it is; 0 for one that has no room.
    fn places(&self, available: u16) -> [(u16, u16); N] {
        let available = available.saturating_sub(MARGIN);
        let mut widths: [u16; N] = std::array::from_fn(|column| self.columns[column].least);
        let taken = |widths: &[u16; N]| -> u16 {
            let with_gap = |(number, width): (usize, &u16)| match (number, width) {
                (_, 0) => 0,
                (0, width) => *width,
                (number, width) => width + self.columns[number].gap,
            };
            widths.iter().enumerate().map(with_gap).fold(0, u16::saturating_add)
        };
        while taken(&widths) > available {
            let shown = (0..N).filter(|number| widths[*number] > 0 && self.columns[*number].dispensable > 0);
            let Some(least_important) = shown.max_by_key(|number| self.columns[*number].dispensable) else {
                break;
            };
            widths[least_important] = 0;
        }
        // What is left is dealt out by turns.
        let wanted: [u16; N] = std::array::from_fn(|number| self.wanted(number));
        let mut left = available.saturating_sub(taken(&widths));
        while left > 0 {
            let before = left;
            for number in 0..N {
                if left > 0 && widths[number] > 0 && widths[number] < wanted[number] {
                    widths[number] += 1;
                    left -= 1;
                }
            }
            if left == before {
                break;
            }
        }
        // Where even what must stay is too wide, it ends at the edge.
        let mut x = 0;
        std::array::from_fn(|number| {
            let gap = if number == 0 || widths[number] == 0 { 0 } else { self.columns[number].gap };
            let begins = (x + gap).min(available);
            let width = widths[number].min(available - begins);
            x = begins + width;
            (MARGIN + begins, width)
        })
    }

    /// The width that shows all texts of a column, as far as it may grow.
    fn wanted(&self, number: usize) -> u16 {
        let column = &self.columns[number];
        if column.least == column.most {
            return column.least; // no need to look at its texts
        }
        let widest = self.rows.iter().map(|row| Span::raw(&row[number].text).width()).max().unwrap_or(0);
        u16::try_from(widest).unwrap_or(u16::MAX).clamp(column.least, column.most)
    }
}

/// Puts a text into a place of this width, cut if need be.
fn put(buffer: &mut Buffer, x: u16, y: u16, text: &str, width: u16, set: Set, style: Style) {
    let text = match set {
        Set::Newest => newest(text, width),
        Set::Left | Set::Right => cut(text, width),
    };
    let blanks = if set == Set::Left { 0 } else { width.saturating_sub(columns(&text)) };
    buffer.set_stringn(x + blanks, y, &text, usize::from(width - blanks), style);
}

/// A text in this many columns: with an ellipsis at its end, where it has more.
pub fn cut(text: &str, width: u16) -> String {
    let span = Span::raw(text);
    if span.width() <= usize::from(width) {
        return text.to_owned();
    }
    let mut left = usize::from(width).saturating_sub(1);
    let mut shown = String::new();
    for grapheme in span.styled_graphemes(Style::new()) {
        let Some(rest) = left.checked_sub(Span::raw(grapheme.symbol).width()) else { break };
        shown.push_str(grapheme.symbol);
        left = rest;
    }
    if width > 0 {
        shown.push('…');
    }
    shown
}

/// The last of a line of blocks, each of which is one column.
fn newest(blocks: &str, width: u16) -> String {
    let earlier = blocks.chars().count().saturating_sub(usize::from(width));
    blocks.chars().skip(earlier).collect()
}

fn columns(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(names: &[&str]) -> Grid<3> {
        Grid {
            columns: [
                Column::new("NAME", 4).up_to(12),
                Column::new("SIZE", 5).set(Set::Right),
                Column::new("PAST", 4).up_to(6).set(Set::Newest).dispensable(1),
            ],
            rows: names
                .iter()
                .map(|name| [Cell::new(*name), Cell::new("17"), Cell::new("▁▂▃▄▅▆▇")])
                .collect(),
            goes_on: false,
            none: "nothing there".to_owned(),
            selected: None,
            focused: true,
        }
    }

    fn lines(grid: &Grid<3>, width: u16, height: u16) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        grid.render(buffer.area, &mut buffer, Palette { colour: false });
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect()
    }

    #[test]
    fn columns_share_what_is_there_and_the_least_important_go() {
        let grid = grid(&["a-long-name", "b"]);
        #[rustfmt::skip]
        let cases: [(u16, [&str; 2]); 5] = [
            (40, ["  NAME          SIZE    PAST", "  a-long-name     17  ▂▃▄▅▆▇"]),
            (24, ["  NAME      SIZE    PAST", "  a-long…     17  ▂▃▄▅▆▇"]),
            (19, ["  NAME   SIZE  PAST", "  a-l…     17  ▄▅▆▇"]),
            (18, ["  NAME        SIZE", "  a-long-n…     17"]),
            (9, ["  NAME  …", "  a-l…  …"]),
        ];
        for (width, expected) in cases {
            assert_eq!(lines(&grid, width, 2), expected, "{width}");
        }
        for width in 0..9 {
            for height in 0..4 {
                lines(&grid, width, height); // nothing to see, and no panic
            }
        }
        assert_eq!(lines(&self::grid(&[]), 40, 2)[1], "  nothing there");
    }

    #[test]
    fn wide_graphemes_are_cut_between_them() {
        assert_eq!(cut("測試測試", 8), "測試測試");
        assert_eq!(cut("測試測試", 7), "測試測…");
        assert_eq!(cut("測試測試", 6), "測試…");
        assert_eq!(cut("👩\u{200d}🚀👩\u{200d}🚀👩\u{200d}🚀", 4), "👩\u{200d}🚀…");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".to_owned(), String::new()));
    }

    #[test]
    fn the_selected_row_is_in_sight_and_marked() {
        let names: Vec<String> = (0..50).map(|number| format!("n{number:02}")).collect();
        let mut grid = grid(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut shown = |selected| {
            grid.selected = selected;
            lines(&grid, 9, 6)
                .split_off(1)
                .iter()
                .map(|line| line[..line.len().min(8)].trim().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(None)[0], "n00");
        for selected in 0..50 {
            let lines = shown(Some(selected));
            let marked: Vec<_> = lines.iter().filter(|line| line.starts_with('›')).collect();
            assert_eq!(marked.len(), 1, "{selected}: {lines:?}");
            assert!(marked[0].contains(&format!("n{selected:02}")), "{lines:?}");
        }
        assert!(shown(Some(49)).iter().any(|line| line.contains("n46")), "no blank rows at the end");
    }

    #[test]
    fn where_rows_are_cut_off_the_last_line_says_how_many() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut grid = grid(&names);
        assert_eq!(lines(&grid, 40, 7)[6].split_whitespace().next(), Some("f"), "all of them have room");
        assert_eq!(lines(&grid, 40, 6)[5], "  … and 2 more");
        assert_eq!(lines(&grid, 40, 6)[4].split_whitespace().next(), Some("d"));
        assert_eq!(lines(&grid, 40, 3)[2], "  … and 5 more");
        assert_eq!(lines(&grid, 40, 2)[1].split_whitespace().next(), Some("a"), "a row rather than a word");
        grid.goes_on = true;
        assert_eq!(lines(&grid, 40, 6)[5], "  … and at least 2 more");
    }
}
