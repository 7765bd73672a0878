//! `doctor`: the MCP servers that clients are configured to start, and a keeper for them.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::ValueHint;
use serde::Serialize;

use crate::doctor::difference::{Hunk, difference};
use crate::doctor::own::Own;
use crate::doctor::places::{self, Client, Place};
use crate::doctor::plan::{Change, Outcome as Planned, Plan, Planned as PlannedServer, plan};
use crate::doctor::rewrite::replace;
use crate::doctor::running::processes;
use crate::doctor::survey::{Configuration, FileFindings, Keeper, ServerFindings, configuration, findings};

use super::figures::count;
use super::output::complain;
use super::table::{Column, table};
use super::visible::visible;
use super::{Exit, Failure, Outcome, Session, paint};

/// Find the MCP servers of your clients, and give them a keeper
///
/// Reads the configurations of Claude Desktop, Claude Code, Cursor, VS Code, Codex and Zed where they lie, those of the
/// current folder included, and lists the servers that a client starts: who ends each when its client is gone, how many
/// run now without a keeper, and how many of these are orphans, whose client is gone. Nothing is changed unless --wrap or
/// --unwrap says so. No database is needed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Keepers:
  none    nobody: the server may stay when its client is gone
  run     `govstore run` in front of it
  itself  it is `govstore serve`, which ends with its client

Examples:
  govstore doctor
  govstore doctor --wrap --client claude-code --server files
  govstore doctor --unwrap --yes
  govstore --json doctor | jq -r '.files[].servers[] | select(.keeper == \"none\") | .name'

Exit codes:
  0  nothing is amiss; with --wrap or --unwrap, what was asked for is so
  1  a server has no keeper, a process runs without one, or a configuration can't be read or changed
  2  the command line is not right, or --yes is needed")]
pub struct Args {
    /// Look at these files alone; of any client, JSON or TOML
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Put `govstore run --` in front of the servers' commands
    ///
    /// The changed lines are shown first, and a copy of each file is kept beside it. All else in a file stays as it is:
    /// comments, order and spacing.
    #[arg(long, conflicts_with = "unwrap")]
    wrap: bool,

    /// Take `govstore run --` away again
    #[arg(long)]
    unwrap: bool,

    /// The configurations of this client alone
    #[arg(long, value_name = "NAME")]
    client: Option<Client>,

    /// This server alone; more than one may be given
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,

    /// Don't ask before a configuration is changed
    #[arg(long, short)]
    yes: bool,
}

/// A file, and what is in it or why that can't be said.
type Read = (Place, Result<Configuration, String>);

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let named = args.files.iter().map(|file| places::named(file));
    let places = if args.files.is_empty() { places::present() } else { named.collect() };
    let of_client = |place: &Place| args.client.is_none_or(|client| client == place.client);
    let files: Vec<Read> = places
        .into_iter()
        .filter(of_client)
        .map(|place| {
            let found = configuration(&place);
            (place, found)
        })
        .collect();
    for name in &args.servers {
        let mut servers =
            files.iter().filter_map(|(_, found)| found.as_ref().ok()).flat_map(|found| &found.servers);
        if !servers.any(|server| server.name == *name) {
            return Err(Failure::Usage(format!(
                "no server is called {name:?}; `govstore doctor` lists them"
            )));
        }
    }
    match (args.wrap, args.unwrap) {
        (true, _) => change(args, Change::Wrap, &files, session),
        (_, true) => change(args, Change::Unwrap, &files, session),
        _ => list(args, &files, session),
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    success: bool,
    /// What is amiss.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    files: &'a [FileFindings],
}

fn list(args: &Args, files: &[Read], session: &mut Session) -> Outcome {
    let own = Own::find().map(|own| own.path().to_owned()).unwrap_or_default();
    let processes = processes()
        .map_err(|e| Failure::Input { what: "the list of processes".to_owned(), reason: e.to_string() })?;
    let mut found: Vec<FileFindings> =
        files.iter().map(|(place, found)| findings(place, found, &own, &processes)).collect();
    if !args.servers.is_empty() {
        for file in &mut found {
            file.servers.retain(|server| args.servers.contains(&server.name));
        }
    }
    let amiss = amiss(&found);
    if session.out.json() {
        session.out.document(&Listing {
            success: amiss.is_none(),
            error: amiss.as_deref(),
            files: &found,
        })?;
    } else if found.is_empty() {
        session.out.say("no configuration of a client was found; name one: `govstore doctor FILE`")?;
    } else {
        for file in &found {
            session.out.say(listing(file))?;
        }
        if amiss.is_none() {
            session.out.say("all is well")?;
        }
    }
    conclude(amiss.as_deref(), session)
}

/// Says on stderr what is amiss, and exits accordingly.
fn conclude(amiss: Option<&str>, session: &mut Session) -> Outcome {
    let Some(sentence) = amiss else { return Ok(Exit::DONE) };
    session.out.flush()?; // stderr is to have the last word
    complain(sentence);
    Ok(Exit::FAILED)
}

/// What somebody should see to, in a sentence.
fn amiss(files: &[FileFindings]) -> Option<String> {
    let servers = || files.iter().flat_map(|file| &file.servers);
    let number = |keeper| servers().filter(|server| server.keeper == keeper).count();
    let pids = |of: fn(&ServerFindings) -> &Vec<u32>| servers().flat_map(of).collect::<BTreeSet<_>>().len();
    let (unkept, orphans) = (pids(|server| &server.unkept_pids), pids(|server| &server.orphan_pids));
    let mut parts = Vec::new();
    match number(Keeper::None) {
        0 => {}
        1 => parts.push("1 server has no keeper; `govstore doctor --wrap` gives it one".to_owned()),
        many => parts.push(format!("{many} servers have no keeper; `govstore doctor --wrap` gives them one")),
    }
    if unkept > 0 {
        let verb = if unkept == 1 { "runs" } else { "run" };
        parts.push(format!("{} {verb} without one, {}", count(unkept, "process"), count(orphans, "orphan")));
    }
    match number(Keeper::Unknown) {
        0 => {}
        broken => parts.push(format!("{} can't be made out", count(broken, "server"))),
    }
    parts.extend(files.iter().filter_map(|file| file.error.clone()));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A file with its table.
fn listing(file: &FileFindings) -> String {
    let mut parts = vec![format!("{}  {}", paint::strong(file.client.title()), visible(&file.path))];
    if let Some(error) = &file.error {
        parts.push(paint::bad(&visible(error)));
    } else if file.servers.is_empty() {
        parts.push(paint::pale("no servers that it starts"));
    } else {
        let columns = [
            Column::Text("SERVER"),
            Column::Wrapped("COMMAND"),
            Column::Text("KEEPER"),
            Column::Figure("UNKEPT"),
            Column::Figure("ORPHANS"),
        ];
        parts.push(table(columns, file.servers.iter().map(row)));
    }
    for server in &file.servers {
        if let Some(problem) = &server.problem {
            parts.push(format!("{}: {}", visible(&server.name), visible(problem)));
        }
        if !server.unkept_pids.is_empty() {
            let pids: Vec<String> = server.unkept_pids.iter().map(ToString::to_string).collect();
            parts.push(format!("{} runs without a keeper: PID {}", visible(&server.name), pids.join(", ")));
        }
    }
    if file.remote > 0 {
        parts.push(paint::pale(&format!("{} by URL", count(file.remote, "server"))));
    }
    if file.by_extension > 0 {
        parts.push(paint::pale(&format!("{} of an extension", count(file.by_extension, "server"))));
    }
    parts.join("\n") + "\n"
}

fn row(server: &ServerFindings) -> [String; 5] {
    let project = server.project.as_ref().map(|project| format!(" in {}", visible(project)));
    let keeper = match server.keeper {
        Keeper::None => paint::bad("none"),
        Keeper::Run => "run".to_owned(),
        Keeper::Itself => "itself".to_owned(),
        Keeper::Unknown => paint::bad("unknown"),
    };
    let figure = |number: usize| if number == 0 { "0".to_owned() } else { paint::bad(&number.to_string()) };
    [
        format!("{}{}", visible(&server.name), paint::pale(&project.unwrap_or_default())),
        visible(&server.argv.join(" ")).into_owned(),
        keeper,
        figure(server.unkept_pids.len()),
        figure(server.orphan_pids.len()),
    ]
}

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
    servers: &'a [PlannedServer],
    /// The changed lines.
    difference: String,
}

/// A file, and what is to become of it or why nothing can.
type Intended<'f> = (&'f Place, &'f str, Result<Plan, String>);

fn change(args: &Args, change: Change, files: &[Read], session: &mut Session) -> Outcome {
    let own =
        Own::find().map_err(|reason| Failure::Input { what: "this program's place".to_owned(), reason })?;
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
            if let Ok(plan) = planned {
                session.out.say(intention(place, text, plan))?;
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
        let refused = servers.iter().filter(|server| server.outcome == Planned::Refused);
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
        session.out.say("no configuration of a client was found; name one: `govstore doctor FILE`")?;
    } else {
        session.out.say("nothing had to be changed")?;
    }
    conclude(sentence.as_deref(), session)
}

/// What is to become of a file: its changed lines, and the servers that stay as they are.
fn intention(place: &Place, text: &str, plan: &Plan) -> String {
    let path = place.path.to_string_lossy();
    let mut shown_file = String::new();
    for server in &plan.servers {
        if let Some(reason) = &server.reason {
            let name = visible(&server.name).into_owned();
            shown_file += &format!("{}: {name} stays as it is: {}\n", visible(&path), visible(reason));
        }
    }
    if !plan.edits.is_empty() {
        shown_file += &format!("{}\n", paint::strong(&format!("--- {0}\n+++ {0}", visible(&path))));
        for hunk in difference(text, &plan.edits) {
            shown_file += &shown(
                &hunk,
                |line| paint::bad(&visible_line(line)),
                |line| paint::good(&visible_line(line)),
            );
        }
    }
    shown_file.trim_end_matches('\n').to_owned()
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
