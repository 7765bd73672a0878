//! Whether a schema is ours: what the migrations make, and nothing of others that changes what it means.
//!
//! A trigger that somebody added may delete history, a view that somebody changed may call a critical agent
//! healthy, and no error would ever say so. So each object of ours must have the very text that the migrations give
//! it, and nothing of others may act on it: no trigger, no unique index, no reference to a table of ours, which
//! would keep its rows from going. What people keep beside it under names of their own is theirs: tables, views,
//! indices that refuse nothing.

use rusqlite::Connection;

use super::migrations::{SUPPORTED, fresh};
use crate::backend::statements::TxResult;

/// What migrations leave in a new database, as `sqlite_schema` has it. Generated, since to run them at each open would
/// take longer than the open: `GOVSTORE_WRITE_SCHEMA=1 cargo test --lib schema`.
const PRESENT: &str = include_str!("../../../migrations/sqlite/schema.sql");

/// What ends each statement of such a text.
const END: &str = ";\n\n";

/// Tables of SQLite's own that our SQL asks by name; one in the database would answer in their place.
const SQLITES_OWN: [&str; 2] = ["json_each", "json_tree"];

/// A schema beside the one that the migrations make.
#[derive(Default)]
pub(super) struct Comparison {
    /// What is not as it should be, in words.
    pub broken: Vec<String>,
    /// What others keep there, and may.
    pub others: Vec<String>,
}

/// Something that the migrations make.
struct Object<'t> {
    kind: &'t str,
    name: &'t str,
    sql: &'t str,
}

/// A row of `sqlite_schema`.
struct Row {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

/// Compares the schema of a database with that of a schema version.
pub(super) fn compare(conn: &Connection, version: i32) -> TxResult<Comparison> {
    if version == SUPPORTED {
        return compare_with(PRESENT, conn);
    }
    compare_with(&text(&fresh(version)?)?, conn)
}

fn compare_with(expected: &str, conn: &Connection) -> TxResult<Comparison> {
    let expected: Vec<Object<'_>> = expected.split_terminator(END).filter_map(Object::parse).collect();
    let found = rows(conn)?;
    let mut compared = Comparison::default();
    for object in &expected {
        match found.iter().find(|row| object.is(row)) {
            None => compared.broken.push(format!("{} is missing", object.called())),
            Some(row) if row.sql != object.sql => {
                compared.broken.push(format!("{} is not as the migrations make it", object.called()));
            }
            Some(_) => {}
        }
    }
    let is_ours = |name: &str| expected.iter().any(|object| object.has_rows() && object.is_called(name));
    let foreign = || found.iter().filter(|row| !expected.iter().any(|object| object.is(row)));
    for Row { kind, name, table, sql } in foreign() {
        let on_ours = is_ours(table);
        if kind == "trigger" && on_ours {
            compared.broken.push(format!("trigger {name:?} on {table} is not ours"));
        } else if kind == "index" && on_ours && !sql.starts_with("CREATE INDEX ") {
            compared.broken.push(format!("unique index {name:?} on {table} is not ours"));
        } else if is_sqlites_own(name) {
            compared.broken.push(format!("{kind} {name:?} has a name that is SQLite's own"));
        } else {
            compared.others.push(format!("{kind} {name:?}"));
        }
    }
    if compared.broken.is_empty() && foreign().any(|row| row.kind == "table") {
        for (table, parent) in references(conn)? {
            if !is_ours(&table) && is_ours(&parent) {
                compared.broken.push(format!("table {table:?} is not ours and refers to {parent}"));
            }
        }
    }
    Ok(compared)
}

impl<'t> Object<'t> {
    /// SQLite keeps a statement as it was written, but for its first words: `CREATE TABLE`, `CREATE UNIQUE INDEX`.
    fn parse(sql: &'t str) -> Option<Self> {
        let mut words = sql.split_ascii_whitespace().skip(1).filter(|word| *word != "UNIQUE");
        Some(Self { kind: words.next()?, name: words.next()?, sql })
    }

    fn is(&self, row: &Row) -> bool {
        self.kind.eq_ignore_ascii_case(&row.kind) && self.name == row.name
    }

    /// SQLite takes names as they come, whatever the case of their letters.
    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn has_rows(&self) -> bool {
        matches!(self.kind, "TABLE" | "VIEW")
    }

    fn called(&self) -> String {
        format!("{} {}", self.kind.to_ascii_lowercase(), self.name)
    }
}

fn is_sqlites_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("pragma_") || SQLITES_OWN.contains(&name.as_str())
}

/// What was made by a statement; the indices of a `UNIQUE` or a `PRIMARY KEY` were not. SQLite's own tables are left
/// out, such as the statistics of `ANALYZE`.
fn rows(conn: &Connection) -> TxResult<Vec<Row>> {
    let mut statement = conn.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
         WHERE sql IS NOT NULL AND NOT (type = 'table' AND name LIKE 'sqlite\\_%' ESCAPE '\\')
         ORDER BY type, name",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Row { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Every foreign key: the table that has it, and the table that it refers to.
fn references(conn: &Connection) -> TxResult<Vec<(String, String)>> {
    let mut statement = conn.prepare(
        "SELECT s.name, f.\"table\"
         FROM sqlite_schema AS s
         JOIN pragma_foreign_key_list(s.name) AS f
         WHERE s.type = 'table'",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A whole schema as one text.
fn text(conn: &Connection) -> TxResult<String> {
    Ok(rows(conn)?.into_iter().map(|row| row.sql + END).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn the_schema_that_is_compared_with_is_what_the_migrations_make() -> TestResult {
        let made = fresh(SUPPORTED)?;
        let made_text = text(&made).map_err(|fault| format!("{fault:?}"))?;
        if std::env::var_os("GOVSTORE_WRITE_SCHEMA").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/schema.sql"), &made_text)?;
            return Ok(());
        }
        let how = "GOVSTORE_WRITE_SCHEMA=1 cargo test --lib schema";
        assert_eq!(PRESENT, made_text, "a migration was changed: {how}");
        let found = rows(&made).map_err(|fault| format!("{fault:?}"))?;
        let parsed: Vec<_> = PRESENT.split_terminator(END).filter_map(Object::parse).collect();
        assert_eq!(parsed.len(), found.len());
        assert!(parsed.iter().zip(&found).all(|(object, row)| object.is(row) && object.sql == row.sql));
        Ok(())
    }

    fn findings(version: i32, change: &str) -> Result<Comparison, Box<dyn std::error::Error>> {
        let conn = fresh(version)?;
        conn.execute_batch(change)?;
        Ok(compare(&conn, version).map_err(|fault| format!("{fault:?}"))?)
    }

    #[test]
    fn what_changes_the_meaning_of_ours_is_named() -> TestResult {
        for version in 1..=SUPPORTED {
            for (change, finding) in [
                (
                    "CREATE TRIGGER mine AFTER INSERT ON agent_updates BEGIN DELETE FROM agent_events; END",
                    r#"trigger "mine" on agent_updates is not ours"#,
                ),
                (
                    "CREATE TRIGGER mine AFTER UPDATE ON AGENTS BEGIN SELECT 1; END",
                    r#"trigger "mine" on AGENTS is not ours"#,
                ),
                (
                    "CREATE TRIGGER mine INSTEAD OF DELETE ON agent_health BEGIN SELECT 1; END",
                    r#"trigger "mine" on agent_health is not ours"#,
                ),
                (
                    "create unique  index mine ON agents (notes)",
                    r#"unique index "mine" on agents is not ours"#,
                ),
                ("DROP VIEW fleet_health", "view fleet_health is missing"),
                (
                    "DROP TRIGGER agents_total_updates_never_falls",
                    "trigger agents_total_updates_never_falls is missing",
                ),
                ("DROP INDEX agent_events_by_agent", "index agent_events_by_agent is missing"),
                (
                    "DROP INDEX agent_events_by_agent; CREATE INDEX agent_events_by_agent ON agent_events (agent_id)",
                    "index agent_events_by_agent is not as the migrations make it",
                ),
                (
                    "DROP VIEW fleet_health; CREATE VIEW fleet_health AS SELECT 'healthy' AS status",
                    "view fleet_health is not as the migrations make it",
                ),
                (
                    "DROP VIEW fleet_health; CREATE TABLE fleet_health (status TEXT)",
                    "view fleet_health is missing",
                ),
                (
                    "ALTER TABLE agent_events ADD COLUMN mine TEXT",
                    "table agent_events is not as the migrations make it",
                ),
                (
                    "CREATE TABLE mine (agent REFERENCES Agents ON DELETE RESTRICT)",
                    r#"table "mine" is not ours and refers to Agents"#,
                ),
                (
                    "CREATE TABLE pragma_user_version (user_version)",
                    r#"table "pragma_user_version" has a name that is SQLite's own"#,
                ),
            ] {
                let found = findings(version, change)?.broken;
                assert_eq!(found, [finding], "version {version}: {change}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_people_keep_under_names_of_their_own_is_theirs() -> TestResult {
        for version in 1..=SUPPORTED {
            let compared = findings(
                version,
                "CREATE TABLE mine (id INTEGER PRIMARY KEY, agent TEXT UNIQUE, other REFERENCES mine);
                 CREATE UNIQUE INDEX mine_by_other ON mine (other);
                 CREATE TRIGGER mine_counted AFTER INSERT ON mine BEGIN DELETE FROM mine WHERE id < 10; END;
                 CREATE INDEX agents_by_notes ON agents (notes);
                 CREATE VIEW worst AS SELECT * FROM agent_health WHERE risk_score > 0.5;
                 CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
                 ANALYZE",
            )?;
            assert_eq!(compared.broken, [""; 0], "version {version}");
            assert_eq!(compared.others.len(), 6, "version {version}: {:?}", compared.others);
            assert!(findings(version, "")?.others.is_empty());
        }
        Ok(())
    }
}
