//! The plots of one agent: which figures, on which scale, with which boundaries.

use govstore::governance::{LAMBDA1_RANGE, VOID_THRESHOLD_RANGE};
use govstore::{HealthThresholds, HistoryRow};
use maud::{Markup, html};

use super::figures::{self, NONE, count};
use super::line::{Scale, bars, line, newest};
use super::made_of::made_of;
use super::plot::{Line, Plot};

const SHARE: Scale = Scale { low: 0.0, high: 1.0 };

/// All plots of a history that has at least one row.
pub fn plots(history: &[HistoryRow], thresholds: &HealthThresholds) -> Markup {
    html! {
        div.plots {
            (risk(history, thresholds).render())
            (made_of(history))
            (coherence(history, thresholds).render())
            (void(history).render())
            (state(history).render())
            (lambda1(history).render())
        }
    }
}

fn risk(history: &[HistoryRow], thresholds: &HealthThresholds) -> Plot {
    let series = Series::of(history, |row| Some(row.risk_score));
    let told = |risk| figures::risk(risk, thresholds);
    let (healthy, degraded) = (thresholds.risk_healthy_max, thresholds.risk_degraded_max);
    Plot {
        title: html! { "Risk" },
        newest: series.newest(told),
        description: format!(
            "Risk, {}; below {} is healthy, from {} on critical",
            series.told(told),
            boundary(healthy),
            boundary(degraded)
        ),
        scale: SHARE,
        zones: vec![(0.0, healthy, "healthy"), (healthy, degraded, "degraded"), (degraded, 1.0, "critical")],
        thresholds: vec![(healthy, boundary(healthy)), (degraded, boundary(degraded))],
        bars: String::new(),
        lines: vec![series.line("risk", SHARE, None)],
        updates: updates(history),
    }
}

fn coherence(history: &[HistoryRow], thresholds: &HealthThresholds) -> Plot {
    let series = Series::of(history, |row| Some(row.coherence));
    let (healthy, degraded) = (thresholds.coherence_healthy_min, thresholds.coherence_degraded_min);
    Plot {
        title: html! { "Coherence" },
        newest: series.newest(figure),
        description: format!("Coherence, {}; boundaries {degraded} and {healthy}", series.told(figure)),
        scale: SHARE,
        zones: Vec::new(), // it decides nothing while risk is known
        thresholds: vec![(healthy, healthy.to_string()), (degraded, degraded.to_string())],
        bars: String::new(),
        lines: vec![series.line("coherence", SHARE, None)],
        updates: updates(history),
    }
}

fn void(history: &[HistoryRow]) -> Plot {
    let series = Series::of(history, |row| Some(row.void_integral));
    let (least, most) = VOID_THRESHOLD_RANGE;
    let reach = series.reach().max(most * 1.2);
    let scale = Scale { low: -reach, high: reach };
    let active = history.iter().filter(|row| row.void_active).count();
    Plot {
        title: html! { "V" },
        newest: series.newest(figure),
        description: format!(
            "V, {}; void was active in {}. Its threshold moves between {least:.2} and {most:.2} on either side",
            series.told(figure),
            count(active, "update")
        ),
        scale,
        zones: vec![(least, most, "threshold-range"), (-most, -least, "threshold-range")],
        thresholds: vec![(most, format!("{most:.2}")), (-most, format!("−{most:.2}"))],
        bars: bars(history.iter().map(|row| row.void_active)),
        lines: vec![series.line("void", scale, None)],
        updates: updates(history),
    }
}

fn state(history: &[HistoryRow]) -> Plot {
    let energy = Series::of(history, |row| row.energy);
    let integrity = Series::of(history, |row| row.integrity);
    let entropy = Series::of(history, |row| row.entropy);
    Plot {
        title: html! { "E, I, S" (energy.gaps()) },
        newest: [&energy, &integrity, &entropy].map(|series| series.newest(figure)).join(", "),
        description: format!(
            "E, {}. I, {}. S, {}",
            energy.told(figure),
            integrity.told(figure),
            entropy.told(figure)
        ),
        scale: SHARE,
        zones: Vec::new(),
        thresholds: Vec::new(),
        bars: String::new(),
        lines: vec![
            energy.line("energy", SHARE, Some("E")),
            integrity.line("integrity", SHARE, Some("I")),
            entropy.line("entropy", SHARE, Some("S")),
        ],
        updates: updates(history),
    }
}

fn lambda1(history: &[HistoryRow]) -> Plot {
    let series = Series::of(history, |row| row.lambda1);
    let (least, most) = LAMBDA1_RANGE;
    let scale = Scale { low: 0.0, high: series.reach().max(most * 1.25) };
    Plot {
        title: html! { "λ₁" (series.gaps()) },
        newest: series.newest(figure),
        description: format!("λ₁, {}; it is kept between {least:.2} and {most:.2}", series.told(figure)),
        scale,
        zones: Vec::new(),
        thresholds: vec![(least, format!("{least:.2}")), (most, format!("{most:.2}"))],
        bars: String::new(),
        lines: vec![series.line("lambda1", scale, None)],
        updates: updates(history),
    }
}

/// The numbers of the first and the last update.
fn updates(history: &[HistoryRow]) -> (i64, i64) {
    let number = |row: Option<&HistoryRow>| row.map_or(0, |row| row.update_no);
    (number(history.first()), number(history.last()))
}

fn figure(value: f64) -> String {
    format!("{value:.2}").replace('-', "−")
}

/// A boundary as somebody set it: `15%`, `12.5%`.
fn boundary(share: f64) -> String {
    format!("{}%", (share * 1e6).round() / 1e4)
}

/// One figure of every update. What v1.0.3 did not keep is missing.
struct Series(Vec<Option<f64>>);

impl Series {
    fn of(history: &[HistoryRow], value: impl Fn(&HistoryRow) -> Option<f64>) -> Self {
        Self(history.iter().map(value).collect())
    }

    fn known(&self) -> impl DoubleEndedIterator<Item = f64> {
        self.0.iter().copied().flatten()
    }

    /// How far it is from 0 at most.
    fn reach(&self) -> f64 {
        self.known().fold(0.0, |reach, value| reach.max(value.abs()))
    }

    fn newest(&self, told: impl Fn(f64) -> String) -> String {
        self.known().next_back().map_or(NONE.into(), told)
    }

    /// A remark where it is not known for every update.
    fn gaps(&self) -> Markup {
        let known = self.known().count();
        html! {
            @if known < self.0.len() { " " span.note { "(known for " (known) " of " (self.0.len()) ")" } }
        }
    }

    /// How it went, in words.
    fn told(&self, told: impl Fn(f64) -> String) -> String {
        let Some(newest) = self.known().next_back() else { return "not known".to_owned() };
        let low = self.known().fold(newest, f64::min);
        let high = self.known().fold(newest, f64::max);
        let known = count(self.known().count(), "update");
        format!("{known}: lowest {}, highest {}, newest {}", told(low), told(high), told(newest))
    }

    fn line(&self, class: &'static str, scale: Scale, label: Option<&'static str>) -> Line {
        Line { class, data: line(self.0.iter().copied(), scale), newest: newest(&self.0), label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_told_as_it_was_set() {
        assert_eq!([0.15, 0.3, 0.125, 0.07, 1.0].map(boundary), ["15%", "30%", "12.5%", "7%", "100%"]);
    }

    #[test]
    fn a_series_with_nothing_in_it_says_so() {
        let series = Series(vec![None, None]);
        assert_eq!((series.told(figure), series.newest(figure)), ("not known".to_owned(), NONE.to_owned()));
        let series = Series(vec![Some(-0.5), None, Some(0.25)]);
        assert_eq!(series.told(figure), "2 updates: lowest −0.50, highest 0.25, newest 0.25");
    }
}
