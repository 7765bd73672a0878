//! `update`: one governance update from the command line.

use govstore::{HealthThresholds, Update, explain};
use govstore_mcp::wire::{Metrics, UpdateReport};

use super::facts::Facts;
use super::figures::{self, count};
use super::output::complain;
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, paint, risk, text_argument};

/// Make one update of an agent
///
/// Runs one governance cycle, commits it and prints the decision, the agent's health and its figures. An
/// agent that is not known yet is created. Numbers may be `nan`, `inf` and `-inf`: they are made safe.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore update writer --text \"All tests pass.\" --complexity 0.2
  govstore update writer --parameters 0.5,0.4,-0.1 --text - < answer.txt
  govstore --json update writer --complexity nan | jq .decision.action

Exit codes:
  0  the update was made
  1  it was not
  4  it was not, since the database or the agent was locked for too long
  5  in doubt: the device failed, and the update may have been kept or not; see `govstore history`
     before you make it again")]
pub struct Args {
    /// The agent's id: 1 to 128 characters
    agent: String,

    /// What the agent said; `-` reads it from standard input
    ///
    /// It is measured (length, telltale phrases) and not stored.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    text: String,

    /// How complex the task was, from 0 to 1; anything else is made to fit
    #[arg(long, value_name = "NUMBER", default_value = "0.5", allow_hyphen_values = true, value_parser = number)]
    complexity: f64,

    /// The agent's parameter vector, with commas; up to 128 numbers count
    ///
    /// Left out: as before, so that nothing has moved.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', allow_hyphen_values = true, value_parser = number)]
    parameters: Option<Vec<f64>>,

    /// Ethical drift, with commas; accepted for older clients and without effect
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', allow_hyphen_values = true, value_parser = number)]
    drift: Vec<f64>,

    /// A name of yours for this update, so that it can be made again if its answer was lost
    ///
    /// The same key and the same input give the first answer again, and write nothing.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| "not a number".to_owned())
}

pub fn run(args: Args, session: &mut Session) -> Outcome {
    let mut update = Update::new()
        .ethical_drift(args.drift)
        .response_text(text_argument::resolve(args.text)?)
        .complexity(args.complexity);
    update.parameters = args.parameters;
    update.key = args.key;
    let store = session.open_or_create()?;
    let report: UpdateReport = store.process_update(&args.agent, &update)?.into();
    print(&report, &store.settings()?.health_thresholds(), session)?;
    Ok(Exit::DONE)
}

fn print(report: &UpdateReport, thresholds: &HealthThresholds, session: &mut Session) -> Result<(), Failure> {
    if let Some(warning) = report.warning {
        complain(&format!("warning: {warning}"));
    }
    if session.out.json() {
        session.out.success(report)?;
        return Ok(());
    }
    let (metrics, sampling) = (&report.metrics, &report.sampling_params);
    let human = if report.decision.require_human { "; a person should look" } else { "" };
    let mut facts = Facts::default();
    facts
        .add(
            "decision",
            format!(
                "{}: {}{human}",
                paint::action(report.decision.action),
                explain::decision(metrics.risk_score, metrics.coherence, metrics.void_active, thresholds)
            ),
        )
        .add(
            "health",
            format!("{}: {}", paint::health(metrics.health_status), why_health(metrics, thresholds)),
        )
        .add("risk", risk::parts(metrics.risk_score, &metrics.risk_parts, &metrics.patterns, thresholds))
        .add("coherence", figures::coherence(metrics.coherence, thresholds))
        .add(
            "state",
            format!(
                "E {:.4}  I {:.4}  S {:.4}  V {:.4}{}",
                metrics.energy,
                metrics.integrity,
                metrics.entropy,
                metrics.void_integral,
                if metrics.void_active { "  void active" } else { "" }
            ),
        )
        .add(
            "sampling",
            format!(
                "temperature {:.3}, top_p {:.3}, max_tokens {}, λ₁ {:.4}",
                sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.lambda1
            ),
        )
        .add("updates", updates(metrics.updates, metrics.total_updates));
    if report.repeated {
        facts.add("repeated", "made before under this key; nothing was written now");
    }
    session.out.say(paint::strong(&visible(&report.agent_id)))?;
    session.out.say(facts)?;
    Ok(())
}

/// What the health rests on.
pub fn why_health(metrics: &Metrics, thresholds: &HealthThresholds) -> String {
    explain::health(Some(metrics.risk_score), Some(metrics.coherence), metrics.void_active, thresholds)
}

/// How many updates there were, and how many in all where a reset lies between.
pub fn updates(since_reset: i64, total: i64) -> String {
    if since_reset == total {
        total.to_string()
    } else {
        format!("{since_reset} since the reset, {} in all", count(total, "update"))
    }
}
