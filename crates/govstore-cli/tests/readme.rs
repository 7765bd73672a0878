//! README, guide and the page for operators are true: their console blocks are run and print what they say, and what
//! operators are told to run works.
#![cfg(unix)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One command of a console block, and what the README says it prints.
struct Shown {
    command: String,
    output: String,
}

/// The commands of a section, in order.
fn commands(readme: &str, section: &str) -> Vec<Shown> {
    let heading = format!("## {section}\n");
    let section =
        readme.split(&heading).nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let mut shown: Vec<Shown> = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            match (line.strip_prefix("$ "), shown.last_mut()) {
                (Some(command), _) => {
                    shown.push(Shown { command: command.to_owned(), output: String::new() });
                }
                (None, Some(last)) => last.output.extend([line, "\n"]),
                (None, None) => {}
            }
        }
    }
    shown
}

/// Runs a command as a reader would, with the built `govstore` on the path.
fn run(folder: &Path, command: &str) -> TestResult<String> {
    let bin = Path::new(env!("CARGO_BIN_EXE_govstore")).parent().ok_or("no folder")?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", path)
        .env("GOVSTORE_DB", folder.join("tour.db"))
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Ages depend on how fast the machine is.
fn without_ages(text: &str) -> String {
    let word =
        |word: &str| if word.chars().all(|c| c.is_ascii_digit()) { "N".to_owned() } else { word.to_owned() };
    let line = |line: &str| match line.strip_suffix(" s") {
        Some(rest) => {
            rest.rsplit_once(' ').map_or(line.to_owned(), |(left, age)| format!("{left} {} s", word(age)))
        }
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn readme_and_guide_print_what_they_say() -> TestResult {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let guide = fs::read_to_string(root().join("docs/guide.md"))?;
    let folder = tempfile::tempdir()?;
    let has_shell = Command::new("sqlite3").arg("-version").output().is_ok();
    let mut tried = 0;
    for section in ["A minute's tour", "In the shell"] {
        for Shown { command, output } in commands(&guide, section) {
            if let Some(file) = command.strip_prefix("cat ") {
                fs::write(folder.path().join(file), &output)?; // the README's own input
                continue;
            }
            if command.starts_with("export ") || command.starts_with("unset ") {
                continue;
            }
            if command.starts_with("sqlite3 ") && !has_shell {
                eprintln!("skipped: no sqlite3 shell for {command}");
                continue;
            }
            let command = command.replace("/tmp/tour.db", "tour.db");
            assert_eq!(without_ages(&run(folder.path(), &command)?), without_ages(&output), "$ {command}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried} commands were found");

    // The first command of all; cargo runs the same binary.
    let first = commands(&readme, "Start").into_iter().next().ok_or("no first command")?;
    let arguments = first.command.strip_prefix("cargo run --release -- ").ok_or("another first command")?;
    let fresh = tempfile::tempdir()?;
    assert_eq!(run(fresh.path(), &format!("govstore {arguments}"))?, first.output);
    Ok(())
}

/// The blocks of a kind in a page, in order.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    let fence = format!("```{kind}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn what_operators_are_told_to_run_works() -> TestResult {
    let page = fs::read_to_string(root().join("docs/operating.md"))?;
    let folder = tempfile::tempdir()?;
    let works = |command: &str| -> TestResult<String> {
        let said = run(folder.path(), &format!("{command}; echo \"exit $?\""))?;
        assert!(said.ends_with("exit 0\n"), "$ {command}\n{said}");
        Ok(said)
    };
    works("govstore update writer --text done && govstore config set history_limit 1000")?;

    let listed =
        blocks(&page, "sh").into_iter().find(|block| block.contains("selftest")).ok_or("no commands")?;
    let commands: Vec<&str> =
        listed.lines().filter_map(|line| line.split('#').next()).map(str::trim_end).collect();
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        match command {
            "govstore watch" => {} // it needs a terminal; its own tests give it one
            "govstore events --follow" => {
                // It goes on until it is ended, and shows what is to come.
                let later = "(sleep 1; govstore pause writer) > paused &";
                let said = run(folder.path(), &format!("{later} timeout 3 {command}"))?;
                assert!(said.contains("writer"), "{said}");
            }
            _ => drop(works(command)?),
        }
    }
    assert!(folder.path().join("fleet.html").is_file());

    // The lines of cron and of systemd, with places of this test.
    fs::create_dir_all(folder.path().join("backups/govstore"))?;
    let cron = blocks(&page, "crontab")[0].trim().trim_start_matches("7 * * * * ");
    works(&cron.replace("/path/to/governance.db", "tour.db").replace("/path/to/backups", "backups"))?;
    let unit = blocks(&page, "ini")[0];
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=%h/.cargo/bin/")).ok_or("no unit")?;
    works(&start.replace("%h", &folder.path().display().to_string()))?;
    for kept in ["backups", "backups/govstore"] {
        let files = fs::read_dir(folder.path().join(kept))?.filter_map(Result::ok);
        assert_eq!(files.filter(|file| file.path().is_file()).count(), 1, "in {kept}");
    }
    Ok(())
}

/// The webhook is a shell function here: what it would have been sent is kept in a file.
#[test]
fn the_alert_for_operators_sends_each_event() -> TestResult {
    let page = fs::read_to_string(root().join("docs/operating.md"))?;
    let alert = blocks(&page, "sh").into_iter().find(|block| block.contains("curl")).ok_or("no alert")?;
    let folder = tempfile::tempdir()?;
    run(folder.path(), "govstore update writer")?;
    let alert = alert.replace("govstore --json events", "timeout 3 govstore --json events");
    let later = "(sleep 1; govstore pause writer --reason 'it is late') > paused &";
    run(folder.path(), &format!("curl() {{ printf '%s\\n' \"$@\" >> sent; }}\n{later}\n{alert}"))?;
    let sent = fs::read_to_string(folder.path().join("sent"))?;
    assert!(sent.contains("\"event\":\"paused\"") && sent.contains("it is late"), "{sent}");
    assert!(sent.contains("https://example.org/hook"), "{sent}");
    Ok(())
}
