//! Rows as they are, for a copy of the database. The statements are made of the tables' columns.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{OptionalExtension, ToSql, params_from_iter};

use crate::backend::sqlite::column::{Numbers, Parsed, bytes};
use crate::backend::sqlite::transaction::{OnConnection, WriteTransaction};
use crate::backend::statements::{CopyReads, CopyWrites, TxResult};
use crate::model::copy::{Cell, Kind, Row, Table};

impl<C: OnConnection> CopyReads for C {
    fn count_rows(&self, table: &Table) -> TxResult<u64> {
        let sql = format!("SELECT count(*) FROM {} WHERE {}", table.name, table.only);
        Ok(self.conn().prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }

    fn rows_between(
        &self,
        table: &Table,
        after: &[Cell],
        up_to: &[Cell],
        limit: usize,
    ) -> TxResult<Vec<Row>> {
        let (key, columns) = (names(table, table.key_columns), names(table, table.columns.len()));
        let sql = format!(
            "SELECT {columns} FROM {} WHERE {} ORDER BY {key} LIMIT {limit}",
            table.name,
            between(table)
        );
        let mut statement = self.conn().prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(after.iter().chain(up_to)), |row| {
            let cells = table.columns.iter().enumerate().map(|(at, (_, kind))| cell(row, at, *kind));
            cells.collect::<rusqlite::Result<Row>>()
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn last_number(&self, table: &Table) -> TxResult<i64> {
        let (name, key) = (table.name, names(table, 1));
        let sql = format!(
            "SELECT max((SELECT coalesce(max({key}), 0) FROM {name}),
                        coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{name}'), 0))"
        );
        Ok(self.conn().prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }
}

impl CopyWrites for WriteTransaction<'_> {
    fn replace_rows(&self, table: &Table, after: &[Cell], up_to: &[Cell], rows: &[Row]) -> TxResult<()> {
        if !table.keeps_rows {
            let sql = format!("DELETE FROM {} WHERE {}", table.name, between(table));
            self.conn().prepare_cached(&sql)?.execute(params_from_iter(after.iter().chain(up_to)))?;
        }
        let sets = table.columns[table.key_columns..].iter();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
            table.name,
            names(table, table.columns.len()),
            vec!["?"; table.columns.len()].join(", "),
            names(table, table.key_columns),
            sets.map(|(name, _)| format!("{name} = excluded.{name}")).collect::<Vec<_>>().join(", "),
        );
        let mut statement = self.conn().prepare_cached(&sql)?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }

    fn raise_last_number(&self, table: &Table, number: i64) -> TxResult<()> {
        // Only a table that never gives a number twice has an entry.
        let mut seen = self
            .conn()
            .prepare_cached("SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE name = ?")?;
        if !seen.query_row([table.name], |row| row.get(0)).optional()?.unwrap_or(false) {
            return Ok(());
        }
        let mut raise =
            self.conn().prepare_cached("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1")?;
        if raise.execute((table.name, number))? == 0 {
            let mut insert =
                self.conn().prepare_cached("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)")?;
            insert.execute((table.name, number))?;
        }
        Ok(())
    }
}

/// The first columns of a table.
fn names(table: &Table, columns: usize) -> String {
    let names: Vec<&str> = table.columns[..columns].iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Which rows lie between two keys, whose columns are the parameters.
fn between(table: &Table) -> String {
    let key = names(table, table.key_columns);
    let parameters = vec!["?"; table.key_columns].join(", ");
    format!("({key}) > ({parameters}) AND ({key}) <= ({parameters}) AND {}", table.only)
}

fn cell(row: &rusqlite::Row<'_>, at: usize, kind: Kind) -> rusqlite::Result<Cell> {
    if row.get_ref(at)? == ValueRef::Null {
        return Ok(Cell::Null);
    }
    Ok(match kind {
        Kind::Whole | Kind::Truth => Cell::Whole(row.get(at)?),
        Kind::Number => Cell::Number(row.get(at)?),
        Kind::Text | Kind::Json => Cell::Text(row.get(at)?),
        Kind::Time => Cell::Time(row.get::<_, Parsed<_>>(at)?.0),
        Kind::Numbers => Cell::Numbers(row.get::<_, Numbers>(at)?.0),
        Kind::Bytes => Cell::Bytes(row.get(at)?),
    })
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Whole(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Time(time) => time.to_string().into(),
            Self::Numbers(numbers) => bytes(numbers).into(),
            Self::Bytes(bytes) => bytes.as_slice().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::Store;
    use crate::backend::deadline::Deadline;
    use crate::model::copy::TABLES;

    /// What is not copied, and why, is said at [`TABLES`].
    const LEFT_OUT: [&str; 2] = ["heartbeats", "sqlite_sequence"];

    #[test]
    fn every_column_is_copied_but_for_who_holds_a_lock() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let store = Store::open(dir.path().join("governance.db"))?;
        let database = store.backend().sqlite().ok_or("a file")?;
        let there: BTreeSet<String> =
            database.look(&Deadline::within(std::time::Duration::ZERO), |conn| {
                let mut statement = conn.prepare(
                    "SELECT t.name || '.' || c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
                 WHERE t.type = 'table'",
                )?;
                let names = statement.query_map([], |row| row.get(0))?;
                Ok(names.collect::<rusqlite::Result<_>>()?)
            })?;
        let copied = TABLES
            .iter()
            .flat_map(|table| table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)));
        let copied: BTreeSet<String> = copied.collect();
        let missing: Vec<_> = there.difference(&copied).collect();
        let holder = [
            "agent_locks.acquired_at",
            "agent_locks.process_id",
            "agent_locks.reason",
            "agent_locks.renewed_at",
        ];
        let is_left_out =
            |name: &&&String| LEFT_OUT.iter().any(|table| name.split('.').next() == Some(table));
        assert_eq!(
            missing.iter().filter(|name| !is_left_out(name)).collect::<Vec<_>>(),
            holder.iter().collect::<Vec<_>>()
        );
        assert_eq!(copied.difference(&there).count(), 0);
        Ok(())
    }
}
