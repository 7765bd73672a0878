//! The dynamics once more, in memory and after the design's formulas: what a store must come to that keeps an agent's
//! state in rows and BLOBs between updates.

use govstore::Update;

/// An agent since its start or last reset.
pub struct Twin {
    e: f64,
    i: f64,
    s: f64,
    v: f64,
    lambda1: f64,
    integral: f64,
    previous: Option<Vec<f64>>,
    /// Every V so far; the thresholds look at the last hundred.
    all_v: Vec<f64>,
}

/// What one update must say.
#[derive(Debug)]
pub struct Figures {
    /// By their names in a report.
    pub named: [(&'static str, f64); 8],
    pub void_active: bool,
    /// How far V was from the threshold: where it is next to nothing, either answer is right.
    pub void_margin: f64,
}

impl Twin {
    pub fn new() -> Self {
        Self {
            e: 0.5,
            i: 0.9,
            s: 0.5,
            v: 0.0,
            lambda1: 0.15,
            integral: 0.0,
            previous: None,
            all_v: Vec::new(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    pub fn update(&mut self, update: &Update) -> Figures {
        let parameters: Option<Vec<f64>> = update.parameters.as_ref().map(|given| {
            let given = given.iter().map(|p| if p.is_finite() { *p } else { 0.0 });
            given.chain(std::iter::repeat(0.0)).take(128).collect()
        });
        let (drift2, coherence) = match (&self.previous, &parameters) {
            (None, _) | (_, None) => (0.0, 1.0),
            (Some(previous), Some(parameters)) => {
                let sum: f64 = parameters.iter().zip(previous).map(|(now, then)| (now - then).powi(2)).sum();
                let drift2 = sum / 128.0;
                if drift2.is_finite() { (drift2, (-drift2.sqrt() / 0.1).exp()) } else { (0.0, 0.5) }
            }
        };
        self.previous = parameters.or(self.previous.take());

        let Self { e, i, s, v, lambda1, .. } = *self;
        let c = 0.5 * (1.0 + v.tanh());
        let unit = |x: f64, fallback: f64| if x.is_nan() { fallback } else { x.clamp(0.0, 1.0) };
        self.e = unit(e + 0.1 * (0.5 * (i - e) - 0.1 * e * s + lambda1 * e * drift2), 0.5);
        self.i = unit(i + 0.1 * (-0.1 * s + 0.05 * i * c - 0.3 * i * (1.0 - i)), 0.9);
        self.s = unit(s + 0.1 * (-0.8 * s + lambda1 * drift2 - 0.05 * c), 0.5);
        self.v = (v + 0.1 * (0.3 * (e - i) - 0.4 * v)).clamp(-1.0, 1.0);
        self.all_v.push(self.v);

        let window = &self.all_v[self.all_v.len().saturating_sub(100)..];
        let n = window.len() as f64;
        let threshold = if window.len() < 10 {
            0.15
        } else {
            let mean = window.iter().map(|v| v.abs()).sum::<f64>() / n;
            let variance = window.iter().map(|v| (v.abs() - mean).powi(2)).sum::<f64>() / n;
            (mean + 2.0 * variance.sqrt()).clamp(0.10, 0.30)
        };
        let updates = self.all_v.len();
        if updates.is_multiple_of(10) {
            let over = window.iter().filter(|v| v.abs() > threshold).count() as f64;
            let void_error = 0.02 - over / n;
            let coherence_error = coherence - 0.85;
            self.integral = (self.integral + void_error * 0.1).clamp(-5.0, 5.0);
            let proportional = 0.5 * (0.7 * void_error + 0.3 * coherence_error);
            self.lambda1 = (lambda1 + proportional + 0.05 * self.integral).clamp(0.05, 0.20);
        }
        let void_margin = self.v.abs() - threshold;
        Figures {
            named: [
                ("E", self.e),
                ("I", self.i),
                ("S", self.s),
                ("V", self.v),
                ("coherence", coherence),
                ("lambda1", self.lambda1),
                ("risk_score", risk(update, coherence)),
                ("time", 0.1 * updates as f64),
            ],
            void_active: void_margin > 0.0,
            void_margin: void_margin.abs(),
        }
    }
}

fn risk(update: &Update, coherence: f64) -> f64 {
    const FLAGS: [&str; 10] = [
        "ignore previous",
        "system prompt",
        "jailbreak",
        "sudo",
        "rm -rf",
        "drop table",
        "script>",
        "violate",
        "bypass",
        "override safety",
    ];
    let text = update.response_text.to_lowercase();
    let hits =
        f64::from(u8::try_from(FLAGS.iter().filter(|flag| text.contains(**flag)).count()).expect("ten"));
    let length = f64::from(u32::try_from(update.response_text.chars().count()).expect("a few thousand"));
    let complexity = if update.complexity.is_nan() { 0.5 } else { update.complexity.clamp(0.0, 1.0) };
    let risk = 0.2 / (1.0 + (-(length - 2_000.0) / 500.0).exp())
        + 0.3 * complexity
        + 0.3 * (1.0 - coherence)
        + 0.2 * (hits / 3.0).min(1.0);
    risk.clamp(0.0, 1.0)
}
