//! `report`: one page, whole and harmless whatever the database holds.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::pipe;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::support::{Folder, GOVSTORE, Ran};

/// Texts that HTML, a browser or the eye would obey.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</title></style></svg><h1>x",
    "&lt;b&gt; &amp;amp; &#x3c;",
    "' onclick='alert(1)",
    "\u{202e}gpj.exe",
    "עברית العربية (1)",
    "👩\u{200d}👩\u{200d}👧\u{200d}👦 測試",
];

/// The only elements that have no end.
const VOID: [&str; 1] = ["meta"];

/// A page that was parsed: it is well-formed, or the parser has panicked.
struct Page {
    source: String,
    elements: BTreeSet<String>,
    attributes: BTreeSet<String>,
    /// All text, a blank between elements, without style.
    text: String,
}

impl Page {
    #[track_caller]
    fn of(folder: &Folder, arguments: &[&str]) -> Self {
        let ran = folder.run(&[&["report", "--out", "-"], arguments].concat()).done();
        Self::parse(&ran.stdout)
    }

    /// Strict: every element is closed in order, every attribute quoted, every `&` an entity that we write.
    #[track_caller]
    fn parse(source: &str) -> Self {
        let mut page = Self {
            elements: BTreeSet::new(),
            attributes: BTreeSet::new(),
            text: String::new(),
            source: source.to_owned(),
        };
        let mut rest = source.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
        let mut open: Vec<&str> = Vec::new();
        while let Some((text, tag)) = rest.split_once('<') {
            if open.last() != Some(&"style") {
                page.text.push_str(&unescaped(text));
                page.text.push(' ');
            }
            rest = if let Some(end) = tag.strip_prefix('/') {
                let (name, rest) = end.split_once('>').expect("the end of an end");
                assert_eq!(open.pop(), Some(name), "before {rest:.60}");
                rest
            } else {
                page.start(tag, &mut open)
            };
        }
        assert_eq!((open.as_slice(), rest), (&[][..], "\n"));
        page
    }

    /// Reads a start tag; what follows it is returned.
    #[track_caller]
    fn start<'s>(&mut self, tag: &'s str, open: &mut Vec<&'s str>) -> &'s str {
        let length = tag.find(|c: char| !c.is_ascii_alphanumeric()).expect("the end of a name");
        let (name, mut rest) = tag.split_at(length);
        assert!(!name.is_empty(), "a name after < in {tag:.60}");
        self.elements.insert(name.to_owned());
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (key, value) = attribute.split_once("=\"").expect("a quoted value");
            assert!(key.chars().all(|c| c.is_ascii_alphabetic() || c == '-'), "{key:?}");
            let (value, after) = value.split_once('"').expect("the end of a value");
            assert!(!value.contains('<'), "{value:?}");
            unescaped(value);
            self.attributes.insert(key.to_owned());
            rest = after;
        }
        if !VOID.contains(&name) {
            open.push(name);
        }
        rest.strip_prefix('>').unwrap_or_else(|| panic!("the end of <{name}: {rest:.60}"))
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is missing: {}", self.text);
        }
    }

    fn count(&self, part: &str) -> usize {
        self.source.matches(part).count()
    }
}

/// A text as a browser shows it.
#[track_caller]
fn unescaped(text: &str) -> String {
    assert!(!text.contains('>'), "{text:?}");
    for (at, _) in text.match_indices('&') {
        let entity = ["&lt;", "&gt;", "&amp;", "&quot;"].iter().any(|entity| text[at..].starts_with(entity));
        assert!(entity, "{:.60}", &text[at..]);
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[test]
fn the_page_has_the_fleet_and_every_agent_with_its_boundaries() {
    let folder = Folder::with_writer();
    for complexity in ["0.5", "0.9", "1"] {
        folder.run(&["update", "tester", "--complexity", complexity, "--parameters", complexity]).done();
    }
    folder.run(&["tag", "writer", "--add", "production"]).done();
    folder.run(&["note", "writer", "first line\nsecond line"]).done();
    folder.run(&["pause", "writer", "--reason", "too eager"]).done();
    folder.run(&["config", "set", "risk_healthy_max", "0.125"]).done();
    folder.run(&["config", "set", "risk_degraded_max", "0.45"]).done();
    let page = Page::of(&folder, &[]);
    page.says(&[
        "2 agents in service",
        "tester",
        "writer",
        "Risk below 12.50% is healthy, from 45.00% on critical",
        " 12.5% ",
        " 45% ",
        "approve 1 (33.33%), revise 2 (66.67%), reject 0 (0.00%)",
        "production",
        "first line\nsecond line",
        "too eager",
        "paused",
        "No processes are registered.",
        "The reaper has done nothing yet.",
        folder.db().to_str().expect("a readable path"),
        concat!("govstore ", env!("CARGO_PKG_VERSION")),
    ]);
    // Six plots an agent, the worse agent first; each says what it shows.
    assert_eq!(page.count("<figure>"), 12);
    assert_eq!(page.count("role=\"img\" aria-label="), 12);
    assert!(page.text.find("tester") < page.text.find("writer"));
    assert_eq!(page.count("class=\"threshold\""), 2 * 8);
    assert_eq!(page.count("class=\"zone critical\""), 2);
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let folder = Folder::with_writer();
    let page = Page::of(&folder, &[]);
    for part in ["http:", "https:", "//", "url(", "@import", "javascript:"] {
        assert!(!page.source.contains(part), "{part}");
    }
    for element in ["script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"] {
        assert!(!page.elements.contains(element), "{element}");
    }
    assert!(!page.attributes.iter().any(|name| name.starts_with("on") || name == "src" || name == "style"));
    assert!(page.source.contains("content=\"default-src 'none'; "));
}

#[test]
fn hostile_texts_are_only_text() {
    let folder = Folder::with_writer();
    let harmless = Page::of(&folder, &[]);
    let wide = "測".repeat(128);
    for hostile in HOSTILE.into_iter().chain([wide.as_str()]) {
        folder.run(&["update", hostile, "--complexity", "0.9"]).done();
        folder.run(&["tag", hostile, "--add", hostile]).done();
        folder.run(&["note", hostile, &format!("{hostile}\n\u{1b}[2J{hostile}")]).done();
        folder.run(&["pause", hostile, "--reason", hostile]).done();
    }
    let sql = folder.sql();
    let unseen = "UPDATE agents SET last_decision_reason = agent_id || char(0), notes = notes || char(0)";
    sql.execute(unseen, []).expect("all agents");
    for hostile in HOSTILE {
        sql.execute(
            "INSERT INTO processes (name, version, pid, boot_id, start_ticks, registered_at, last_activity_at,
               last_activity_monotonic_ms)
             VALUES (?1, ?1, 1 + (SELECT count(*) FROM processes), 'another', 1, '2026-01-01T00:00:00.000Z',
               '2026-01-01T00:00:00.000Z', 0)",
            [hostile],
        )
        .and_then(|_| {
            sql.execute(
                "INSERT INTO reap_events (recorded_at, process_id, name, version, pid, boot_id, start_ticks,
                   verdict, evidence, signals, outcome, reaper_pid)
                 VALUES ('2026-01-01T00:00:00.000Z', 1, ?1, ?1, 77, 'another', 1, 'stale', ?1, ?1, 'killed', 1)",
                [hostile],
            )
        })
        .expect("a process and an entry of the ledger");
    }
    sql.execute(
        "INSERT INTO agent_locks (agent_id, token, process_id, acquired_at, renewed_at, reason)
         SELECT agent_id, 1, 1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', agent_id FROM agents",
        [],
    )
    .expect("locks");
    let page = Page::of(&folder, &[]); // well-formed, or this panics

    let usual: BTreeSet<String> =
        ["bdi", "div", "li", "ul", "thead"].map(str::to_owned).into_iter().collect();
    let added: Vec<_> =
        page.elements.difference(&harmless.elements).filter(|name| !usual.contains(*name)).collect();
    assert!(added.is_empty(), "{added:?}");
    assert!(!page.attributes.iter().any(|name| name.starts_with("on")));
    for hostile in HOSTILE.into_iter().chain([wide.as_str()]) {
        let shown = hostile.replace('\u{202e}', r"\u{202e}");
        // Agent twice, tag, two lines of the note, event, lock twice.
        assert!(page.text.matches(&shown).count() >= 8, "{shown:?}");
    }
    for character in page.source.chars() {
        assert!(!character.is_control() || character == '\n', "{character:?}");
        assert!(!matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'), "{character:?}");
    }
    assert_eq!(page.count("<article "), HOSTILE.len() + 2);
    page.says(&["earlier boot", "Locked agents", "stale", "killed", r"\u{1b}[2J", r"\u{0}"]);
}

#[test]
fn little_makes_a_page_too() {
    let folder = Folder::new();
    folder.run(&["config", "set", "history_limit", "none"]).done();
    let empty = Page::of(&folder, &[]);
    empty.says(&["There are no agents yet.", "No processes are registered."]);
    assert_eq!(empty.count("<article "), 0);

    let insert = "INSERT INTO agents (agent_id, created_at) VALUES ('newborn', '2026-01-01T00:00:00.000Z')";
    folder.sql().execute(insert, []).expect("an agent");
    let newborn = Page::of(&folder, &[]);
    newborn.says(&["newborn", "nothing is known of it yet", "No updates are kept."]);
    assert_eq!(newborn.count("<figure>"), 0);
}

#[test]
fn what_version_1_0_3_did_not_keep_is_missing_and_said_to_be() {
    let folder = Folder::with_writer();
    for _ in 0..2 {
        folder.run(&["update", "writer"]).done();
    }
    let forget =
        "UPDATE agent_updates SET applied_at = NULL, energy = NULL, integrity = NULL, entropy = NULL,
                    lambda1 = NULL, elapsed = NULL, decision_reason = NULL WHERE update_no < ?1";
    folder.sql().execute(forget, [3]).expect("two rows");
    let page = Page::of(&folder, &[]);
    page.says(&["(known for 1 of 3)"]);
    assert_eq!(page.count("<figure>"), 6);
    folder.sql().execute(forget, [4]).expect("three rows");
    let page = Page::of(&folder, &[]);
    page.says(&["(known for 0 of 3)"]);
    assert!(page.source.contains("aria-label=\"λ₁, not known;"));
}

#[test]
fn agents_without_plots_and_updates_that_are_left_out_are_owned_up_to() {
    let folder = Folder::with_writer();
    for agent in ["a", "b"] {
        for _ in 0..3 {
            folder.run(&["update", agent, "--complexity", "1"]).done();
        }
    }
    let page = Page::of(&folder, &["--plots", "2", "--last", "2"]);
    page.says(&["first 2 of 3 agents", "3 updates; the newest 2 are shown", "writer"]);
    assert_eq!((page.count("<article "), page.count("href=\"#agent-")), (2, 2));
    assert_eq!(Page::of(&folder, &["--plots", "0"]).count("<article "), 0);
    folder.run(&["report", "--out", "-", "--last", "0"]).refused(2, &["--last"]);
}

#[test]
fn an_earlier_report_is_replaced_and_nothing_else_is() {
    let folder = Folder::with_writer();
    let names = || -> BTreeSet<String> {
        let entries = fs::read_dir(folder.path()).expect("the folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    let file = folder.file("fleet.html");
    let path = file.to_str().expect("a readable path");
    let said = folder.run(&["report", "--out", path]).done().stdout;
    assert!(said.contains("fleet.html: 1 agent, 0.0 MB\n"), "{said}");
    folder.run(&["update", "newcomer"]).done();
    let written = folder.run(&["--json", "report", "--out", path]).done().json();
    let page = Page::parse(&fs::read_to_string(&file).expect("a page"));
    page.says(&["newcomer"]);
    assert_eq!((&written["agents"], &written["plotted"]), (&2.into(), &2.into()));
    assert_eq!(written["bytes"], page.source.len());

    // Through a link, the report behind it; the link stays.
    let link = folder.file("latest.html");
    symlink(&file, &link).expect("a link");
    folder.run(&["report", "--plots", "0", "--out", link.to_str().expect("a readable path")]).done();
    assert!(link.is_symlink() && fs::metadata(&file).expect("a file").len() < page.source.len() as u64);

    let expected: BTreeSet<String> = names();
    let milk = folder.write("shopping.txt", "milk");
    let database = folder.db();
    let database = database.to_str().expect("a readable path");
    let before = folder.snapshot();
    for other in [database, &milk] {
        folder.run(&["report", "--out", other]).refused(1, &[other, "is no report"]);
    }
    assert_eq!(folder.snapshot(), before);
    folder.run(&["report", "--out", folder.path().to_str().expect("a path")]).refused(1, &["no file"]);
    if Path::new("/dev/null").exists() {
        folder.run(&["report", "--out", "/dev/null"]).refused(1, &["/dev/null", "no file", "--out -"]);
    }
    let nowhere = folder.file("no-such-folder").join("x.html");
    folder
        .run(&["report", "--out", nowhere.to_str().expect("a path")])
        .refused(1, &["x.html", "No such file"]);
    folder.run(&["--json", "report", "--out", "-"]).refused(2, &["--json"]);
    folder.run(&["report"]).refused(2, &["--out"]);
    fs::remove_file(milk).expect("it was written");
    assert_eq!(names(), expected, "nothing temporary is left");
}

/// It tells what the database holds, which is for its owner alone.
#[test]
fn a_report_is_for_its_owner_alone_until_he_says_otherwise() {
    let folder = Folder::with_writer();
    let file = folder.file("fleet.html");
    let write = || {
        // A mask that takes nothing away: the command itself has to.
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 0; exec \"$0\" \"$@\"", GOVSTORE, "report", "--out"]).arg(&file);
        Ran::of(shell.env("GOVSTORE_DB", folder.db())).done();
        fs::metadata(&file).expect("a report").permissions().mode() & 0o777
    };
    assert_eq!(write(), 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
    assert_eq!(write(), 0o644, "a web server may serve it, and goes on");
}

#[test]
fn standard_output_may_end_early_or_be_full() {
    let folder = Folder::with_writer();
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    Ran::of(folder.command(&["report", "--out", "-"]).stdout(writer)).done();
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let ran = Ran::of(folder.command(&["report", "--out", "-"]).stdout(full));
        ran.refused(1, &["cannot write to standard output", "No space left"]);
    }
}

#[test]
fn a_report_of_no_database_makes_neither() {
    let folder = Folder::new();
    let file = folder.file("fleet.html");
    folder.run(&["report", "--out", file.to_str().expect("a path")]).refused(1, &["there is no database"]);
    assert!(fs::read_dir(folder.path()).expect("the folder").next().is_none());
}
