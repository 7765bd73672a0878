//! `govstore run` in front of a server's command, and where the command itself begins.

use std::path::Path;
use std::sync::OnceLock;

use clap::CommandFactory;

use crate::Arguments;

/// What a command line of a client's configuration comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nobody ends the server when its client is gone.
    Without,
    /// `govstore run` does. The server's own command begins at this word.
    Kept { command_at: usize },
    /// It is `govstore serve`, which ends by itself.
    Govstore,
    /// `govstore run` has no command behind it, or a subcommand of govstore that is no server.
    Broken,
}

/// Programs that run another one by its name, as in `uvx govstore run -- …`.
const LAUNCHERS: [&str; 11] =
    ["uvx", "uv", "npx", "npm", "pnpm", "pnpx", "yarn", "bun", "bunx", "pipx", "env"];

/// The options of `govstore run`, and those before it, that have a value of their own.
fn options_with_value() -> &'static [String] {
    static OPTIONS: OnceLock<Vec<String>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let govstore = Arguments::command();
        let run = govstore.find_subcommand("run").into_iter().flat_map(clap::Command::get_arguments);
        let options = govstore.get_arguments().chain(run).filter(|option| option.get_action().takes_values());
        options.filter_map(|option| Some(format!("--{}", option.get_long()?))).collect()
    })
}

/// What `argv` comes to. `own` is how this program is called in a configuration, whatever its file is called.
pub fn keeping(argv: &[&str], own: &str) -> Keeping {
    let is_own = |word: &str| word == own || is_govstore(word);
    let Some(first) = argv.first() else { return Keeping::Without };
    let at = if is_own(first) {
        Some(0)
    } else if LAUNCHERS.contains(&program(first).as_str()) {
        // `uvx --from govstore govstore run`: the last of them that has its subcommand behind it.
        let words = argv.iter().enumerate().take_while(|(_, word)| **word != "--");
        let named = words.filter(|(at, word)| {
            *at > 0
                && is_own(word)
                && positional(argv, at + 1).is_some_and(|at| matches!(argv[at], "run" | "serve"))
        });
        named.last().map(|(at, _)| at)
    } else {
        None
    };
    let Some(at) = at else { return Keeping::Without };
    let Some(subcommand) = positional(argv, at + 1) else { return Keeping::Broken };
    match argv[subcommand] {
        "serve" => Keeping::Govstore,
        "run" => positional(argv, subcommand + 1)
            .map_or(Keeping::Broken, |command_at| Keeping::Kept { command_at }),
        _ => Keeping::Broken,
    }
}

/// The first word from `at` on that is no option and no value of one.
fn positional(argv: &[&str], mut at: usize) -> Option<usize> {
    loop {
        match *argv.get(at)? {
            "--" => return (at + 1 < argv.len()).then_some(at + 1),
            option if options_with_value().iter().any(|with_value| with_value == option) => at += 2,
            option if option.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
}

/// Whether a word names govstore: by its path, or as a package with a version (`govstore@0.3`, `govstore==0.3`).
fn is_govstore(word: &str) -> bool {
    let name = program(word);
    name.split(['@', '=', '[']).next() == Some("govstore")
}

/// The name of a program without its folder and the endings of Windows.
pub fn program(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    let path = Path::new(name);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_windows = ["exe", "cmd", "bat", "ps1"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    if is_windows { name[..name.len() - ending.len() - 1].to_lowercase() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_is_known_in_each_of_its_spellings() {
        use Keeping::{Broken, Govstore, Kept, Without};
        #[rustfmt::skip]
        let cases: [(&[&str], Keeping); 22] = [
            (&[], Without),
            (&["npx", "-y", "files"], Without),
            (&["npx", "-y", "govstore-tools", "run"], Without),
            (&["node", "govstore", "run", "--", "x"], Without),
            (&["govstore", "run", "--", "npx", "-y"], Kept { command_at: 3 }),
            (&["/opt/bin/govstore", "run", "--name", "a", "--", "npx"], Kept { command_at: 5 }),
            (&[r"C:\Tools\Govstore.EXE", "run", "--", "npx"], Kept { command_at: 3 }),
            (&["/opt/gs", "run", "--", "npx"], Kept { command_at: 3 }),
            (&["govstore", "--db", "run", "run", "--update", "--agent=a", "--", "x"], Kept { command_at: 7 }),
            (&["govstore", "run", "npx", "--", "x"], Kept { command_at: 2 }),
            (&["govstore", "run", "--name", "--", "--", "x"], Kept { command_at: 5 }),
            (&["uvx", "govstore", "run", "--", "x"], Kept { command_at: 4 }),
            (&["uvx", "--from", "govstore", "govstore", "run", "--", "x"], Kept { command_at: 6 }),
            (&["uvx", "govstore==0.3.0", "run", "--", "x"], Kept { command_at: 4 }),
            (&["npx", "-y", "govstore@latest", "run", "--", "x"], Kept { command_at: 5 }),
            (&["env", "A=1", "govstore", "run", "--", "npx", "govstore", "serve"], Kept { command_at: 5 }),
            (&["govstore", "serve"], Govstore),
            (&["govstore", "--db", "x.db", "serve"], Govstore),
            (&["uvx", "govstore", "serve"], Govstore),
            (&["govstore", "run"], Broken),
            (&["govstore", "run", "--"], Broken),
            (&["govstore"], Broken),
        ];
        for (argv, expected) in cases {
            assert_eq!(keeping(argv, "/opt/gs"), expected, "{argv:?}");
        }
    }
}
