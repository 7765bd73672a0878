//! `config`: the settings of the database.

use std::io;

use clap::Subcommand;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use govstore::Settings;
use serde::Serialize;
use serde_json::Value;

use super::table::{Column, table};
use super::{Exit, Outcome, Session, paint};

/// Show or change the settings of the database
///
/// They are one row of the database, so they hold for every process that uses it. Running servers follow a
/// change without a restart.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all settings, or the value of one
    Get {
        /// The setting
        #[arg(value_parser = key())]
        key: Option<String>,
    },
    /// Change a setting
    Set {
        /// The setting
        #[arg(value_parser = key())]
        key: String,

        /// A number; `true` or `false`; `evict` or `refuse`; `none` for no limit
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
}

/// What each setting means.
const MEANINGS: [(&str, &str); Settings::KEYS.len()] = [
    ("risk_healthy_max", "risk below this is healthy"),
    ("risk_degraded_max", "risk below this is degraded, from it on critical"),
    ("coherence_healthy_min", "without a risk: coherence from this on is healthy"),
    ("coherence_degraded_min", "without a risk: coherence below this is critical"),
    ("coherence_overrides_risk", "coherence below coherence_degraded_min is critical whatever the risk"),
    ("heartbeat_interval_s", "seconds between two heartbeats of a process"),
    ("stale_after_s", "a heartbeat older than this many seconds makes a process suspect"),
    ("max_processes", "registered processes that are meant to be there at once"),
    (
        "limit_policy",
        "over max_processes: spare all that have a client, evict the unused, or refuse newcomers",
    ),
    ("terminate_grace_ms", "milliseconds between SIGTERM and SIGKILL"),
    ("lock_timeout_ms", "milliseconds to wait for a lock"),
    ("history_limit", "updates to keep for each agent when pruning; none keeps all"),
    (
        "history_max_age_days",
        "days after which pruning removes history, events and what was reaped; none keeps all",
    ),
    ("prune_automatically", "servers prune when they start and once a day"),
];

fn key() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(MEANINGS.map(|(key, meaning)| PossibleValue::new(key).help(meaning)))
}

#[derive(Serialize)]
struct All<'a> {
    settings: &'a Settings,
}

#[derive(Serialize)]
struct One<'a> {
    key: &'a str,
    value: &'a Value,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    match &args.action {
        Action::Get { key: None } => {
            let settings = session.open()?.settings()?;
            if session.out.json() {
                session.out.success(&All { settings: &settings })?;
            } else {
                session.out.say(listing(&fields(&settings)?))?;
            }
        }
        Action::Get { key: Some(key) } => {
            let settings = session.open()?.settings()?;
            let value = &fields(&settings)?[key];
            if session.out.json() {
                session.out.success(&One { key, value })?;
            } else {
                session.out.say(spelled(value))?;
            }
        }
        Action::Set { key, value } => {
            let settings = session.open_or_create()?.set_setting(key, value)?;
            let value = &fields(&settings)?[key];
            if session.out.json() {
                session.out.success(&One { key, value })?;
            } else {
                session.out.say(format!("{key} is {}", spelled(value)))?;
            }
        }
    }
    Ok(Exit::DONE)
}

/// The settings by their names.
fn fields(settings: &Settings) -> io::Result<Value> {
    Ok(serde_json::to_value(settings)?)
}

/// A value as `config set` takes it.
fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(word) => word.clone(),
        other => other.to_string(),
    }
}

fn listing(settings: &Value) -> String {
    let columns = [Column::Text("SETTING"), Column::Figure("VALUE"), Column::Wrapped("MEANING")];
    let rows = MEANINGS
        .iter()
        .map(|(key, meaning)| [(*key).to_owned(), spelled(&settings[key]), paint::pale(meaning)]);
    table(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_meaning() {
        assert_eq!(MEANINGS.map(|(key, _)| key), Settings::KEYS);
    }
}
