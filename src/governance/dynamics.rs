//! The E/I/S/V dynamics, parameter coherence, void detection and the λ₁ controller.

/// Length of the parameter vector: longer ones are cut, shorter ones end in zeros.
pub const PARAMETER_COUNT: usize = 128;

/// How many V values the void threshold and the controller look at.
pub const VOID_WINDOW: usize = 100;

// UNITARES v4.1, as v1.0.3 configured it.
const ALPHA: f64 = 0.5; // E follows I
const K: f64 = 0.1; // S wears I down
const MU: f64 = 0.8; // S decays
const DELTA: f64 = 0.4; // V decays
const KAPPA: f64 = 0.3; // E − I feeds V
const GAMMA_I: f64 = 0.3; // I regulates itself
const BETA_E: f64 = 0.1; // S wears E down
const BETA_I: f64 = 0.05; // coherence feeds I
const LAMBDA2: f64 = 0.05; // coherence calms S
const C_MAX: f64 = 1.0;
const DT: f64 = 0.1;

const INITIAL_E: f64 = 0.5;
const INITIAL_I: f64 = 0.9;
const INITIAL_S: f64 = 0.5;
const INITIAL_LAMBDA1: f64 = 0.15;
const INITIAL_COHERENCE: f64 = 1.0;

/// Distance between parameter vectors at which coherence has fallen to 1/e.
const COHERENCE_SCALE: f64 = 0.1;
/// Coherence where the distance is too large for a number.
const OVERFLOW_COHERENCE: f64 = 0.5;

const VOID_MIN_SAMPLES: usize = 10;
const VOID_THRESHOLD_INITIAL: f64 = 0.15;
/// Between these two lies the threshold that |V| is compared with; it follows the last [`VOID_WINDOW`] values.
pub const VOID_THRESHOLD_RANGE: (f64, f64) = (0.10, 0.30);

// The PI controller of λ₁.
const CONTROL_EVERY: i64 = 10;
const TARGET_VOID_FREQUENCY: f64 = 0.02;
const TARGET_COHERENCE: f64 = 0.85;
const K_P: f64 = 0.5;
const K_I: f64 = 0.05;
const VOID_WEIGHT: f64 = 0.7;
const COHERENCE_WEIGHT: f64 = 0.3;
const INTEGRAL_MAX: f64 = 5.0;
/// Between these two the controller keeps λ₁.
pub const LAMBDA1_RANGE: (f64, f64) = (0.05, 0.20);

/// What the dynamics remember of an agent from one update to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// E, 0 to 1.
    pub energy: f64,
    /// I, information integrity, 0 to 1.
    pub integrity: f64,
    /// S, 0 to 1.
    pub entropy: f64,
    /// V, the integrated imbalance of E and I, −1 to 1.
    pub void_integral: f64,
    /// Coherence of the newest parameters with those before; `None` before the first update.
    pub measured_coherence: Option<f64>,
    /// λ₁, the ethical coupling, 0.05 to 0.20.
    pub lambda1: f64,
    /// Integral term of the λ₁ controller.
    pub pi_integral: f64,
    /// Simulated time since the start or the last reset.
    pub elapsed: f64,
    /// Updates since the start or the last reset.
    pub update_count: i64,
    /// The newest parameter vector; `None` before the first one.
    pub parameters: Option<Vec<f64>>,
    /// The last [`VOID_WINDOW`] values of V, oldest first.
    pub recent_void: Vec<f64>,
}

impl Default for State {
    /// A new agent.
    fn default() -> Self {
        Self {
            energy: INITIAL_E,
            integrity: INITIAL_I,
            entropy: INITIAL_S,
            void_integral: 0.0,
            measured_coherence: None,
            lambda1: INITIAL_LAMBDA1,
            pi_integral: 0.0,
            elapsed: 0.0,
            update_count: 0,
            parameters: None,
            recent_void: Vec::new(),
        }
    }
}

impl State {
    /// Coherence; 1 before the first update.
    #[must_use]
    pub fn coherence(&self) -> f64 {
        self.measured_coherence.unwrap_or(INITIAL_COHERENCE)
    }
}

/// Advances `state` by one time step and says whether the void state is active. Parameters that are left out are those
/// of before: nothing has moved.
pub(super) fn advance(state: &mut State, parameters: Option<&[f64]>) -> bool {
    let parameters = parameters.map(safe_parameters);
    let Drift { squared, coherence } = drift(state.parameters.as_deref(), parameters.as_deref());
    euler_step(state, squared);

    state.measured_coherence = Some(coherence);
    if parameters.is_some() {
        state.parameters = parameters;
    }
    state.update_count = state.update_count.saturating_add(1); // a row can hold any number
    state.elapsed += DT;
    if state.recent_void.len() == VOID_WINDOW {
        state.recent_void.remove(0);
    }
    state.recent_void.push(state.void_integral);

    if state.update_count % CONTROL_EVERY == 0 {
        control_lambda1(state);
    }
    void_active(&state.recent_void)
}

/// Whether the newest V of a window (the last [`VOID_WINDOW`] values, oldest first) is over the threshold that
/// this window sets.
pub(crate) fn void_active(recent_void: &[f64]) -> bool {
    recent_void.last().is_some_and(|v| v.abs() > void_threshold(recent_void))
}

/// Exactly [`PARAMETER_COUNT`] finite numbers.
fn safe_parameters(parameters: &[f64]) -> Vec<f64> {
    let mut safe: Vec<f64> =
        parameters.iter().take(PARAMETER_COUNT).map(|p| if p.is_finite() { *p } else { 0.0 }).collect();
    safe.resize(PARAMETER_COUNT, 0.0);
    safe
}

struct Drift {
    squared: f64,
    coherence: f64,
}

/// How far the parameters moved since the last update.
fn drift(previous: Option<&[f64]>, parameters: Option<&[f64]>) -> Drift {
    let (Some(previous), Some(parameters)) = (previous, parameters) else {
        return Drift { squared: 0.0, coherence: INITIAL_COHERENCE };
    };
    let sum: f64 = parameters.iter().zip(previous).map(|(now, before)| (now - before).powi(2)).sum();
    #[expect(clippy::cast_precision_loss, reason = "128 is exact")]
    let squared = sum / PARAMETER_COUNT as f64;
    if squared.is_finite() {
        Drift { squared, coherence: (-squared.sqrt() / COHERENCE_SCALE).exp() }
    } else {
        Drift { squared: 0.0, coherence: OVERFLOW_COHERENCE }
    }
}

#[expect(clippy::many_single_char_names, reason = "the symbols of the equations")]
fn euler_step(state: &mut State, drift_squared: f64) {
    let (e, i, s, v) = (state.energy, state.integrity, state.entropy, state.void_integral);
    let c = C_MAX / 2.0 * (1.0 + v.tanh());

    let de = ALPHA * (i - e) - BETA_E * e * s + state.lambda1 * e * drift_squared;
    let di = -K * s + BETA_I * i * c - GAMMA_I * i * (1.0 - i);
    let ds = -MU * s + state.lambda1 * drift_squared - LAMBDA2 * c;
    let dv = KAPPA * (e - i) - DELTA * v;

    state.energy = unit_or(e + DT * de, INITIAL_E);
    state.integrity = unit_or(i + DT * di, INITIAL_I);
    state.entropy = unit_or(s + DT * ds, INITIAL_S);
    let next_v = v + DT * dv;
    state.void_integral = if next_v.is_nan() { 0.0 } else { next_v.clamp(-1.0, 1.0) };
}

/// `x` within 0 to 1, infinities included; `fallback` for NaN.
pub(super) fn unit_or(x: f64, fallback: f64) -> f64 {
    if x.is_nan() { fallback } else { x.clamp(0.0, 1.0) }
}

/// The |V| over which the void state is active: mean + 2σ of the window, within bounds.
fn void_threshold(recent_void: &[f64]) -> f64 {
    if recent_void.len() < VOID_MIN_SAMPLES {
        return VOID_THRESHOLD_INITIAL;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 100")]
    let n = recent_void.len() as f64;
    let mean = recent_void.iter().map(|v| v.abs()).sum::<f64>() / n;
    let variance = recent_void.iter().map(|v| (v.abs() - mean).powi(2)).sum::<f64>() / n;
    (mean + 2.0 * variance.sqrt()).clamp(VOID_THRESHOLD_RANGE.0, VOID_THRESHOLD_RANGE.1)
}

/// One step of the PI controller that holds void frequency and coherence at their targets.
fn control_lambda1(state: &mut State) {
    let threshold = void_threshold(&state.recent_void);
    let over = state.recent_void.iter().filter(|v| v.abs() > threshold).count();
    #[expect(clippy::cast_precision_loss, reason = "at most 100")]
    let frequency = if state.recent_void.len() < VOID_MIN_SAMPLES {
        0.0
    } else {
        over as f64 / state.recent_void.len() as f64
    };
    let void_error = TARGET_VOID_FREQUENCY - frequency;
    let coherence_error = state.coherence() - TARGET_COHERENCE;
    state.pi_integral = (state.pi_integral + void_error * DT).clamp(-INTEGRAL_MAX, INTEGRAL_MAX);
    let proportional = K_P * (VOID_WEIGHT * void_error + COHERENCE_WEIGHT * coherence_error);
    state.lambda1 =
        (state.lambda1 + proportional + K_I * state.pi_integral).clamp(LAMBDA1_RANGE.0, LAMBDA1_RANGE.1);
}
