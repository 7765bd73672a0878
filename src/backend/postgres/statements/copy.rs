//! Rows as they are, for a copy of the database. The statements are made of the tables' columns, once a process.

use std::sync::LazyLock;

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::{Columns, Parameter, Statement, statement};
use crate::backend::statements::{CopyReads, CopyWrites, TxResult};
use crate::error::Error;
use crate::model::copy::{Cell, Kind, Row, TABLES, Table};

impl CopyReads for Session<'_> {
    fn count_rows(&self, table: &Table) -> TxResult<u64> {
        let counted = self.one_row(Statement { sql: &sql_of(table).count, parameters: Vec::new() })?;
        Ok(counted.take::<i64>(0)?.unsigned_abs())
    }

    fn rows_between(
        &self,
        table: &Table,
        after: &[Cell],
        up_to: &[Cell],
        limit: usize,
    ) -> TxResult<Vec<Row>> {
        let mut parameters = keys(after, up_to);
        parameters.push(Parameter::from(limit as u64));
        let rows = self.rows(Statement { sql: &sql_of(table).read, parameters })?;
        let cells = |row: &tokio_postgres::Row| {
            table.columns.iter().enumerate().map(|(at, (_, kind))| cell(row, at, *kind)).collect()
        };
        rows.iter().map(cells).collect()
    }

    fn last_number(&self, table: &Table) -> TxResult<i64> {
        self.one_row(Statement { sql: &sql_of(table).last_number, parameters: Vec::new() })?.take(0)
    }

    fn unfinished_copy_of(&self) -> TxResult<Option<String>> {
        let found = self.row_or_none(statement!("SELECT copied_from FROM unfinished_copy"))?;
        found.map(|row| row.take(0)).transpose()
    }
}

impl CopyWrites for Session<'_> {
    fn replace_rows(&self, table: &Table, after: &[Cell], up_to: &[Cell], rows: &[Row]) -> TxResult<()> {
        for row in rows {
            let has_nul = |cell: &Cell| matches!(cell, Cell::Text(text) if text.contains('\0'));
            if let Some(at) = row.iter().position(has_nul) {
                let path = self.address().to_owned();
                let column = table.columns[at].0;
                return Err(Error::CannotHold { path, row: table.name_of(row), column }.into());
            }
        }
        if !table.keeps_rows {
            self.hold_back(Statement { sql: &sql_of(table).remove, parameters: keys(after, up_to) });
        }
        let column = |at: usize| rows.iter().map(|row| text(&row[at], table.columns[at].1)).collect();
        let parameters = (0..table.columns.len()).map(|at| Parameter::Texts(column(at))).collect();
        self.change(Statement { sql: &sql_of(table).insert, parameters })?;
        Ok(())
    }

    fn note_unfinished_copy_of(&self, from: Option<&str>) -> TxResult<()> {
        self.hold_back(statement!("DELETE FROM unfinished_copy"));
        if let Some(from) = from {
            let sql = "INSERT INTO unfinished_copy (copied_from, begun_at) VALUES ($1, clock_timestamp())";
            self.hold_back(statement!(sql, from));
        }
        Ok(())
    }

    fn raise_last_number(&self, table: &Table, number: i64) -> TxResult<()> {
        self.hold_back(Statement { sql: &sql_of(table).raise, parameters: vec![Parameter::from(number)] });
        Ok(())
    }
}

/// The statements of a table.
struct Sql {
    count: String,
    read: String,
    remove: String,
    insert: String,
    last_number: String,
    raise: String,
}

static SQL: LazyLock<Vec<Sql>> = LazyLock::new(|| TABLES.iter().map(Sql::of).collect());

fn sql_of(table: &Table) -> &'static Sql {
    let at = TABLES.iter().position(|other| other.name == table.name);
    &SQL[at.expect("there is no other table")]
}

impl Sql {
    fn of(table: &Table) -> Self {
        let name = table.name;
        let list = |columns: &[(&str, Kind)], each: &dyn Fn(usize, &str, Kind) -> String| {
            let columns = columns.iter().enumerate().map(|(at, (name, kind))| each(at, name, *kind));
            columns.collect::<Vec<_>>().join(", ")
        };
        let (key, others) = table.columns.split_at(table.key_columns);
        let keys = list(key, &|_, name, _| name.to_owned());
        let all = list(table.columns, &|_, name, _| name.to_owned());
        let lower = list(key, &|at, _, _| format!("${}", at + 1));
        let upper = list(key, &|at, _, _| format!("${}", at + 1 + key.len()));
        let only = table.only;
        let between = format!("({keys}) > ({lower}) AND ({keys}) <= ({upper}) AND {only}");
        let read = list(table.columns, &|_, name, kind| match kind {
            Kind::Json => format!("{name}::text"),
            _ => name.to_owned(),
        });
        let sequence = format!("pg_get_serial_sequence('{name}', '{keys}')::regclass");
        Self {
            count: format!("SELECT count(*) FROM {name} WHERE {only}"),
            read: format!(
                "SELECT {read} FROM {name} WHERE {between} ORDER BY {keys} LIMIT ${}",
                2 * key.len() + 1
            ),
            remove: format!("DELETE FROM {name} WHERE {between}"),
            // An array for each column: all rows are one statement.
            insert: format!(
                "INSERT INTO {name} ({all}) SELECT {} FROM unnest({}) AS given ({all})
                 ON CONFLICT ({keys}) DO UPDATE SET {}",
                list(table.columns, &|_, name, kind| format!("{name}::{}", type_of(kind))),
                list(table.columns, &|at, _, _| format!("${}", at + 1)),
                list(others, &|_, name, _| format!("{name} = excluded.{name}")),
            ),
            last_number: format!(
                "SELECT greatest(coalesce(max({keys}), 0), coalesce(pg_sequence_last_value({sequence}), 0)) FROM {name}"
            ),
            raise: format!(
                "SELECT setval({sequence}, greatest($1, coalesce(pg_sequence_last_value({sequence}), 1), 1))"
            ),
        }
    }
}

const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Whole => "bigint",
        Kind::Number => "double precision",
        Kind::Text => "text",
        Kind::Truth => "boolean",
        Kind::Time => "timestamptz",
        Kind::Json => "json",
        Kind::Numbers => "double precision[]",
        Kind::Bytes => "bytea",
    }
}

fn keys(after: &[Cell], up_to: &[Cell]) -> Vec<Parameter> {
    let parameter = |cell: &Cell| match cell {
        Cell::Whole(value) => Parameter::from(*value),
        Cell::Time(time) => Parameter::from(*time),
        Cell::Text(text) => Parameter::from(text.as_str()),
        _ => unreachable!("keys are numbers, names and times"),
    };
    after.iter().chain(up_to).map(parameter).collect()
}

/// A value as PostgreSQL reads it.
fn text(cell: &Cell, kind: Kind) -> Option<String> {
    use std::fmt::Write;
    Some(match cell {
        Cell::Null => return None,
        Cell::Whole(value) if kind == Kind::Truth => (*value != 0).to_string(),
        Cell::Whole(value) => value.to_string(),
        Cell::Number(value) => value.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Time(time) => time.to_string(),
        Cell::Numbers(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
            format!("{{{}}}", numbers.join(","))
        }
        Cell::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    })
}

fn cell(row: &tokio_postgres::Row, at: usize, kind: Kind) -> TxResult<Cell> {
    Ok(match kind {
        Kind::Whole => row.take::<Option<i64>>(at)?.map(Cell::Whole),
        Kind::Truth => row.take::<Option<bool>>(at)?.map(|value| Cell::Whole(value.into())),
        Kind::Number => row.take::<Option<f64>>(at)?.map(Cell::Number),
        Kind::Text | Kind::Json => row.take::<Option<String>>(at)?.map(Cell::Text),
        Kind::Time => row.time_or_null(at)?.map(Cell::Time),
        Kind::Numbers => row.numbers(at)?.map(Cell::Numbers),
        Kind::Bytes => row.take::<Option<Vec<u8>>>(at)?.map(Cell::Bytes),
    }
    .unwrap_or(Cell::Null))
}
