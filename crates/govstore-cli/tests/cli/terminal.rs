//! What a person sees: colours, widths, progress. `script` provides the terminal.

use std::process::Command;

use super::support::{Folder, GOVSTORE, Ran, available};

/// A shell line, in which `$g` is the binary, on a terminal of 80 columns. `None`, and a word about it, where there
/// is no `script`.
pub fn terminal(folder: &Folder, line: &str) -> Option<Command> {
    if !available("script", &["-qefc", "true", "/dev/null"]) {
        return None;
    }
    let mut command = Command::new("script");
    command.args(["-qefc", &format!("stty cols 80 rows 24; {line}"), "/dev/null"]);
    command.env("g", GOVSTORE).env("GOVSTORE_DB", folder.db()).env("TERM", "xterm-256color");
    command.env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    command.env_remove("CI"); // whose terminals are taken to show colours even where TERM says dumb
    Some(command)
}

/// Runs such a line; what appears on the terminal.
fn on_terminal(folder: &Folder, line: &str, environment: &[(&str, &str)]) -> Option<Ran> {
    let mut command = terminal(folder, line)?;
    command.envs(environment.iter().copied()).stdin(std::process::Stdio::null());
    Some(Ran::of(&mut command))
}

#[test]
fn colours_are_for_terminals_and_only_where_they_are_wanted() {
    let folder = Folder::with_writer();
    let Some(ran) = on_terminal(&folder, "$g agents", &[]) else { return };
    assert!(ran.stdout.contains("\u{1b}[32mhealthy\u{1b}["), "{ran:?}");
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let plain = on_terminal(&folder, "$g agents; $g agent writer; $g update writer", &[(name, value)]);
        let plain = plain.expect("script worked a moment ago");
        assert_eq!(plain.code, Some(0));
        assert!(!plain.stdout.contains('\u{1b}'), "{name}: {plain:?}");
    }
    let json = on_terminal(&folder, "$g --json agents", &[]).expect("script worked a moment ago");
    assert!(!json.stdout.contains('\u{1b}'), "{json:?}");
}

#[test]
fn what_the_database_holds_does_nothing_to_a_terminal() {
    let folder = Folder::with_writer();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}x";
    folder.run(&["note", "writer", hostile]).done();
    folder.run(&["pause", "writer", "--reason", hostile]).done();
    folder
        .sql()
        .execute(
            "UPDATE agents SET tags = json_array(?1), last_decision_reason = ?1,
               attributes = json_object(?1, ?1) WHERE agent_id = 'writer'",
            [hostile],
        )
        .and_then(|_| folder.sql().execute("UPDATE agent_updates SET decision_reason = ?1", [hostile]))
        .expect("a row");
    let looks = "$g agent writer; $g note writer; $g tag writer; $g --json agent writer; \
                 $g --json history writer; $g history writer; $g history writer --format csv; $g agents";
    let Some(ran) = on_terminal(&folder, looks, &[("NO_COLOR", "1")]) else { return };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(r"\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}x"), "{}", ran.stdout);
    assert!(ran.stdout.contains(r"\u001b]0;owned\u0007\u001b[2J\u009b31m\u202ex"), "{}", ran.stdout);
    let acting = ran.stdout.chars().find(|c| (c.is_control() && !"\r\n".contains(*c)) || *c == '\u{202e}');
    assert_eq!(acting, None, "{:?}", ran.stdout);
    // A file gets every byte.
    let csv = folder.run(&["history", "writer", "--format", "csv"]).done().stdout;
    assert!(csv.contains(hostile), "{csv:?}");
    assert_eq!(folder.run(&["--json", "note", "writer"]).done().json()["notes"], hostile);
}

#[test]
fn tables_fit_a_terminal_of_80_columns() {
    let folder = Folder::new();
    let ids = ["a".repeat(128), "測".repeat(60), "👩‍🚀".repeat(20), "short".to_owned()];
    for id in &ids {
        for complexity in ["0.1", "1"] {
            folder.run(&["update", id, "--complexity", complexity, "--parameters", complexity]).done();
        }
    }
    let reason = "it writes and writes and does not stop to think about what it has written until now";
    folder.run(&["pause", "short", "--reason", reason]).done();
    let looks = "$g agents; $g agent short; $g history short; $g health; $g config get";
    let Some(ran) = on_terminal(&folder, looks, &[("NO_COLOR", "1")]) else { return };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in ran.stdout.lines() {
        let columns: usize = line.chars().map(columns).sum();
        assert!(columns <= 80, "{columns} columns: {line}");
    }
    // Where there is no terminal nothing is cut.
    let table = folder.run(&["agents"]).done().stdout;
    for id in &ids {
        assert!(table.contains(id), "{table}");
    }
}

/// Columns that a character takes, of those in the ids above; joined emoji take less together.
fn columns(c: char) -> usize {
    match c {
        '\u{200d}' | '🚀' => 0, // it joins the one before
        '測' | '👩' => 2,
        _ => 1,
    }
}

#[test]
fn progress_is_shown_on_a_terminal_and_spoils_no_result() {
    let folder = Folder::new();
    let lines = "{\"agent_id\":\"a\"}\n".repeat(200) + "oops\n" + &"{\"agent_id\":\"b\"}\n".repeat(200);
    let file = folder.write("updates.jsonl", &lines);
    let results = folder.path().join("results.jsonl");

    // Results into a file: the terminal has the bar.
    let line = format!("$g --json apply {file} > {}", results.display());
    let Some(ran) = on_terminal(&folder, &line, &[]) else { return };
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains(" left") && ran.stdout.contains("line 201: not JSON"), "{ran:?}");
    assert!(ran.stdout.ends_with("400 updates applied, 1 line refused\r\n"), "{ran:?}");
    let written = std::fs::read_to_string(&results).expect("results");
    assert_eq!(
        written.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count(),
        401
    );
    assert!(!written.contains('\u{1b}'));

    // Both on the terminal: each result has its line to itself once the terminal has drawn everything.
    let ran = on_terminal(&folder, &format!("$g --json apply {file} 2>&1"), &[]).expect("as before");
    let screen = drawn(&ran.stdout);
    let results: Vec<_> = screen.iter().filter(|line| line.starts_with("{\"success\":")).collect();
    assert_eq!(results.len(), 401);
    for line in results {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    assert!(!screen.iter().any(|line| line.contains(" left")), "the bar stayed: {screen:?}");

    // A pipe has no length, so there is no bar.
    let ran = on_terminal(&folder, &format!("cat {file} | $g --json apply - > /dev/null"), &[]);
    assert!(!ran.expect("as before").stdout.contains(" left"));
}

/// What a terminal shows of this output, for the few sequences that a progress bar uses: carriage return,
/// "up n lines" and "clear this line".
fn drawn(output: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut row, mut rest) = (0, output);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => {
                row += 1;
                if row == lines.len() {
                    lines.push(String::new());
                }
            }
            '\r' => {}
            '\u{1b}' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a whole sequence");
                let (sequence, following) = rest.split_at(end + 1);
                rest = following;
                match sequence {
                    "[2K" | "[0K" | "[K" => lines[row].clear(),
                    up if up.ends_with('A') => row -= up[1..up.len() - 1].parse().unwrap_or(1),
                    _ => {}
                }
            }
            c => lines[row].push(c),
        }
    }
    lines
}
