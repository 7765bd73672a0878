//! `--wrap` and `--unwrap`: what is to change is shown, agreed to, written.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::doctor::difference::{Hunk, difference};
use crate::doctor::places::{Client, Place};
use crate::doctor::plan::{self, Change, Plan, ServerPlan, plan};
use crate::doctor::rewrite::replace;

use super::super::visible::visible;
use super::super::{Exit, Failure, Outcome, Session, paint};
use super::{Args, NOTHING_FOUND, Read, conclude, own};

#[derive(Serialize)]
struct Changes<'a> {
    success: bool,
    /// What was not done, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    files: Vec<FileChange<'a>>,
}

#[derive(Serialize)]
struct FileChange<'a> {
    client: Client,
    path: String,
    written: bool,
    /// Where the copy of what was there before is.
    copy: Option<String>,
    error: Option<String>,
    servers: &'a [ServerPlan],
    /// The changed lines.
    difference: String,
}

/// A file, and what is to become of it or why nothing can.
type Intended<'f> = (&'f Place, &'f str, Result<Plan, String>);

pub fn change(args: &Args, change: Change, files: &[Read], session: &mut Session) -> Outcome {
    let own = own()?;
    if let (Change::Wrap, Some(reason)) = (change, own.objection()) {
        return Err(Failure::Written { what: "the configurations".to_owned(), reason: reason.to_owned() });
    }
    let chosen = |name: &String| args.servers.is_empty() || args.servers.contains(name);
    let intended: Vec<Intended> = files
        .iter()
        .map(|(place, found)| match found {
            Err(reason) => (place, "", Err(reason.clone())),
            Ok(found) => {
                let planned =
                    plan(found, place.format, change, &own, place.is_shared, |server| chosen(&server.name));
                let planned = planned.map_err(|reason| format!("{}: {reason}", place.path.display()));
                (place, found.text.as_str(), planned)
            }
        })
        .collect();
    let is_any =
        intended.iter().any(|(_, _, planned)| planned.as_ref().is_ok_and(|plan| !plan.edits.is_empty()));
    if !session.out.json() {
        for (place, text, planned) in &intended {
            let Ok(plan) = planned else { continue };
            let intention = intention(place, text, plan);
            if !intention.is_empty() {
                session.out.say(intention)?;
            }
        }
        session.out.flush()?;
    }
    if is_any && !args.yes && !is_agreed(session.out.json())? {
        session.out.say("nothing was changed")?;
        return Ok(Exit::FAILED);
    }
    write(&intended, session)
}

/// Writes what is intended, and says so.
fn write(intended: &[Intended], session: &mut Session) -> Outcome {
    let (mut changes, mut failures, mut written) = (Vec::new(), Vec::new(), 0);
    for (place, text, planned) in intended {
        let (mut copy, mut error) = (None, None);
        match planned {
            Ok(plan) if !plan.edits.is_empty() => match replace(&place.path, text, &plan.new_text) {
                Ok(kept) => copy = Some(kept.display().to_string()),
                Err(e) => error = Some(e.to_string()),
            },
            Ok(_) => {}
            Err(reason) => error = Some(reason.clone()),
        }
        if let (Some(copy), false) = (&copy, session.out.json()) {
            let path = visible(&place.path.to_string_lossy()).into_owned();
            session.out.say(format!("{path} is written; what it was is in {}", visible(copy)))?;
        }
        written += usize::from(copy.is_some());
        failures.extend(error.clone());
        let plan = planned.as_ref().ok();
        let servers = plan.map_or(&[][..], |plan| plan.servers.as_slice());
        let refused = servers.iter().filter(|server| server.outcome == plan::Outcome::Refused);
        failures.extend(refused.map(|server| {
            format!(
                "{} in {}: {}",
                server.name,
                place.path.display(),
                server.reason.as_deref().unwrap_or_default()
            )
        }));
        let hunks = plan.map_or_else(Vec::new, |plan| difference(text, &plan.edits));
        changes.push(FileChange {
            client: place.client,
            path: place.path.display().to_string(),
            written: copy.is_some(),
            copy,
            error,
            servers,
            difference: hunks.iter().map(|hunk| shown(hunk, str::to_owned, str::to_owned)).collect(),
        });
    }
    let sentence = (!failures.is_empty()).then(|| failures.join("; "));
    if session.out.json() {
        let error = sentence.as_deref();
        session.out.document(&Changes { success: error.is_none(), error, files: changes })?;
    } else if written > 0 {
        session.out.say("start the clients again: they read this when they start")?;
    } else if changes.is_empty() {
        session.out.say(NOTHING_FOUND)?;
    } else {
        session.out.say("nothing had to be changed")?;
    }
    conclude(sentence.as_deref(), session)
}

/// What is to become of a file: its changed lines, and the servers that stay as they are.
fn intention(place: &Place, text: &str, plan: &Plan) -> String {
    let path = place.path.to_string_lossy();
    let mut lines = Vec::new();
    for server in &plan.servers {
        if let Some(reason) = &server.reason {
            let name = visible(&server.name).into_owned();
            lines.push(format!("{}: {name} stays as it is: {}", visible(&path), visible(reason)));
        }
    }
    if !plan.edits.is_empty() {
        lines.push(paint::strong(&format!("--- {0}\n+++ {0}", visible(&path))));
        let painted = |hunk: &Hunk| {
            let hunk =
                shown(hunk, |line| paint::bad(&visible_line(line)), |line| paint::good(&visible_line(line)));
            hunk.trim_end().to_owned()
        };
        lines.extend(difference(text, &plan.edits).iter().map(painted));
    }
    lines.join("\n")
}

/// A hunk as `diff -U0` prints it.
fn shown(hunk: &Hunk, removed: fn(&str) -> String, added: fn(&str) -> String) -> String {
    let range = |first: usize, lines: usize| match lines {
        1 => first.to_string(),
        0 => format!("{},0", first - 1), // the line before
        _ => format!("{first},{lines}"),
    };
    let (before, after) = (range(hunk.first.0, hunk.removed.len()), range(hunk.first.1, hunk.added.len()));
    let mut lines = format!("@@ -{before} +{after} @@\n");
    for line in &hunk.removed {
        lines += &(removed(&format!("-{line}")) + "\n");
    }
    for line in &hunk.added {
        lines += &(added(&format!("+{line}")) + "\n");
    }
    lines
}

/// A line of a file for a terminal, on which tabs stay tabs.
fn visible_line(line: &str) -> String {
    line.split('\t').map(visible).collect::<Vec<_>>().join("\t")
}

/// Asks whether to go on. Without somebody to ask it is a mistake in the command line.
fn is_agreed(json: bool) -> Result<bool, Failure> {
    if json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let sentence =
            "nothing was changed: there is no terminal to ask on; say --yes to change the configurations";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "Change this? [y/N] "); // a terminal that is gone gives no answer either
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|e| Failure::Input { what: "standard input".to_owned(), reason: e.to_string() })?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
