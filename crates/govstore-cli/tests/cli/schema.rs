//! A schema that is not ours: what somebody added to it or changed in it is named, and neither opened nor restored.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::support::{Folder, Ran};

/// What a person may do with the `sqlite3` shell, and what is said of it. Each would change what is true, and no error
/// would ever tell.
const TAMPERED: [(&str, &str); 6] = [
    (
        "CREATE TRIGGER all_is_well AFTER UPDATE ON agents WHEN NEW.risk_score > 0.15
         BEGIN UPDATE agents SET risk_score = 0.01 WHERE agent_id = NEW.agent_id; END",
        "trigger \"all_is_well\" on agents is not ours",
    ),
    (
        "CREATE TRIGGER forget AFTER INSERT ON agent_updates
         BEGIN DELETE FROM agent_updates WHERE agent_id = NEW.agent_id AND update_no = NEW.update_no - 1; END",
        "trigger \"forget\" on agent_updates is not ours",
    ),
    (
        "DROP VIEW agent_health;
         CREATE VIEW agent_health AS SELECT agent_id, 'healthy' AS health_status FROM agents",
        "view agent_health is not as the migrations make it",
    ),
    ("CREATE UNIQUE INDEX once ON agents (agent_id, notes)", "unique index \"once\" on agents is not ours"),
    (
        "CREATE TABLE watched (agent_id TEXT REFERENCES agents (agent_id))",
        "table \"watched\" is not ours and refers to agents",
    ),
    ("DROP TRIGGER agents_total_updates_never_falls", "trigger agents_total_updates_never_falls is missing"),
];

/// A frozen dump for each schema version before the present one.
const FROZEN: [(i32, &str); 2] = [
    (1, include_str!("../../../../tests/schemas/version_1.sql")),
    (2, include_str!("../../../../tests/schemas/version_2.sql")),
];

/// The database of a folder, made anew by `sql`.
fn made_by(folder: &Folder, sql: &str) {
    let _ = fs::remove_file(folder.db());
    folder.sql().execute_batch(sql).expect("a database");
    fs::set_permissions(folder.db(), fs::Permissions::from_mode(0o600)).expect("permissions");
}

/// No command opens the database: each names what is wrong with it, and leaves it as it is.
#[track_caller]
fn refused(folder: &Folder, finding: &str) {
    let before = folder.snapshot();
    for arguments in [&["agents"][..], &["update", "writer"], &["health"], &["check"], &["reap"]] {
        let sayings = ["does not have the schema that govstore makes", finding, "left as it is", "backup"];
        folder.run(arguments).refused(1, &sayings);
        assert_eq!(folder.snapshot(), before, "{arguments:?}");
    }
}

#[test]
fn a_tampered_schema_is_refused_and_a_backup_takes_its_place() {
    for (change, finding) in TAMPERED {
        let folder = Folder::with_writer();
        folder.run(&["backup", path(&folder.file("good.db"))]).done();
        folder.sql().execute_batch(change).expect("a change");
        refused(&folder, finding);
        folder.run(&["restore", path(&folder.file("good.db"))]).done();
        folder.run(&["update", "writer"]).done();
        folder.run(&["check"]).done();
    }
}

#[test]
fn a_tampered_backup_is_not_restored() {
    for (change, finding) in TAMPERED {
        let folder = Folder::with_writer();
        let copy = folder.file("copy.db");
        folder.run(&["backup", path(&copy)]).done();
        Connection::open(&copy).and_then(|copy| copy.execute_batch(change)).expect("a change");
        let before = folder.snapshot();
        folder.run(&["restore", path(&copy)]).refused(1, &[path(&copy), finding]);
        assert_eq!(folder.snapshot(), before, "{change}");
        folder.run(&["update", "writer"]).done();
    }
}

/// What a restore has replaced is kept, and may be tampered with as well.
#[test]
fn so_it_is_with_a_database_that_was_replaced() {
    let folder = Folder::with_writer();
    let copy = folder.file("copy.db");
    folder.run(&["backup", path(&copy)]).done();
    let report = folder.run(&["--json", "restore", path(&copy)]).done().json();
    let replaced = Path::new(report["replaced"].as_str().expect("a path"));
    let (change, finding) = TAMPERED[1];
    Connection::open(replaced).and_then(|old| old.execute_batch(change)).expect("a change");
    folder.run(&["update", "writer"]).done(); // its log is turned on by that, and stays
    let before = folder.snapshot();
    folder.run(&["restore", path(replaced)]).refused(1, &[finding]);
    assert_eq!(folder.snapshot(), before);
    Connection::open(replaced).and_then(|old| old.execute_batch("DROP TRIGGER forget")).expect("a change");
    folder.run(&["restore", path(replaced)]).done();
}

#[test]
fn an_old_schema_is_looked_at_before_it_is_migrated() {
    for (version, dump) in FROZEN {
        for (change, finding) in TAMPERED {
            let folder = Folder::new();
            made_by(&folder, &format!("{dump};{change}"));
            refused(&folder, finding);
            assert_eq!(folder.number("PRAGMA user_version"), i64::from(version));

            let copy = folder.file("copy.db");
            fs::rename(folder.db(), &copy).expect("a copy");
            folder.run(&["restore", path(&copy)]).refused(1, &[finding]);
            assert!(!folder.db().exists());
        }
        let folder = Folder::new();
        made_by(&folder, dump);
        folder.run(&["update", "writer"]).done();
    }
}

/// Tables, views and indices that refuse nothing, under names of their own.
const OF_PEOPLE: &str = "
    CREATE TABLE owners (agent_id TEXT PRIMARY KEY, owner TEXT NOT NULL UNIQUE);
    INSERT INTO owners VALUES ('writer', 'ada');
    CREATE INDEX owners_by_owner ON owners (owner);
    CREATE TRIGGER owners_are_named BEFORE INSERT ON owners WHEN NEW.owner = '' BEGIN SELECT RAISE(ABORT, 'no'); END;
    CREATE INDEX agents_by_notes ON agents (notes);
    CREATE VIEW owned AS SELECT h.*, o.owner FROM agent_health AS h JOIN owners AS o ON o.agent_id = h.agent_id;
    CREATE VIEW servers AS SELECT name, count(*) AS number FROM processes GROUP BY name;
    CREATE VIEW patience AS SELECT lock_timeout_ms FROM settings;";

#[test]
fn what_people_keep_beside_it_is_theirs() {
    let folder = Folder::with_writer();
    folder.sql().execute_batch(OF_PEOPLE).expect("tables of their own");
    works(&folder);
}

/// It survives a migration too.
#[test]
fn so_it_is_in_a_database_of_an_old_schema() {
    let folder = Folder::new();
    made_by(&folder, &format!("{};{OF_PEOPLE}", FROZEN[1].1));
    works(&folder);
}

fn works(folder: &Folder) {
    folder.run(&["update", "writer"]).done();
    let checked: Ran = folder.run(&["check"]).done();
    assert!(checked.stdout.contains("table \"owners\""), "{}", checked.stdout);
    folder.run(&["backup", path(&folder.file("copy.db"))]).done();
    folder.run(&["restore", path(&folder.file("copy.db"))]).done();
    folder.run(&["update", "writer"]).done();
    assert_eq!(folder.number("SELECT count(*) FROM owned"), 1);
    assert!(folder.number("SELECT lock_timeout_ms FROM patience") > 0);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}
