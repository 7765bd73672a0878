//! The servers of each configuration, and what is amiss.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::doctor::running::processes;
use crate::doctor::survey::{FileFindings, Keeper, ServerFindings, findings};

use super::super::figures::count;
use super::super::table::{Column, table};
use super::super::visible::visible;
use super::super::{Failure, Outcome, Session, paint};
use super::{Args, NOTHING_FOUND, Read, conclude, own};

#[derive(Serialize)]
struct Listing<'a> {
    success: bool,
    /// What is amiss.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    files: &'a [FileFindings],
}

pub fn list(args: &Args, files: &[Read], session: &mut Session) -> Outcome {
    let own = own()?;
    let processes = processes()
        .map_err(|e| Failure::Input { what: "the list of processes".to_owned(), reason: e.to_string() })?;
    let mut found: Vec<FileFindings> =
        files.iter().map(|(place, found)| findings(place, found, own.path(), &processes)).collect();
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
    } else {
        // Settings of an editor that knows of no servers are nothing to tell, unless somebody asks for that file.
        let is_told = |file: &&FileFindings| !args.files.is_empty() || !file.is_empty();
        let told: Vec<String> = found.iter().filter(is_told).map(listing).collect();
        if told.is_empty() {
            session.out.say(NOTHING_FOUND)?;
        } else {
            session.out.say(told.join("\n"))?;
            if amiss.is_none() {
                session.out.say("all is well")?;
            }
        }
    }
    conclude(amiss.as_deref(), session)
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
