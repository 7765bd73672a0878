//! A plot: lines over the updates of one agent, with the boundaries that they are judged by.

use maud::{Markup, html};

use super::line::{HEIGHT, Scale, WIDTH};

/// Room above the area, so that a line at its edge is whole.
const ABOVE: usize = 6;
/// Room beside it, for labels.
const RIGHT: usize = 42;
/// Room below it, for the numbers of the updates.
const BELOW: usize = 18;
/// Labels closer together than this could not be read.
const LABEL_HEIGHT: i32 = 11;

/// One plot. Every text in it is our own.
pub struct Plot {
    pub title: Markup,
    /// The newest figure, beside the title.
    pub newest: String,
    /// What the plot shows, for those who cannot see it.
    pub description: String,
    pub scale: Scale,
    /// Ranges of values in colour: from, to, class.
    pub zones: Vec<(f64, f64, &'static str)>,
    /// Boundaries: value, label.
    pub thresholds: Vec<(f64, String)>,
    /// Upright bars: path data.
    pub bars: String,
    pub lines: Vec<Line>,
    /// The first and the last update.
    pub updates: (i64, i64),
}

/// One line of a plot.
pub struct Line {
    pub class: &'static str,
    /// Path data.
    pub data: String,
    /// The newest value and where from left to right it stands: it has a dot.
    pub newest: Option<(usize, f64)>,
    /// What stands beside it, at the edge of the plot.
    pub label: Option<&'static str>,
}

impl Plot {
    pub fn render(&self) -> Markup {
        let view = format!("0 -{ABOVE} {} {}", WIDTH + RIGHT, ABOVE + HEIGHT + BELOW);
        let first = self.updates.0;
        html! {
            figure {
                figcaption { span { (self.title) } " " b { (self.newest) } }
                svg role="img" aria-label=(self.description) viewBox=(view) {
                    @for (from, to, class) in &self.zones { (self.zone(*from, *to, class)) }
                    rect.frame width=(WIDTH) height=(HEIGHT) {}
                    @if !self.bars.is_empty() { path.bars d=(self.bars) {} }
                    @for (value, _) in &self.thresholds {
                        path.threshold d={ "M0 " (self.scale.y(*value)) "h" (WIDTH) } {}
                    }
                    @for line in self.lines.iter().filter(|line| !line.data.is_empty()) {
                        path.line.(line.class) d=(line.data) {}
                    }
                    @for line in &self.lines {
                        @if let Some((x, value)) = line.newest {
                            circle.(line.class) cx=(x) cy=(self.scale.y(value)) r="2.5" {}
                        }
                    }
                    @for (y, label, class) in self.labels() {
                        text.(class) x=(WIDTH + 4) y=(y) { (label) }
                    }
                    text x="0" y=(HEIGHT + 13) { "update " (first) }
                    @if self.updates.1 > first {
                        text.end x=(WIDTH) y=(HEIGHT + 13) { (self.updates.1) }
                    }
                }
            }
        }
    }

    fn zone(&self, from: f64, to: f64, class: &str) -> Markup {
        let (top, bottom) = (self.scale.y(to), self.scale.y(from));
        html! {
            @if bottom > top { rect.zone.(class) y=(top) width=(WIDTH) height=(bottom - top) {} }
        }
    }

    /// Labels on the right: baseline, text, class. They are moved apart where they would cover each other.
    fn labels(&self) -> Vec<(i32, &str, &'static str)> {
        let thresholds = self.thresholds.iter().map(|(value, label)| (*value, label.as_str(), "boundary"));
        let ends = self.lines.iter().filter_map(|line| Some((line.newest?.1, line.label?, line.class)));
        let mut labels: Vec<_> = thresholds
            .chain(ends)
            .map(|(value, text, class)| (self.scale.y(value) + 4, text, class))
            .collect();
        labels.sort_by_key(|label| label.0);
        let mut lowest = i32::try_from(HEIGHT).unwrap_or_default() + 12;
        for n in 1..labels.len() {
            labels[n].0 = labels[n].0.max(labels[n - 1].0 + LABEL_HEIGHT);
        }
        for label in labels.iter_mut().rev() {
            label.0 = label.0.min(lowest);
            lowest = label.0 - LABEL_HEIGHT;
        }
        labels
    }
}
