//! What a server is called: after the package or the program that its command names.

use std::ffi::OsString;
use std::path::Path;

/// Options of package runners that take a value as the next argument.
const WITH_VALUE: [&str; 22] = [
    "-p",
    "--package",
    "-c",
    "--call",
    "--from",
    "--with",
    "--python",
    "--index",
    "--index-url",
    "--directory",
    "--project",
    "-e",
    "--env",
    "-v",
    "--volume",
    "--mount",
    "--name",
    "--network",
    "--user",
    "-u",
    "-w",
    "--env-file",
];

/// Names that say nothing without the folder that they are in.
const EMPTY_STEMS: [&str; 9] = ["index", "main", "server", "cli", "app", "dist", "build", "src", "__main__"];

/// The name of the server that a command starts.
pub fn of(command: &[OsString]) -> String {
    let words: Vec<String> = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((program, arguments)) = words.split_first() else { return String::new() };
    let runner = stem(program);
    let named = match runner.as_str() {
        "npx" | "bunx" | "uvx" | "pnpx" => package(arguments),
        "npm" | "pnpm" | "yarn" | "bun" => after(arguments, &["exec", "dlx", "x", "run"]),
        "pipx" | "uv" => after(arguments, &["run", "tool"]).map(|name| match name.as_str() {
            "run" => {
                after(arguments, &["tool"]).and_then(|_| after(&arguments[1..], &["run"])).unwrap_or(name)
            }
            "python" | "python3" => interpreted(skip_to(arguments, &name)).unwrap_or(name),
            _ => name,
        }),
        "docker" | "podman" => after(arguments, &["run"]).map(|image| {
            let path = image.split(['@']).next().unwrap_or_default();
            let last = path.rsplit('/').next().unwrap_or_default();
            last.split(':').next().unwrap_or_default().to_owned()
        }),
        name if name.starts_with("python")
            || matches!(name, "node" | "deno" | "ruby" | "tsx" | "bash" | "sh") =>
        {
            interpreted(arguments)
        }
        _ => None,
    };
    named.filter(|name| !name.is_empty()).unwrap_or(runner)
}

/// The first argument that is no option, without its version and its scope: `@scope/name@1.2` is `name`.
fn package(arguments: &[String]) -> Option<String> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            let unscoped = argument
                .strip_prefix('@')
                .map_or(argument.as_str(), |scoped| scoped.split_once('/').map_or(scoped, |(_, name)| name));
            let name = unscoped.split(['@', '=', '[']).next().unwrap_or_default();
            return Some(if name.contains('/') || name.contains('.') { stem(name) } else { name.to_owned() });
        }
    }
    None
}

/// The package after one of these words.
fn after(arguments: &[String], words: &[&str]) -> Option<String> {
    let at = arguments.iter().position(|argument| words.contains(&argument.as_str()))?;
    package(&arguments[at + 1..])
}

fn skip_to<'a>(arguments: &'a [String], word: &str) -> &'a [String] {
    arguments.iter().position(|argument| argument == word).map_or(&[], |at| &arguments[at + 1..])
}

/// The module or the script that an interpreter is given.
fn interpreted(arguments: &[String]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-m" => return rest.next().cloned(),
            "-c" | "--eval" => return None,
            option if option.starts_with('-') || option == "run" => {}
            script => return Some(script_name(Path::new(script))),
        }
    }
    None
}

/// `/opt/files/dist/index.js` is `files`.
fn script_name(script: &Path) -> String {
    let mut path = Some(script);
    while let Some(at) = path {
        let name = stem(&at.to_string_lossy());
        if !name.is_empty() && !EMPTY_STEMS.contains(&name.as_str()) {
            return name;
        }
        path = at.parent();
    }
    stem(&script.to_string_lossy())
}

fn stem(path: &str) -> String {
    Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_after_its_package_or_program() {
        for (command, name) in [
            ("npx -y @modelcontextprotocol/server-filesystem /data", "server-filesystem"),
            ("/usr/bin/npx --yes server-everything@2026.1.14 stdio", "server-everything"),
            ("npx -p typescript@5 tsc-mcp", "tsc-mcp"),
            ("npm exec -- @scope/tool", "tool"),
            ("uvx mcp-server-time --local-timezone UTC", "mcp-server-time"),
            ("uvx --from git+https://example.org/x mcp-x", "mcp-x"),
            ("uv run --directory /srv weather.py", "weather"),
            ("uv tool run mcp-server-git", "mcp-server-git"),
            ("uv run python -m weather", "weather"),
            ("pipx run mcp-server-fetch==1.2", "mcp-server-fetch"),
            ("python3 -m mcp_server_time", "mcp_server_time"),
            ("python -u /srv/weather.py", "weather"),
            ("node /opt/files/dist/index.js", "files"),
            ("node server.js", "server"),
            ("docker run -i --rm -e TOKEN ghcr.io/github/github-mcp-server:1.0", "github-mcp-server"),
            ("./target/release/my-server --flag", "my-server"),
            ("python3 -c print", "python3"),
            ("npx", "npx"),
        ] {
            let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
            assert_eq!(of(&words), name, "{command}");
        }
        assert_eq!(of(&[]), "");
    }
}
