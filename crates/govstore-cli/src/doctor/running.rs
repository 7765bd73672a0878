//! Which processes are those of a configured server, and whether somebody looks after them.

use std::collections::HashMap;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use super::keeper::program;

/// A process, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: Option<u32>,
    pub argv: Vec<String>,
    /// Whether `GOVSTORE_RUN_ID` is in its environment.
    pub is_kept: bool,
}

/// The processes of one server that run without a keeper.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unkept {
    pub pids: Vec<u32>,
    /// Those of them whose client is gone.
    pub orphans: Vec<u32>,
}

const RUN_ID: &str = "GOVSTORE_RUN_ID=";
/// What a program may be started by, so that its own name is not the first word of its command line.
const INTERPRETERS: [&str; 18] = [
    "node", "nodejs", "bun", "deno", "python", "python2", "python3", "ruby", "perl", "php", "sh", "bash",
    "dash", "zsh", "env", "uv", "cmd", "java",
];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "fish", "cmd"];
/// Programs that take in processes whose parent is gone, whatever their PID is.
const REAPERS: [&str; 9] =
    ["systemd", "init", "launchd", "tini", "dumb-init", "docker-init", "catatonit", "runit", "s6-svscan"];
/// Programs that may be the first process of a container and start servers there.
const CLIENTS: [&str; 7] = ["claude", "codex", "cursor", "code", "zed", "node", "electron"];

/// All processes; of those of other users the names alone.
pub fn processes() -> Result<Vec<Process>, sysinfo::Error> {
    let kind = ProcessRefreshKind::nothing()
        .without_tasks()
        .with_cmd(UpdateKind::Always)
        .with_environ(UpdateKind::Always)
        .with_user(UpdateKind::Always);
    let mut system = System::new()?;
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    let own = sysinfo::get_current_pid().ok().and_then(|pid| system.process(pid)?.user_id().cloned());
    let processes = system.processes().values();
    let mut found: Vec<Process> = processes
        // What is above a server tells whether its client is gone, whoever's it is.
        .map(|process| {
            let is_ours = own.is_none() || process.user_id() == own.as_ref();
            let words = process.cmd().iter().map(|word| word.to_string_lossy().into_owned());
            Process {
                pid: process.pid().as_u32(),
                parent: process.parent().map(sysinfo::Pid::as_u32),
                argv: if is_ours {
                    words.collect()
                } else {
                    vec![process.name().to_string_lossy().into_owned()]
                },
                is_kept: process.environ().iter().any(|entry| is_run_id(&entry.to_string_lossy())),
            }
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

fn is_run_id(entry: &str) -> bool {
    entry
        .strip_prefix(RUN_ID)
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// The processes that run as `configured` says and have no keeper. Of a process and its children that all match, the
/// topmost counts.
pub fn unkept(configured: &[&str], processes: &[Process]) -> Unkept {
    let by_pid: HashMap<u32, &Process> = processes.iter().map(|process| (process.pid, process)).collect();
    let matching = |process: &Process| !process.is_kept && matches(configured, &process.argv);
    let mut found = Unkept::default();
    for process in processes.iter().filter(|process| matching(process)) {
        if ancestors(process, &by_pid).any(&matching) {
            continue;
        }
        found.pids.push(process.pid);
        if is_orphan(process, &by_pid) {
            found.orphans.push(process.pid);
        }
    }
    found
}

/// The parent, its parent, and so on.
fn ancestors<'p>(
    process: &Process,
    by_pid: &'p HashMap<u32, &'p Process>,
) -> impl Iterator<Item = &'p Process> {
    let above = move |process: &Process| process.parent.and_then(|pid| by_pid.get(&pid).copied());
    // A PID that is used again could close a circle.
    std::iter::successors(above(process), move |process| above(process)).take(64)
}

/// Whether no client is above a process: its parent, or that of the shell that runs it, is gone.
fn is_orphan(process: &Process, by_pid: &HashMap<u32, &Process>) -> bool {
    let is_shell = |process: &&Process| {
        process.argv.first().is_some_and(|word| SHELLS.contains(&program(word).as_str()))
            && process.argv.iter().any(|word| word == "-c" || word == "/c")
    };
    let Some(above) = ancestors(process, by_pid).find(|process| !is_shell(process)) else { return true };
    // `systemd` shows as /usr/lib/systemd/systemd --user, and init systems of containers by their own names.
    let name = above.argv.first().map(|word| program(word)).unwrap_or_default();
    if above.pid == 1 { !CLIENTS.contains(&name.as_str()) } else { REAPERS.contains(&name.as_str()) }
}

/// Whether `argv` is what a process has that was started as `configured`: the same words, after an interpreter if
/// need be. Words with a variable of the client in them (`${workspaceFolder}/x`) match whatever it stands for.
pub fn matches(configured: &[&str], argv: &[String]) -> bool {
    let Some((command, arguments)) = configured.split_first() else { return false };
    if is_npm_title(command, arguments, argv) {
        return true;
    }
    let Some(skipped) = argv.len().checked_sub(configured.len()) else { return false };
    let (before, own) = argv.split_at(skipped);
    let is_interpreter = |word: &String| {
        let name = program(word);
        INTERPRETERS.contains(&name.as_str()) || name.starts_with("python3.")
    };
    let interpreted = match before {
        [] => true,
        [first, options @ ..] => {
            // `uv tool uvx …` is what uvx becomes.
            is_interpreter(first)
                && options.iter().all(|word| word.starts_with('-') || is_interpreter(word) || word == "tool")
        }
    };
    let same = |configured: &str, word: &str| match configured.split_once("${") {
        None => configured == word,
        Some((start, rest)) => {
            let end = rest.rsplit_once('}').map_or("", |(_, end)| end);
            word.len() >= start.len() + end.len() && word.starts_with(start) && word.ends_with(end)
        }
    };
    interpreted
        && (same(command, &own[0]) || program(command) == program(&own[0]))
        && arguments.iter().zip(&own[1..]).all(|(configured, word)| same(configured, word))
}

/// npx writes over its command line: `npm exec PACKAGE ARGS…`, in one word, without its own options.
fn is_npm_title(command: &str, arguments: &[&str], argv: &[String]) -> bool {
    let words = argv.join(" ");
    let Some(title) = words.trim_end().strip_prefix("npm exec ") else { return false };
    let own: Vec<&str> =
        arguments.iter().copied().skip_while(|word| matches!(*word, "-y" | "--yes" | "-q")).collect();
    program(command) == "npx" && !own.is_empty() && title == own.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_process_is_known_by_its_words() {
        for (configured, argv, expected) in [
            ("npx -y files /data", "npx -y files /data", true),
            ("npx -y files /data", "node /usr/bin/npx -y files /data", true),
            ("npx -y files /data", "npm exec files /data", true),
            ("npx -y files /data", "npm exec files /data /more", false),
            ("npx -y", "npm exec ", false),
            ("npx -y files /data", "/usr/bin/env node --no-warnings /usr/bin/npx -y files /data", true),
            ("npx -y files /data", "govstore run -- npx -y files /data", false),
            ("npx -y files /data", "vim npx -y files /data", false),
            ("npx -y files /data", "npx -y files /other", false),
            ("npx -y files /data", "npx -y files", false),
            ("uvx fetch", "/usr/bin/uv tool uvx fetch", true),
            ("/opt/a/server", "/opt/a/server", true),
            ("server", "/opt/a/server", true),
            ("server", "vim server", false),
            ("server", "python3.12 /opt/a/server", true),
            ("C:\\x\\npx.cmd files", "npx files", true),
            ("node ${workspaceFolder}/s.js", "node /home/a/s.js", true),
            ("node ${workspaceFolder}/s.js", "node /home/a/t.js", false),
            ("docker run -i --rm img", "docker run -i --rm img", true),
        ] {
            let configured: Vec<&str> = configured.split(' ').collect();
            assert_eq!(matches(&configured, &words(argv)), expected, "{configured:?} {argv}");
        }
        assert!(!matches(&[], &words("x")));
        assert!(!matches(&["x"], &[]));
    }

    #[test]
    fn orphans_have_no_client_above_them() {
        let process = |pid, parent, line: &str, is_kept| Process { pid, parent, argv: words(line), is_kept };
        let processes = [
            process(1, None, "/sbin/init splash", false),
            process(2, Some(1), "/usr/lib/systemd/systemd --user", false),
            process(10, Some(2), "/opt/claude", false),
            process(11, Some(10), "npx files", false),
            process(12, Some(11), "node /usr/bin/npx files", false), // the same server
            process(20, Some(1), "npx files", false),
            process(21, Some(2), "npx files", false),
            process(22, Some(2), "sh -c stuff", false),
            process(23, Some(22), "npx files", false),
            process(24, Some(99), "npx files", false), // its parent went while we looked
            process(30, Some(1), "npx files", true),
            process(31, Some(10), "npx other", false),
        ];
        let found = unkept(&["npx", "files"], &processes);
        assert_eq!(found, Unkept { pids: vec![11, 20, 21, 23, 24], orphans: vec![20, 21, 23, 24] });
        // In a container the client may be the first process.
        let container =
            [process(1, None, "/usr/local/bin/claude", false), process(5, Some(1), "npx files", false)];
        assert_eq!(unkept(&["npx", "files"], &container).orphans, [0; 0]);
    }

    #[test]
    fn a_run_id_has_32_hexadecimal_digits() {
        assert!(is_run_id(&format!("GOVSTORE_RUN_ID={}", "0aF9".repeat(8))));
        for wrong in ["GOVSTORE_RUN_ID=", "GOVSTORE_RUN_ID=1", "RUN_ID=0", "GOVSTORE_RUN_ID"] {
            assert!(!is_run_id(wrong), "{wrong}");
        }
    }
}
