//! The schema: numbered files, applied in order inside one transaction, one opener at a time.

use tokio_postgres::error::SqlState;

use super::failure::Failure;
use super::link::{Link, Step};
use super::value::{Columns, statement};
use crate::backend::deadline::Deadline;
use crate::backend::statements::TxResult;
use crate::error::{DatabaseError, Error};

/// Migration n takes the schema from version n to n + 1.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/postgres/0001_schema.sql")];

/// The schema version of this build.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful of files")]
pub(crate) const SUPPORTED: i32 = MIGRATIONS.len() as i32;

/// Under which openers migrate, one after the other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1735357299, 1)";

/// Brings the schema to [`SUPPORTED`]. `create`: also where there is none.
pub(super) fn migrate(link: &Link, wait: &Deadline, address: &std::path::Path, create: bool) -> TxResult<()> {
    let path = || address.to_owned();
    if version(link, wait, address)? == SUPPORTED {
        return Ok(()); // no lock for the usual case
    }
    let lock_timeout = wait.remaining().as_millis().clamp(1, 86_400_000);
    let begin = format!("BEGIN; SET LOCAL lock_timeout = {lock_timeout}");
    link.run(vec![Step::Batch(begin.into()), Step::batch(LOCK)], wait)?;
    let migrated = (|| {
        let found = version(link, wait, address)?; // again, now that nobody else can migrate
        if found == 0 && !create {
            return Err(Error::NoDatabase { path: path() }.into());
        }
        for (number, migration) in (1_i32..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or_default())
        {
            let note = format!("INSERT INTO govstore_schema VALUES ({number}, clock_timestamp())");
            link.run(vec![Step::batch(migration), Step::Batch(note.into())], wait)?;
        }
        Ok(link.run(vec![Step::batch("COMMIT")], wait).map(drop)?)
    })();
    if migrated.is_err() && link.is_sound() {
        link.send("ROLLBACK");
    }
    migrated.map_err(|fault| {
        let failure = super::failure::of_fault(&fault);
        let may_not = failure.is_some_and(|failure| failure.has_code(&SqlState::INSUFFICIENT_PRIVILEGE));
        match failure {
            Some(failure) if may_not => {
                Error::MayNotMigrate { path: path(), source: DatabaseError::new(failure.clone()) }.into()
            }
            _ => fault,
        }
    })
}

/// The schema version of a database that is ours, 0 if there is nothing in it. Refuses any other.
fn version(link: &Link, wait: &Deadline, address: &std::path::Path) -> TxResult<i32> {
    let path = || address.to_owned();
    let asked = statement!(
        "SELECT to_regclass('govstore_schema') IS NOT NULL AS is_ours,
                (SELECT string_agg(relname, ', ' ORDER BY relname)
                 FROM (SELECT relname FROM pg_class
                       WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
                       ORDER BY relname LIMIT 3) AS first_three) AS others,
                current_schema() IS NOT NULL AS has_schema"
    );
    let answers = link.run(vec![Step::Rows(asked)], wait)?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let row = row.ok_or_else(|| Failure::Lost("a row is missing in the answer".to_owned()))?;
    if row.take("is_ours")? {
        let newest = statement!("SELECT coalesce(max(version), 0) FROM govstore_schema");
        let answers = link.run(vec![Step::Rows(newest)], wait)?;
        let row = answers.first().and_then(|answer| answer.rows.first());
        let found: i32 = row.ok_or_else(|| Failure::Lost("a row is missing".to_owned()))?.take(0)?;
        if found > SUPPORTED {
            return Err(Error::SchemaTooNew { path: path(), found, supported: SUPPORTED }.into());
        }
        if found > 0 {
            return Ok(found);
        }
    }
    if !row.take::<bool>("has_schema")? {
        let what = "its search_path names no schema that is there".to_owned();
        return Err(Error::OtherDatabase { path: path(), what }.into());
    }
    match row.take::<Option<String>>("others")? {
        None => Ok(0),
        Some(others) => {
            let what = format!("there are tables of another application: {others}");
            Err(Error::OtherDatabase { path: path(), what }.into())
        }
    }
}
