//! A line through many values, as the data of an SVG path: thinned to the width of its plot, in whole numbers.

use std::fmt::Write;
use std::ops::Range;

/// How wide the area of a plot is, in its own units.
pub const WIDTH: usize = 300;
/// How high it is.
pub const HEIGHT: usize = 100;

/// Values closer together than this share a column.
const COLUMN: usize = 2;

/// The values at the bottom and at the top of a plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
}

impl Scale {
    /// From the top: that is where SVG counts from. What lies outside is drawn at the edge.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "0 to 100")]
    pub fn y(self, value: f64) -> i32 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        ((1.0 - share) * HEIGHT as f64).round() as i32
    }
}

/// The newest of the values and where it stands from left to right, for a [`line`] through them.
pub fn newest(values: &[Option<f64>]) -> Option<(usize, f64)> {
    let columns = Columns { values: values.len() };
    values.iter().enumerate().rev().find_map(|(n, value)| Some((columns.x(n), (*value)?)))
}

/// Where the values of a history stand from left to right.
#[derive(Debug, Clone, Copy)]
struct Columns {
    values: usize,
}

impl Columns {
    /// The left edge of the column in which a value stands.
    fn x(self, value: usize) -> usize {
        match self.values {
            0 | 1 => WIDTH / 2,
            values => value * (WIDTH / COLUMN) / (values - 1) * COLUMN,
        }
    }
}

/// A line through `values`. Of each column the lowest and the highest value are drawn, in the order in which
/// they came, so that no peak is lost. Where values are missing the line is interrupted.
pub fn line(values: impl ExactSizeIterator<Item = Option<f64>>, scale: Scale) -> String {
    let columns = Columns { values: values.len() };
    let mut path = Path::default();
    let mut column: Option<(usize, Peaks)> = None;
    for (n, value) in values.enumerate() {
        let x = columns.x(n);
        if let Some((at, peaks)) = &column
            && (*at != x || value.is_none())
        {
            path.draw(*at, peaks, scale);
            column = None;
        }
        match (&mut column, value) {
            (Some((_, peaks)), Some(value)) => peaks.add(value),
            (None, Some(value)) => column = Some((x, Peaks::of(value))),
            (_, None) => path.interrupt(),
        }
    }
    if let Some((at, peaks)) = &column {
        path.draw(*at, peaks, scale);
    }
    path.data
}

/// Upright bars over the full height where `flags` are set.
pub fn bars(flags: impl ExactSizeIterator<Item = bool>) -> String {
    let columns = Columns { values: flags.len() };
    let mut bars: Vec<Range<usize>> = Vec::new();
    for (n, _) in flags.enumerate().filter(|(_, flag)| *flag) {
        let bar = columns.x(n)..columns.x(n) + COLUMN;
        match bars.last_mut() {
            Some(last) if bar.start <= last.end => last.end = bar.end,
            _ => bars.push(bar),
        }
    }
    let mut data = String::new();
    for Range { start, end } in bars {
        let width = end - start;
        let _ = write!(data, "M{start} 0h{width}v{HEIGHT}h-{width}z"); // into a String
    }
    data
}

/// The lowest and the highest of some values.
struct Peaks {
    low: f64,
    high: f64,
    high_came_last: bool,
}

impl Peaks {
    fn of(value: f64) -> Self {
        Self { low: value, high: value, high_came_last: false }
    }

    fn add(&mut self, value: f64) {
        if value < self.low {
            (self.low, self.high_came_last) = (value, false);
        } else if value > self.high {
            (self.high, self.high_came_last) = (value, true);
        }
    }
}

/// Path data: after the first point, steps from one to the next.
#[derive(Default)]
struct Path {
    data: String,
    /// Where the line is; `None` where a new one begins.
    pen: Option<(i64, i64)>,
}

impl Path {
    fn draw(&mut self, x: usize, peaks: &Peaks, scale: Scale) {
        let (first, second) =
            if peaks.high_came_last { (peaks.low, peaks.high) } else { (peaks.high, peaks.low) };
        let (first, second) = (scale.y(first), scale.y(second));
        self.go_to(x, first);
        if second != first {
            self.go_to(x, second);
        }
    }

    fn go_to(&mut self, x: usize, y: i32) {
        let to = (i64::try_from(x).unwrap_or(i64::MAX), i64::from(y));
        let _ = match self.pen {
            // Into a String: nothing can go wrong.
            // A line of no length, so that a value all alone is a dot.
            None => write!(self.data, "M{} {}h0", to.0, to.1),
            Some(from) => {
                let (right, down) = (to.0 - from.0, to.1 - from.1);
                let separator = if down < 0 { "" } else { " " };
                write!(self.data, "l{right}{separator}{down}")
            }
        };
        self.pen = Some(to);
    }

    fn interrupt(&mut self) {
        self.pen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Scale = Scale { low: 0.0, high: 1.0 };

    fn through(values: &[Option<f64>]) -> String {
        line(values.iter().copied(), SHARE)
    }

    /// The points of a path.
    fn points(data: &str) -> Vec<(i32, i32)> {
        let spaced = data.replace("h0", "").replace('M', " M ").replace('l', " l ").replace('-', " -");
        let mut words = spaced.split_whitespace();
        let (mut points, mut at) = (Vec::new(), (0, 0));
        while let Some(step) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<i32>().ok()).expect("a number");
            let (x, y) = (number(), number());
            at = if step == "M" { (x, y) } else { (at.0 + x, at.1 + y) };
            points.push(at);
        }
        points
    }

    #[test]
    fn few_values_are_all_drawn() {
        assert_eq!(through(&[Some(0.0), Some(1.0), Some(0.5)]), "M0 100h0l150-100l150 50");
        assert_eq!(through(&[Some(0.25)]), "M150 75h0");
        assert_eq!(through(&[]), "");
    }

    #[test]
    fn a_missing_value_interrupts_the_line() {
        assert_eq!(through(&[Some(0.0), None, Some(0.5)]), "M0 100h0M300 50h0");
        assert_eq!(through(&[None, None]), "");
    }

    #[test]
    fn no_peak_is_lost_among_many_values() {
        for peak in [0, 1, 499, 7_777, 9_999] {
            for height in [0.0, 1.0] {
                let mut values = vec![Some(0.5); 10_000];
                values[peak] = Some(height);
                let data = through(&values);
                let points = points(&data);
                let y = SHARE.y(height);
                assert!(points.iter().any(|point| point.1 == y), "value {peak} at {height}: {data}");
                assert!(points.len() <= WIDTH + 2 && points.iter().all(|point| (0..=300).contains(&point.0)));
            }
        }
    }

    #[test]
    fn what_is_out_of_scale_stays_in_the_picture() {
        assert_eq!(through(&[Some(-3.0), Some(9.0)]), "M0 100h0l300-100");
    }

    #[test]
    fn bars_stand_where_flags_are_set() {
        let flags = [true, false, false, true, true];
        assert_eq!(bars(flags.into_iter()), "M0 0h2v100h-2zM224 0h2v100h-2zM300 0h2v100h-2z");
        assert_eq!(bars([false; 3].into_iter()), "");
        assert_eq!(bars([true; 1_000].into_iter()), "M0 0h302v100h-302z");
    }
}
