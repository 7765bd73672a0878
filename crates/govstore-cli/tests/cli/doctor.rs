//! `doctor`: each client's real configuration in a made-up home, wrapped and unwrapped; and real processes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use govstore_testkit::{TestResult, wait_until};
use serde_json::{Value, json};

use super::spellings::{json_spelling, toml_spelling};
use super::support::{Folder, GOVSTORE, Ran};
use super::terminal::terminal;

const CLAUDE_DESKTOP: &str = r#"{
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": [
        "-y",
        "@modelcontextprotocol/server-filesystem",
        "/Users/username/Desktop"
      ]
    },
    "plain": {
      "command": "/opt/plain-server",
      "env": {"KEY": "secret"}
    }
  },
  "globalShortcut": ""
}
"#;
const CLAUDE_CODE: &str = r#"{
  "numStartups": 184,
  "mcpServers": {
    "github": { "type": "http", "url": "https://api.githubcopilot.com/mcp/" },
    "fetch": { "type": "stdio", "command": "uvx", "args": ["mcp-server-fetch"], "env": {} }
  },
  "projects": {
    "/home/somebody/one": { "allowedTools": [], "mcpServers": {}, "history": [{"display": "a \"b\" // c"}] },
    "/home/somebody/two": {
      "mcpServers": {
        "fetch": { "type": "stdio", "command": "uvx", "args": ["mcp-server-fetch", "--ignore-robots-txt"] }
      }
    }
  }
}"#;
const CLAUDE_CODE_PROJECT: &str =
    "{\"mcpServers\":{\"db\":{\"command\":\"${CLAUDE_PROJECT_DIR:-.}/db\",\"args\":[]}}}";
const CURSOR: &str = "{\r\n\t\"mcpServers\": {\r\n\t\t\"docker\": {\r\n\t\t\t\"command\": \"docker\",\r\n\t\t\t\"args\": [\"run\", \"-i\", \
                      \"--rm\", \"mcp/time\"],\r\n\t\t},\r\n\t\t\"linear\": { \"url\": \"https://mcp.linear.app/sse\" },\r\n\t}\r\n}\r\n";
const VSCODE: &str = r#"// Servers of mine
{
    "inputs": [{ "type": "promptString", "id": "key", "password": true }],
    "servers": {
        "playwright": {
            "type": "stdio",
            "command": "npx", // latest
            /* args first? */ "args": ["-y", "@playwright/mcp@latest",],
            "env": { "KEY": "${input:key}" },
        },
        "remote": { "type": "sse", "url": "http://localhost:3000/sse" },
        "bare": {
            "command": "bare-server" // it has no arguments
        }
    }
}
"#;
const VSCODE_SETTINGS: &str = r#"{
  "editor.fontSize": 14, "editor.fontSize": 15,
  "mcp": { "servers": { "old": { "args": [], "command": "old\u002dserver" } } },
  "mcp.servers": { "older": { "command": "older-server", "args": [ ] } }
}
"#;
const CODEX: &str = r#"model = "gpt-5" # the newest
mcp_servers.dotted.command = "dotted-server"

[mcp_servers.context7]
command = "npx" # with a comment
args = [
  "-y", # yes
  "@upstash/context7-mcp",
]
env = { "A" = "b" }

[mcp_servers.bare]
  command = 'bare-server' # none

[mcp_servers."figma.com"]
url = "https://mcp.figma.com/mcp"

[mcp_servers.after]
args = []
command = """multi-line"""
"#;
const CODEX_INLINE: &str = "\u{feff}[mcp_servers]\r\na = { command = \"x\" }\r\nb = { args = ['1'], command = \"x\" }\r\nc.command = \"x\"\r\n\
                            d = { \"command\" = \"x\", env.\"K.\" = \"v\" }";
const ZED: &str = r#"// Zed settings
{
  "theme": "One Dark",
  "context_servers": {
    "new": { "source": "custom", "command": "some-command", "args": ["arg-1"], "env": {} },
    "older": {
      "source": "custom",
      "command": {
        "path": "other-command",
        "args": ["arg-2"],
        "env": null
      },
      "settings": {}
    },
    "bare": { "command": { "path": "bare-command" } },
    "mcp-server-github": { "source": "extension", "settings": { "token": "x" } },
    "remote": { "url": "https://example.org/mcp" },
  },
}
"#;

/// Where each configuration lies on this system, and whose it is. The current folder is `work`.
fn places() -> Vec<(&'static str, String, &'static str)> {
    let config = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".config" };
    let configured = |name: &str| format!("{config}/{name}");
    let home = str::to_owned;
    vec![
        ("claude-desktop", configured("Claude/claude_desktop_config.json"), CLAUDE_DESKTOP),
        ("claude-code", home(".claude.json"), CLAUDE_CODE),
        ("claude-code", home("work/.mcp.json"), CLAUDE_CODE_PROJECT),
        ("cursor", home(".cursor/mcp.json"), CURSOR),
        ("cursor", home("work/.cursor/mcp.json"), CLAUDE_DESKTOP),
        ("vscode", configured("Code/User/mcp.json"), VSCODE),
        ("vscode", configured("Code/User/settings.json"), VSCODE_SETTINGS),
        ("vscode", configured("Code/User/profiles/5a1/mcp.json"), VSCODE),
        ("vscode", configured("Code - Insiders/User/mcp.json"), VSCODE),
        ("vscode", configured("VSCodium/User/mcp.json"), VSCODE),
        ("vscode", home("work/.vscode/mcp.json"), VSCODE),
        ("codex", home(".codex/config.toml"), CODEX),
        ("codex", home("work/.codex/config.toml"), CODEX_INLINE),
        ("zed", home(".config/zed/settings.json"), ZED),
    ]
}

/// A home in which nothing but these files is.
struct Home(Folder);

impl Home {
    fn new() -> Self {
        let folder = Folder::new();
        fs::create_dir(folder.file("work")).expect("a folder");
        Self(folder)
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let home = Self::new();
        for (name, content) in files {
            home.write(name, content);
        }
        home
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.file(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.file(name)).expect("a file")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        for name in ["XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"] {
            command.env_remove(name);
        }
        command.env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin").current_dir(self.0.file("work"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// The servers that are listed, by the client and their name.
    fn servers(&self) -> Vec<Value> {
        let listed = self.run(&["--json", "doctor"]).json();
        let files = listed["files"].as_array().expect("files").iter();
        files.flat_map(|file| file["servers"].as_array().expect("servers").clone()).collect()
    }
}

/// This program, as a configuration is to call it.
fn own() -> String {
    fs::canonicalize(GOVSTORE).expect("it is there").to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_configuration_of_each_client_is_wrapped_and_unwrapped_to_the_same_bytes() {
    let home = Home::new();
    for (_, name, content) in places() {
        fs::set_permissions(home.write(&name, content), Permissions::from_mode(0o600)).expect("permissions");
    }
    let ran = home.run(&["--json", "doctor"]).refused(1, &["have no keeper; `govstore doctor --wrap`"]);
    let files = ran.json()["files"].as_array().expect("files").clone();
    let found: Vec<&str> = files.iter().map(|file| file["client"].as_str().expect("a name")).collect();
    assert_eq!(found, places().iter().map(|(client, ..)| *client).collect::<Vec<_>>());
    let names = |at: usize| -> Vec<&str> {
        let servers = files[at]["servers"].as_array().expect("servers").iter();
        servers.map(|server| server["name"].as_str().expect("a name")).collect()
    };
    assert_eq!(names(0), ["filesystem", "plain"]);
    assert_eq!(names(1), ["fetch", "fetch"]);
    assert_eq!(files[1]["servers"][1]["project"], "/home/somebody/two");
    assert_eq!(
        (&files[1]["remote"], &files[3]["remote"], &files[11]["remote"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(names(6), ["old", "older"]);
    assert_eq!(files[6]["servers"][0]["argv"], json!(["old-server"]));
    assert_eq!(names(11), ["dotted", "context7", "bare", "after"]);
    assert_eq!(names(12), ["a", "b", "c", "d"]);
    assert_eq!(names(13), ["new", "older", "bare"]);
    assert_eq!((&files[13]["remote"], &files[13]["by_extension"]), (&json!(1), &json!(1)));
    assert_eq!(files[13]["servers"][1]["argv"], json!(["other-command", "arg-2"]));
    let commands =
        |servers: &[Value]| servers.iter().map(|server| server["argv"].clone()).collect::<Vec<_>>();
    let before = home.servers();
    assert!(
        before.iter().all(|server| server["keeper"] == "none" && server["problem"].is_null()),
        "{before:?}"
    );

    home.run(&["doctor", "--wrap", "--yes"]).done();
    let after = home.servers();
    assert!(after.iter().all(|server| server["keeper"] == "run"), "{after:?}");
    assert_eq!(commands(&after), commands(&before));
    let wrapped: Vec<String> = places().iter().map(|(_, name, _)| home.read(name)).collect();
    for ((_, name, content), wrapped) in places().into_iter().zip(&wrapped) {
        assert_ne!(wrapped, content, "{name}");
        assert_eq!(home.read(&format!("{name}.govstore-backup")), content, "{name}");
        for file in [home.0.file(&name), home.0.file(&format!("{name}.govstore-backup"))] {
            assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o600, "{name}");
        }
    }
    let again = home.run(&["doctor", "--wrap", "--yes"]).done().stdout;
    assert!(again.contains("context7 stays as it is: it is wrapped already"), "{again}");
    assert!(again.ends_with("nothing had to be changed\n"), "{again}");
    for ((_, name, _), wrapped) in places().into_iter().zip(&wrapped) {
        assert_eq!(&home.read(&name), wrapped, "{name}");
    }
    let ran = home.run(&["doctor"]).done();
    assert!(ran.stdout.ends_with("all is well\n"), "{ran:#?}");

    home.run(&["doctor", "--unwrap", "--yes"]).done();
    for (_, name, content) in places() {
        assert_eq!(home.read(&name), content, "{name}");
    }
    let again = home.run(&["doctor", "--unwrap", "--yes"]).done().stdout;
    assert!(again.contains("it is not wrapped") && again.ends_with("nothing had to be changed\n"), "{again}");
    assert!(!home.0.db().exists(), "it needs no database");
}

#[test]
fn a_client_starts_the_keeper_with_the_old_command_behind_it() -> TestResult {
    let home = Home::with(&[(".cursor/mcp.json", CLAUDE_DESKTOP)]);
    home.run(&["doctor", "--wrap", "--yes"]).done();
    let read: Value = serde_json::from_str(&home.read(".cursor/mcp.json"))?;
    let filesystem = &read["mcpServers"]["filesystem"];
    assert_eq!(filesystem["command"], own());
    let mut expected = vec!["run", "--name", "filesystem", "--", "npx", "-y"];
    expected.extend(["@modelcontextprotocol/server-filesystem", "/Users/username/Desktop"]);
    assert_eq!(filesystem["args"], json!(expected));
    assert_eq!(
        read["mcpServers"]["plain"]["args"],
        json!(["run", "--name", "plain", "--", "/opt/plain-server"])
    );
    assert_eq!(read["mcpServers"]["plain"]["env"], json!({"KEY": "secret"}));
    Ok(())
}

#[test]
fn the_difference_has_the_changed_lines_alone() {
    let home = Home::with(&[(".cursor/mcp.json", CLAUDE_DESKTOP)]);
    let (own, path) = (own(), home.0.file(".cursor/mcp.json"));
    let path = path.display();
    let ran = home.run(&["doctor", "--wrap", "--server", "filesystem", "--yes"]).done();
    let expected = format!(
        "--- {path}\n+++ {path}\n\
         @@ -4 +4 @@\n-      \"command\": \"npx\",\n+      \"command\": \"{own}\",\n\
         @@ -5,0 +6 @@\n+        \"run\", \"--name\", \"filesystem\", \"--\", \"npx\",\n"
    );
    assert!(ran.stdout.starts_with(&expected), "{}", ran.stdout);
    let (old, new) = (CLAUDE_DESKTOP.lines(), home.read(".cursor/mcp.json"));
    let gone: Vec<&str> = old.filter(|line| !new.lines().any(|new| new == *line)).collect();
    assert_eq!(gone, ["      \"command\": \"npx\","], "the other lines are there as they were");
}

#[test]
fn one_client_and_one_server_can_be_chosen() {
    let home = Home::with(&[(".cursor/mcp.json", CLAUDE_DESKTOP), (".codex/config.toml", CODEX)]);
    home.run(&["doctor", "--wrap", "--client", "codex", "--server", "bare", "--yes"]).done();
    assert_eq!(home.read(".cursor/mcp.json"), CLAUDE_DESKTOP);
    let kept = |servers: &[Value]| -> Vec<String> {
        let kept = servers.iter().filter(|server| server["keeper"] == "run");
        kept.map(|server| server["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(kept(&home.servers()), ["bare"]);
    home.run(&["doctor", "--wrap", "--client", "cursor", "--yes"]).done();
    assert_eq!(kept(&home.servers()), ["filesystem", "plain", "bare"]);
    home.run(&["doctor", "--unwrap", "--yes"]).done();
    assert_eq!(home.read(".cursor/mcp.json"), CLAUDE_DESKTOP);
    assert_eq!(home.read(".codex/config.toml"), CODEX);
    home.run(&["doctor", "--wrap", "--server", "nobody", "--yes"])
        .refused(2, &["no server is called \"nobody\""]);
    home.run(&["doctor", "--wrap", "--unwrap"]).refused(2, &["--unwrap"]);
}

#[test]
fn a_file_that_is_named_is_looked_at_alone() {
    let home = Home::with(&[(".cursor/mcp.json", CLAUDE_DESKTOP), ("other/servers.toml", CODEX)]);
    let file = home.0.file("other/servers.toml");
    home.run(&["doctor", "--wrap", "--yes", file.to_str().expect("UTF-8")]).done();
    assert_ne!(home.read("other/servers.toml"), CODEX);
    assert_eq!(home.read(".cursor/mcp.json"), CLAUDE_DESKTOP);
    home.run(&["doctor", "../no-such-file"]).refused(1, &["cannot read ../no-such-file: No such file"]);
    let ran = Ran::of(home.command(&["--json", "doctor", "mcp.json"]).current_dir(home.0.file(".cursor")));
    assert_eq!(ran.json()["files"][0]["client"], "cursor");
}

#[test]
fn what_a_person_has_wrapped_by_hand_counts_and_is_unwrapped() {
    let by_hand = r#"{"mcpServers": {
  "a": {"command": "govstore", "args": ["run", "--", "npx", /* yes */ "-y", "x"]},
  "b": {"command": "uvx", "args": ["govstore", "run", "--limit", "2", "--", "plain",]},
  "c": {"command": "govstore", "args": ["serve"]},
  "d": {"command": "govstore", "args": ["run", "plain"]}
}}"#;
    let home = Home::with(&[(".cursor/mcp.json", by_hand)]);
    let listed: Vec<(Value, Value)> =
        home.servers().iter().map(|server| (server["keeper"].clone(), server["argv"].clone())).collect();
    let expected = [
        (json!("run"), json!(["npx", "-y", "x"])),
        (json!("run"), json!(["plain"])),
        (json!("itself"), json!(["govstore", "serve"])),
        (json!("run"), json!(["plain"])),
    ];
    assert_eq!(listed, expected);
    home.run(&["doctor"]).done();
    let ran = home.run(&["doctor", "--wrap", "--yes"]).done();
    assert!(
        ran.stdout.contains("c stays as it is: it is govstore itself, which ends with its client"),
        "{ran:#?}"
    );
    assert_eq!(home.read(".cursor/mcp.json"), by_hand);
    home.run(&["doctor", "--unwrap", "--yes"]).done();
    let expected = r#"{"mcpServers": {
  "a": {"command": "npx", "args": [/* yes */ "-y", "x"]},
  "b": {"command": "plain", "args": []},
  "c": {"command": "govstore", "args": ["serve"]},
  "d": {"command": "plain", "args": []}
}}"#;
    assert_eq!(home.read(".cursor/mcp.json"), expected);
}

/// A project's file goes to other machines, where the path of this one means nothing.
#[test]
fn govstore_is_called_by_its_path_except_in_a_file_of_a_project() -> TestResult {
    let home = Home::with(&[(".cursor/mcp.json", CURSOR), ("work/.cursor/mcp.json", CURSOR)]);
    let bin = home.0.file("bin");
    fs::create_dir(&bin)?;
    symlink(GOVSTORE, bin.join("govstore"))?;
    let run = |action| Ran::of(home.command(&["doctor", action, "--yes"]).env("PATH", &bin)).done();
    run("--wrap");
    let link = format!("\"command\": \"{}\"", bin.join("govstore").display());
    assert!(home.read(".cursor/mcp.json").contains(&link), "the link that outlives an upgrade");
    assert!(home.read("work/.cursor/mcp.json").contains("\"command\": \"govstore\""));
    run("--unwrap");
    assert_eq!(
        (home.read(".cursor/mcp.json"), home.read("work/.cursor/mcp.json")),
        (CURSOR.into(), CURSOR.into())
    );
    // Another program of that name is not ours.
    fs::remove_file(bin.join("govstore"))?;
    fs::copy("/bin/true", bin.join("govstore"))?;
    run("--wrap");
    assert!(home.read("work/.cursor/mcp.json").contains(&own()));
    Ok(())
}

/// What `uvx` runs is gone when its cache is emptied, and with it every server that was wrapped by it.
#[test]
fn a_program_in_a_cache_does_not_put_itself_into_configurations() -> TestResult {
    let home = Home::with(&[(".cursor/mcp.json", CURSOR)]);
    // A link, since a copy can't be run while another test's fork has it open.
    let folder = tempfile::tempdir_in(Path::new(GOVSTORE).parent().ok_or("a folder")?)?;
    let cached = folder.path().join("uv/archive-v0/x/bin/govstore");
    fs::create_dir_all(cached.parent().ok_or("a folder")?)?;
    fs::hard_link(GOVSTORE, &cached)?;
    let run = |arguments: &[&str]| {
        let template = home.command(arguments);
        let environment = template.get_envs().filter_map(|(name, value)| Some((name, value?)));
        Ran::of(Command::new(&cached).args(arguments).envs(environment).current_dir(home.0.file("work")))
    };
    run(&["doctor", "--wrap", "--yes"]).refused(1, &["in a cache that may be emptied; install govstore"]);
    assert_eq!(home.read(".cursor/mcp.json"), CURSOR);
    home.run(&["doctor", "--wrap", "--yes"]).done();
    run(&["doctor", "--unwrap", "--yes"]).done();
    assert_eq!(home.read(".cursor/mcp.json"), CURSOR);
    Ok(())
}

#[test]
fn nothing_is_changed_without_a_yes() {
    let home = Home::with(&[(".cursor/mcp.json", CURSOR)]);
    let ran = home.run(&["doctor", "--wrap"]).refused(2, &["nothing was changed", "say --yes"]);
    assert!(ran.stdout.contains("+\t\t\t\"command\": "), "the difference is shown all the same: {ran:#?}");
    home.run(&["--json", "doctor", "--wrap"]).refused(2, &["say --yes"]);
    assert_eq!(home.read(".cursor/mcp.json"), CURSOR);
    for (answer, is_changed) in [("n", false), ("", false), ("y", true)] {
        let Some(mut command) = terminal(&home.0, "$g doctor --wrap") else { return };
        command.env("HOME", home.0.path()).env_remove("XDG_CONFIG_HOME").env_remove("CODEX_HOME");
        command.env_remove("CLAUDE_CONFIG_DIR").current_dir(home.0.file("work"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, format!("{answer}\n").as_bytes()).expect("it reads");
        let ran = Ran::from(child.wait_with_output().expect("script ends"));
        drop(stdin);
        assert!(ran.stdout.contains("Change this? [y/N]"), "{ran:#?}");
        assert_eq!(home.read(".cursor/mcp.json") != CURSOR, is_changed, "{answer:?}: {ran:#?}");
        assert_eq!(ran.code, Some(i32::from(!is_changed)), "{ran:#?}");
    }
}

#[test]
fn a_link_of_a_dotfile_manager_stays_a_link() -> TestResult {
    let home = Home::with(&[("dotfiles/cursor.json", CURSOR)]);
    fs::create_dir(home.0.file(".cursor"))?;
    symlink("../dotfiles/cursor.json", home.0.file(".cursor/mcp.json"))?;
    home.run(&["doctor", "--wrap", "--yes"]).done();
    assert!(home.0.file(".cursor/mcp.json").is_symlink());
    assert!(home.read("dotfiles/cursor.json").contains("\"--name\", \"docker\""));
    assert_eq!(home.read(".cursor/mcp.json.govstore-backup"), CURSOR);
    assert!(!home.0.file(".cursor/mcp.json.govstore-backup").is_symlink());
    assert_eq!(fs::read_dir(home.0.file("dotfiles"))?.count(), 1, "the copy is not among the dotfiles");
    Ok(())
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_left_alone() {
    let ten_megabytes = format!("{{\"mcpServers\": {{\"a\": {{\"command\": \"{}", "x".repeat(10 << 20));
    let deep = format!("{{\"mcpServers\": {}", "[".repeat(1 << 20));
    let cases: [(&str, &[u8], &str); 11] = [
        (
            "a.json",
            b"{\"mcpServers\": {\n  \"a\": {\"command\" \"x\"}}}",
            "line 2, column 19: a colon is missing",
        ),
        (
            "a.json",
            b"{\"mcpServers\": {\"a\": {\"command\": \"x\"}}",
            "line 1, column 39: a comma, or }, is missing",
        ),
        ("a.json", ten_megabytes.as_bytes(), "line 1, column 34: this string has no end"),
        ("a.json", deep.as_bytes(), "nested too deep"),
        ("a.json", b"{\"mcpServers\": {\"a\": {\"command\": \"\xff\"}}}", "byte 35 is not UTF-8"),
        (
            "a.json",
            b"{\"mcpServers\": {}, \"mcpServers\": {}}",
            "the key \"mcpServers\" is there twice; keep one",
        ),
        ("a.json", b"{\"mcpServers\": []}", "\"mcpServers\" is not an object"),
        ("a.json", b"[]", "not an object"),
        ("a.toml", b"[mcp_servers.a]\ncommand = \"x\"\ncommand = \"y\"\n", "line 3, column 1: "),
        ("a.toml", b"[mcp_servers.a]\ncommand = x\n", "line 2, column 11: "),
        ("a.toml", b"mcp_servers = 1\n", "line 1, column 15: \"mcp_servers\" is not a table"),
    ];
    for (name, content, saying) in cases {
        let home = Home::new();
        let file = home.write(&format!("work/{name}"), content);
        for action in [&["doctor", name][..], &["doctor", "--wrap", "--yes", name]] {
            let ran = home.run(action).refused(1, &[name, saying]);
            assert!(ran.stderr.len() < 300, "{ran:#?}");
        }
        assert_eq!(fs::read(&file).expect("a file"), content, "{saying}");
        assert_eq!(fs::read_dir(home.0.file("work")).expect("a folder").count(), 1, "{saying}");
    }
}

#[test]
fn a_server_that_is_wrong_does_not_keep_the_others_from_being_wrapped() {
    let content = r#"{"mcpServers": {
  "number": {"command": 7}, "list": {"command": "x", "args": "y"}, "items": {"command": "x", "args": [1]},
  "neither": {"disabled": true}, "text": "npx", "twice": {"command": "x", "command": "y"},
  "same": {"command": "x"}, "same": {"command": "y"}, "run": {"command": "govstore", "args": ["run", "--"]},
  "--help": {"command": "x", "args": ["\u001b[31m"]}, "": {"command": "x"}, "good": {"command": "x"}
}}"#;
    let home = Home::with(&[(".cursor/mcp.json", content)]);
    let sayings = [
        "number in ",
        "its command is not a string",
        "args are not a list",
        "one of its args is not a string",
        "neither a command nor a url",
        "not an object",
        "\"command\" is there twice",
        "of that name is there twice",
        "put the server's command behind",
    ];
    let ran = home.run(&["doctor", "--wrap", "--yes"]).refused(1, &sayings);
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:#?}");
    let kept = home.servers();
    let kept: Vec<&Value> =
        kept.iter().filter(|server| server["keeper"] == "run").map(|server| &server["name"]).collect();
    assert_eq!(kept, ["--help", "", "good"]);
    assert!(
        home.read(".cursor/mcp.json").contains("\"run\", \"--name=--help\", \"--\", \"x\", \"\\u001b[31m\"")
    );
    home.run(&["doctor", "--unwrap", "--yes"]).refused(1, &["number in "]);
    assert_eq!(home.read(".cursor/mcp.json"), content);
}

#[test]
fn odd_files_in_the_places_do_no_harm() -> TestResult {
    let home =
        Home::with(&[(".claude.json", ""), (".codex/config.toml", ""), (".config/zed/settings.json", " \n")]);
    home.run(&["doctor"]).done();
    home.run(&["doctor", "--wrap", "--yes"]).done();
    // A folder, a pipe, a link into nothing, a file that nobody may read.
    fs::create_dir_all(home.0.file(".cursor/mcp.json"))?;
    home.run(&["doctor"]).refused(1, &["cannot read", ".cursor/mcp.json: it is not a file"]);
    fs::remove_dir(home.0.file(".cursor/mcp.json"))?;
    assert!(Command::new("mkfifo").arg(home.0.file(".cursor/mcp.json")).status()?.success());
    home.run(&["doctor", "--wrap", "--yes"]).refused(1, &[".cursor/mcp.json: it is not a file"]);
    fs::remove_file(home.0.file(".cursor/mcp.json"))?;
    symlink("nothing", home.0.file(".cursor/mcp.json"))?;
    home.run(&["doctor"]).refused(1, &["cannot read", "No such file"]);
    fs::remove_file(home.0.file(".cursor/mcp.json"))?;
    let file = home.write(".cursor/mcp.json", CURSOR);
    fs::set_permissions(&file, Permissions::from_mode(0o000))?;
    if fs::read(&file).is_err() {
        home.run(&["doctor"]).refused(1, &["cannot read", "Permission denied"]); // root may read it
    }
    fs::set_permissions(&file, Permissions::from_mode(0o444))?;
    home.run(&["doctor", "--wrap", "--yes"]).refused(1, &["cannot write", "it is read-only"]);
    assert_eq!(home.read(".cursor/mcp.json"), CURSOR);
    // Ten megabytes that are right.
    let history = format!(
        "{{\"history\": [\"{}\"],\n\"mcpServers\": {{\"a\": {{\"command\": \"x\"}}}}}}",
        "h".repeat(10 << 20)
    );
    home.write(".claude.json", &history);
    fs::remove_file(&file)?;
    let ran = home.run(&["doctor", "--wrap", "--yes"]).done();
    assert!(ran.stdout.len() < 4_096, "the long line did not change");
    home.run(&["doctor", "--unwrap", "--yes"]).done();
    assert_eq!(home.read(".claude.json"), history);
    assert!(Home::new().run(&["doctor"]).done().stdout.contains("no client here has servers configured"));
    Ok(())
}

/// Three hundred files in spellings that the formats allow. What failed is made again with its seed.
#[test]
fn any_spelling_comes_back_byte_for_byte() {
    let seed = std::env::var("DOCTOR_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("DOCTOR_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let home = Home::new();
    let mut files: Vec<(String, String)> = Vec::new();
    for number in 0..300 {
        let (ending, content) = if random.bool() {
            ("json", json_spelling(&mut random))
        } else {
            ("toml", toml_spelling(&mut random))
        };
        let name = format!("{number}.{ending}");
        home.write(&format!("work/{name}"), &content);
        files.push((name, content));
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let run = |arguments: &[&str]| home.run(&[arguments, names.as_slice()].concat());
    let commands = |ran: &Ran, keeper: &str| -> Vec<Value> {
        let files = ran.json()["files"].as_array().expect("files").clone();
        let servers = files.iter().flat_map(|file| file["servers"].as_array().expect("servers").clone());
        let servers: Vec<Value> = servers.collect();
        assert!(servers.iter().all(|server| server["keeper"] == keeper), "{ran:?}");
        servers.iter().map(|server| json!([server["name"], server["argv"]])).collect()
    };
    let before = commands(&run(&["--json", "doctor"]), "none");
    assert!(before.len() >= 300);
    let ran = run(&["--json", "doctor", "--wrap", "--yes"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let after = commands(&run(&["--json", "doctor"]), "run");
    assert_eq!(after, before);
    for (name, content) in &files {
        let wrapped = home.read(&format!("work/{name}"));
        assert_ne!(&wrapped, content);
        // A line that has no part of a server in it is there as it was.
        let is_untouched = |line: &&str| {
            ["// untouched", "# untouched", "model"].iter().any(|start| line.trim_start().starts_with(start))
        };
        for line in content.lines().filter(is_untouched) {
            assert!(wrapped.lines().any(|kept| kept == line), "{name}: {line:?} in {wrapped}");
        }
    }
    let ran = run(&["--json", "doctor", "--unwrap", "--yes"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for (name, content) in &files {
        assert_eq!(&home.read(&format!("work/{name}")), content, "{name}");
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts"))
}

#[test]
fn processes_without_a_keeper_are_counted_and_orphans_among_them() -> TestResult {
    let home = Home::new();
    // Words that no other process of this machine has.
    let script = home.write("server.sh", "#!/bin/sh\nread line\n");
    let script = script.to_str().expect("UTF-8");
    let seconds = format!("86400.{}", std::process::id());
    let config = json!({"mcpServers": {
        "script": {"command": script, "args": ["one"]},
        "other": {"command": script, "args": ["two"]},
        "sleep": {"command": "sleep", "args": [seconds]},
        "wrapped": {"command": "govstore", "args": ["run", "--", script, "three"]},
    }});
    home.write(".cursor/mcp.json", config.to_string());
    let running = |name: &str| -> (Vec<u64>, Vec<u64>) {
        let server = home.servers().into_iter().find(|server| server["name"] == name).expect("a server");
        let pids =
            |key: &str| server[key].as_array().expect("PIDs").iter().filter_map(Value::as_u64).collect();
        (pids("unkept_pids"), pids("orphan_pids"))
    };
    assert_eq!(running("script"), (vec![], vec![]));

    let client = start(Command::new("sh").arg(script).arg("one"));
    let kept =
        start(Command::new("sh").arg(script).arg("two").env("GOVSTORE_RUN_ID", "0123456789abcdef".repeat(2)));
    let older = start(Command::new("sh").arg(script).arg("three"));
    // Its parent ends at once.
    let orphan =
        Command::new("sh").args(["-c", "sleep \"$0\" > /dev/null 2>&1 & echo $!", &seconds]).output()?;
    let orphan: u64 = String::from_utf8(orphan.stdout)?.trim().parse()?;
    let stop = Orphan(orphan);
    wait_until("the script to be known", || running("script").0 == [u64::from(client.0.id())]);
    assert_eq!(running("script").1, [0; 0], "its client is this test");
    assert_eq!(running("other"), (vec![], vec![]), "PID {} has a keeper", kept.0.id());
    wait_until("the other script", || running("wrapped") == (vec![u64::from(older.0.id())], vec![]));
    wait_until("the orphan", || running("sleep") == (vec![orphan], vec![orphan]));
    let ran = home.run(&["doctor"]).refused(1, &["3 processes run without one, 1 orphan"]);
    assert!(ran.stdout.contains(&format!("sleep runs without a keeper: PID {orphan}\n")), "{ran:#?}");
    drop(stop);
    wait_until("its end", || running("sleep") == (vec![], vec![]));
    Ok(())
}

/// A process that is nobody's child, and ends with the test.
struct Orphan(u64);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.to_string()).status();
    }
}

#[test]
fn the_folders_that_clients_take_from_the_environment_are_looked_at() {
    let home = Home::with(&[
        ("codex/config.toml", CODEX),
        ("claude/.claude.json", CLAUDE_CODE),
        ("xdg/zed/settings.json", ZED),
    ]);
    let mut command = home.command(&["--json", "doctor"]);
    command.env("CODEX_HOME", home.0.file("codex")).env("CLAUDE_CONFIG_DIR", home.0.file("claude"));
    command.env("XDG_CONFIG_HOME", home.0.file("xdg"));
    let listed = Ran::of(&mut command).json();
    let files = listed["files"].as_array().expect("files");
    let found: Vec<&Value> = files.iter().map(|file| &file["client"]).collect();
    let expected: &[&str] =
        if cfg!(target_os = "macos") { &["claude-code", "codex"] } else { &["claude-code", "codex", "zed"] };
    assert_eq!(found, expected);
    assert!(Path::new(files[0]["path"].as_str().expect("a path")).starts_with(home.0.path()));
}

#[test]
fn the_documentation_shows_what_is_printed() -> TestResult {
    // One that no other process of this machine sleeps for, as long to write as that of the page.
    let seconds = (1_000 + std::process::id() % 9_000).to_string();
    let codex = "[mcp_servers.fetch]\ncommand = \"uvx\" # from PyPI\nargs = [\"mcp-server-fetch\"]\n\n\
             [mcp_servers.clock]\ncommand = \"sleep\"\nargs = [\"7283\"]\n";
    let codex = codex.replace("7283", &seconds);
    let home = Home::with(&[
        (
            ".claude.json",
            r#"{
  "numStartups": 12,
  "mcpServers": {
    "files": {
      "command": "npx",
      "args": [
        "-y",
        "@modelcontextprotocol/server-filesystem",
        "/home/ana/notes"
      ]
    },
    "governance": { "command": "govstore", "args": ["serve"] },
    "github": { "type": "http", "url": "https://api.githubcopilot.com/mcp/" }
  }
}
"#,
        ),
        (".codex/config.toml", &codex),
    ]);
    let bin = home.0.file(".local/bin");
    fs::create_dir_all(&bin)?;
    symlink(GOVSTORE, bin.join("govstore"))?;
    let started =
        Command::new("sh").args(["-c", "sleep \"$0\" > /dev/null 2>&1 & echo $!", &seconds]).output()?;
    let pid = String::from_utf8(started.stdout)?.trim().to_owned();
    let _stop = Orphan(pid.parse()?);

    let is_there = |server: &Value| server["orphan_pids"] != json!([]);
    wait_until("the process to be known", || home.servers().iter().any(is_there));

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
    let page = fs::read_to_string(page)?;
    let shown = page.split("```console\n$ govstore ").skip(1).filter_map(|block| block.split("```").next());
    let mut compared = 0;
    for block in shown {
        let (line, expected) = block.split_once('\n').ok_or("a command with its output")?;
        let mut command = home.command(&line.split(' ').collect::<Vec<_>>());
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        let mut said = || {
            let ran = Ran::of(&mut command);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let said = said.replace(&home.0.path().display().to_string(), "/home/ana");
            said.replace(&format!("PID {pid}"), "PID 20350")
                .replace(&format!("sleep {seconds}"), "sleep 7283")
        };
        assert_eq!(said(), expected, "{line}");
        compared += 1;
    }
    assert_eq!(compared, 2);
    Ok(())
}
