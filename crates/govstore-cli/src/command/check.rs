//! `check`: whether the database is sound.

use govstore::{Check, CheckStatus};
use serde::Serialize;

use super::figures::count;
use super::output::complain;
use super::visible::visible;
use super::{Exit, Outcome, Session, paint};

/// Check the database: integrity, schema, history, log, file system, permissions
///
/// One line for each check, and a summary. Nothing is repaired, and servers may run meanwhile. SQLite keeps no
/// checksums, so a byte that was flipped inside a figure or a text is not found.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore check
  govstore --json check | jq -r '.checks[] | select(.status != \"ok\") | .detail'

Exit codes:
  0  sound; there may be warnings
  1  a check failed, or the database can't even be opened")]
pub struct Args {}

#[derive(Serialize)]
struct Report<'a> {
    success: bool,
    /// Which checks failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    checks: &'a [Check],
}

pub fn run(_args: &Args, session: &mut Session) -> Outcome {
    let checks = session.open()?.check();
    let number = |status| checks.iter().filter(|check| check.status == status).count();
    let (warnings, failures) = (number(CheckStatus::Warning), number(CheckStatus::Failed));
    let error = failed(&checks);
    let success = error.is_none();
    if session.out.json() {
        session.out.document(&Report { success, error: error.clone(), checks: &checks })?;
    } else {
        let widest = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for Check { name, status, detail, .. } in &checks {
            let gap = " ".repeat("warning".len() - status.as_str().len());
            let (status, detail) = (paint::check(*status), visible(detail));
            session.out.say(format!("{status}{gap}  {name:widest$}  {detail}"))?;
        }
        let checked = count(checks.len(), "check");
        session.out.say(match (failures, warnings) {
            (0, 0) => format!("{checked}: all is well"),
            (0, _) => format!("{checked}: {}", count(warnings, "warning")),
            (_, 0) => format!("{checked}: {failures} failed"),
            _ => format!("{checked}: {failures} failed, {}", count(warnings, "warning")),
        })?;
    }
    if let Some(sentence) = error {
        session.out.flush()?; // stderr is to have the last word
        complain(&sentence);
    }
    Ok(if success { Exit::DONE } else { Exit::FAILED })
}

/// Which checks failed, in a sentence.
fn failed(checks: &[Check]) -> Option<String> {
    let failed = checks.iter().filter(|check| check.status == CheckStatus::Failed);
    let names: Vec<&str> = failed.map(|check| check.name).collect();
    (!names.is_empty()).then(|| format!("{} failed: {}", count(names.len(), "check"), names.join(", ")))
}
